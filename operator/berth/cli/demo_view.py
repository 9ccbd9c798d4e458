# SPDX-License-Identifier: Apache-2.0
"""What the demo shows and checks: API objects in, rows and a verdict out.

Reads nothing and prints nothing; ``berth.cli.demo`` does both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Json = Mapping[str, Any]
FAILED = "ClaimAllocationFailed"
ALLOCATED = "ClaimsAllocated"


@dataclass(frozen=True, slots=True)
class Expected:
    """What shall become of the pods whose names begin with ``pod``.

    ``devices`` is how many distinct devices each of them has when it runs; ``None`` stands for
    pods that must stay pending, with an event that contains ``says``.
    """

    pod: str
    count: int
    devices: int | None
    says: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One pod: ``devices`` as ``pool/device``, sorted; ``reason`` is its last failure event."""

    pod: str
    phase: str
    node: str
    claims: tuple[str, ...]
    devices: tuple[str, ...]
    reason: str
    is_gated: bool


def rows(pods: Iterable[Json], claims: Iterable[Json], events: Iterable[Json]) -> tuple[Row, ...]:
    """Return one row per pod, in order of name."""
    claim_by_name = {claim["metadata"]["name"]: claim for claim in claims}
    reason_by_pod = {
        event["regarding"]["uid"]: event["note"]
        for event in sorted(events, key=lambda e: int(e["metadata"]["resourceVersion"]))
        if event["reason"] == FAILED and "uid" in event.get("regarding", {})
    }
    return tuple(
        _row(pod, claim_by_name, reason_by_pod)
        for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"]))
    )


def _row(pod: Json, claims: Mapping[str, Json], reasons: Mapping[str, str]) -> Row:
    names = tuple(_claim_names(pod))
    devices = sorted(
        f"{result['pool']}/{result['device']}"
        for name in names
        if name in claims
        for result in _results(claims[name])
    )
    phase = pod.get("status", {}).get("phase", "Pending")
    return Row(
        pod=pod["metadata"]["name"],
        phase=phase,
        node=pod["spec"].get("nodeName", ""),
        claims=names,
        devices=tuple(devices),
        reason=reasons.get(pod["metadata"]["uid"], "") if phase == "Pending" else "",
        is_gated=bool(pod["spec"].get("schedulingGates")),
    )


def _results(claim: Json) -> Sequence[Json]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return (allocation.get("devices") or {}).get("results") or ()


def _claim_names(pod: Json) -> Iterable[str]:
    made = {
        entry["name"]: entry.get("resourceClaimName")
        for entry in pod.get("status", {}).get("resourceClaimStatuses") or ()
    }
    for reference in pod["spec"].get("resourceClaims") or ():
        name = reference.get("resourceClaimName") or made.get(reference["name"])
        if name:
            yield name


def missing(found: Sequence[Row], expected: Iterable[Expected]) -> tuple[str, ...]:
    """Return what is not as expected, a line each; empty when all is."""
    lines: list[str] = []
    for each in expected:
        mine = [row for row in found if row.pod.startswith(each.pod)]
        if len(mine) != each.count:
            lines.append(f"{each.pod}: {len(mine)} pods, expected {each.count}")
        lines += [line for row in mine for line in _wrong(row, each)]
    lines += _shared_by_mistake(found)
    return tuple(lines)


def _wrong(row: Row, expected: Expected) -> Iterable[str]:
    if expected.devices is None:
        if row.phase != "Pending" or not row.is_gated or row.devices:
            yield f"{row.pod}: {row.phase}, but it cannot have devices"
        elif expected.says not in row.reason:
            yield f"{row.pod}: no event yet that says `{expected.says}`"
        return
    if row.phase != "Running":
        yield f"{row.pod}: {row.phase}{': ' + row.reason if row.reason else ''}"
        return
    if len(row.devices) != expected.devices:
        yield f"{row.pod}: {len(row.devices)} devices, expected {expected.devices}"
    if any(not device.startswith(f"{row.node}/") for device in row.devices):
        yield f"{row.pod}: runs on {row.node}, but has {', '.join(row.devices)}"


def _shared_by_mistake(found: Sequence[Row]) -> Iterable[str]:
    holder_by_device: dict[str, Row] = {}
    for row in found:
        for device in row.devices:
            other = holder_by_device.setdefault(device, row)
            if not set(other.claims) & set(row.claims):
                yield f"{device}: given to {other.pod} and to {row.pod}"


def table(found: Iterable[Row], title: str) -> Table:
    """Return the rows as a table for a terminal."""
    shown = Table(title=title, title_justify="left", expand=True)
    for heading, width in (
        ("pod", None),
        ("phase", None),
        ("node", None),
        ("devices or reason", 5),
    ):
        shown.add_column(heading, ratio=width, overflow="fold", no_wrap=heading == "pod")
    colour = {"Running": "green", "Pending": "yellow", "Failed": "red"}
    for row in found:
        devices = ", ".join(device.partition("/")[2] for device in row.devices)
        reason = row.reason or ("waits for its claims" if row.is_gated else "")
        style = colour.get(row.phase, "")
        shown.add_row(
            row.pod, f"[{style}]{row.phase}[/]" if style else row.phase, row.node, devices or reason
        )
    return shown
