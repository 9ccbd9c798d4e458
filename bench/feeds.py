# SPDX-License-Identifier: Apache-2.0
"""Part c: how fast the ledger learns what the API server has, and what that takes in memory.

Decides sizes, and starts a stand-in of an API server and a reader of it, each as a process of its
own. Kopf's handlers are measured with fewer events: they take many times as long.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.fleets import PER_NODE, Json
from bench.measure import ratio
from berth.errors import BerthError

ROOT = Path(__file__).parents[1]
FEEDS = ("decode and apply", "informer", "kopf")


class FeedError(BerthError):
    """A reader or the server it reads did not do its part."""


def run(sizes: Sequence[int], *, quick: bool, say: Callable[[str], None]) -> list[Json]:
    """Return one row for each size and feed."""
    rows = []
    for nodes in sizes:
        devices = nodes * PER_NODE
        claims = devices
        events = min(claims, 5_000 if quick else 20_000)
        with _server(devices, claims, events) as address:
            for feed in FEEDS:
                say(f"feeds: {feed}, {devices} devices, {claims} claims, {events} events")
                rows.append(_read(feed, address, devices, claims, events))
    kopf = {each["devices"]: each for each in rows if each["feed"] == "kopf"}
    for each in rows:
        base = kopf[each["devices"]]
        each["ratio"] = ratio(each["events_per_second"], base["events_per_second"])
    return rows


@contextmanager
def _server(devices: int, claims: int, events: int) -> Iterator[str]:
    command = [sys.executable, "-m", "bench.feed_server", *map(str, (devices, claims, events))]
    with subprocess.Popen(  # noqa: S603 - this very program
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            if not address:
                raise FeedError(f"feeds: server ended: exit code {process.wait()}")
            yield address
        finally:
            process.kill()


def _read(feed: str, address: str, devices: int, claims: int, events: int) -> Json:
    answer = subprocess.run(  # noqa: S603 - this very program
        [
            *(sys.executable, "-m", "bench.feed_reader", feed, address),
            *map(str, (devices, claims, events)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise FeedError(f"feeds: {feed}: {answer.stderr.strip()[-2000:]}")
    found: Json = json.loads(answer.stdout)
    return found
