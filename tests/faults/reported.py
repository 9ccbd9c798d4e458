# SPDX-License-Identifier: Apache-2.0
"""Did Berth say it in time? Overlaps in the history beside the lines of its log.

Decides from the recorder's clock and the log's timestamps, which are of one machine.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import orjson

from tests.faults.report import Report

EVENT = "audit found a fault"
KIND = "DeviceHeldTwice"


def reports(logs: Iterable[Path]) -> list[tuple[float, str]]:
    """Return when which device was reported, as the log has it."""
    found = []
    for path in logs:
        for line in path.read_bytes().splitlines():
            if EVENT.encode() not in line or KIND.encode() not in line:
                continue
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            moment = dt.datetime.fromisoformat(entry["timestamp"]).timestamp()
            found.append((moment, orjson.dumps(entry).decode()))
    return found


def match_reports(report: Report, logs: Iterable[Path], within: float) -> None:
    """Enter for each overlap by others how long it took until Berth named the device."""
    said = reports(logs)
    for overlap in report.overlaps:
        device = str(overlap.device)
        after = [
            moment - overlap.later.at
            for moment, text in said
            if device in text
            and overlap.later.claim in text
            and overlap.earlier.claim in text
            # The recorder may see it a little later than Berth does.
            and moment - overlap.later.at > -within
        ]
        if after and min(after) <= within:
            report.reported.append(max(0.0, min(after)))
        else:
            report.unreported.append(
                f"device {device}: claims {overlap.earlier.claim} and {overlap.later.claim}, "
                f"version {overlap.later.version}"
            )
