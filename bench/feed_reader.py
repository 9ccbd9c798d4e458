# SPDX-License-Identifier: Apache-2.0
"""A ledger that is fed from a stand-in of an API server, in a process of its own.

Decides when a feed is ready (everything of the lists is in the ledger) and done (every event is).
Both feeds call the same function of the ledger; with Kopf's handlers as the operator registers
them, and with the informer.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import orjson
import uvloop

from bench.feed_server import GROUP
from bench.fleets import Json, device_class, gpus, node_name
from bench.ledger import ALLOCATABLE
from bench.objects import claim_of_pod
from berth.cli.run import GC_THRESHOLDS
from berth.codec.claims import decode_claim
from berth.codec.slices import decode_class, decode_slice
from berth.controller.api import ApiClient
from berth.controller.app import _tune
from berth.controller.informer import Informer
from berth.errors import DecodeError
from berth.model.nodes import Node
from berth.state.cluster import Cluster

PATIENCE = 240.0


class Access:
    """Loopback without credentials."""

    proxy = None
    tls_server_name = None

    def __init__(self, server: str) -> None:
        self.server = server
        self.ssl_context = ssl.create_default_context()

    async def headers(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    def invalidate(self) -> None:
        """Do nothing: there is nothing to read anew."""


class Count:
    """Applies to a ledger, and notes when lists and events were complete."""

    def __init__(self, devices: int, claims: int, events: int) -> None:
        self.cluster = Cluster()
        self.cluster.apply_class(decode_class(device_class()))
        for number in range(devices // 8):
            self.cluster.apply_node(Node(node_name(number), allocatable=ALLOCATABLE))
        self._expected = (devices // 8, claims)
        self._events = events
        self._applied = 0
        self.began = time.perf_counter()
        self.ready_after = 0.0
        self.first = (0.0, 0.0)
        self.last = (0.0, 0.0)
        self.ready, self.done = asyncio.Event(), asyncio.Event()

    def claim(self, raw: Mapping[str, Any]) -> None:
        """Take a claim as the feed has it."""
        self.cluster.apply_claim(decode_claim(raw))
        if self.ready.is_set():
            if not self._applied:
                self.first = (time.perf_counter(), time.process_time())
            self._applied += 1
            if self._applied == self._events:
                self.last = (time.perf_counter(), time.process_time())
                self.done.set()
        else:
            self._look()

    def slice(self, raw: Mapping[str, Any]) -> None:
        """Take a slice as the feed has it."""
        self.cluster.apply_slice(decode_slice(raw))
        self._look()

    def _look(self) -> None:
        found = (len(self.cluster.slices), len(self.cluster.claims))
        if found == self._expected and not self.ready.is_set():
            self.ready_after = time.perf_counter() - self.began
            self.ready.set()


def _not_removed(name: str, namespace: str, uid: str) -> None:
    raise AssertionError(f"nothing is ever removed: {namespace}/{name} {uid}")


def _undecodable(raw: Mapping[str, Any], error: DecodeError) -> None:
    raise AssertionError(f"{raw['metadata']['name']}: {error}")


async def by_informer(server: str, count: Count) -> None:
    """Read slices as the operator lists them, and claims with the informer."""
    async with ApiClient(Access(server)) as api:
        listed = await api.list(f"{GROUP}/resourceslices")
        for raw in listed["items"]:
            count.slice(raw)
        del listed
        informer = Informer(
            api,
            f"{GROUP}/resourceclaims",
            decode=lambda raw: raw,
            on_apply=count.claim,
            on_remove=_not_removed,
            on_undecodable=_undecodable,
        )
        running = asyncio.create_task(informer.run())
        await _finish(running, count, server)


async def by_kopf(server: str, count: Count) -> None:
    """Read both kinds with Kopf's handlers, set as the operator sets them."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server)

    @kopf.on.startup(registry=registry)
    async def start(**kwargs: Any) -> None:
        _tune(kwargs["settings"])

    @kopf.on.event("resource.k8s.io", "v1", "resourceclaims", registry=registry)
    async def claim(event: kopf.RawEvent, **_: Any) -> None:
        count.claim(event["object"])

    @kopf.on.event("resource.k8s.io", "v1", "resourceslices", registry=registry)
    async def published(event: kopf.RawEvent, **_: Any) -> None:
        count.slice(event["object"])

    running = asyncio.create_task(
        kopf.operator(registry=registry, clusterwide=True, standalone=True)
    )
    await _finish(running, count, server)


async def _events(server: str, count: Count) -> None:
    async with aiohttp.ClientSession(server, raise_for_status=True) as session:
        await session.post("/stop")
        await count.ready.wait()
        await session.post("/go")
        await count.done.wait()


async def _finish(running: asyncio.Task[Any], count: Count, server: str) -> None:
    done = asyncio.create_task(_events(server, count))
    await asyncio.wait({running, done}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    if not count.done.is_set():
        known = (len(count.cluster.slices), len(count.cluster.claims))
        raise TimeoutError(f"after {PATIENCE} s the ledger has slices and claims: {known}")
    running.cancel()
    await done
    await asyncio.wait({running}, timeout=10)


def by_itself(count: Count, devices: int, claims: int, events: int) -> None:
    """Read bytes without any network: only decoding, and the ledger."""
    raw = [orjson.dumps(claim_of_pod(n, n + 1, devices=devices)) for n in range(claims)]
    for each in gpus(devices // 8).slices:
        count.slice(each)
    count.began = time.perf_counter()
    for line in raw:
        count.claim(orjson.loads(line))
    del raw
    changed = [orjson.dumps(claim_of_pod(n, n + 10**6, devices=devices)) for n in range(events)]
    for line in changed:
        count.claim(orjson.loads(line))


def measure(feed: str, server: str, devices: int, claims: int, events: int) -> Json:
    """Return the figures of one feed."""
    gc.set_threshold(*GC_THRESHOLDS)
    count = Count(devices, claims, events)
    if feed == "decode and apply":
        by_itself(count, devices, claims, events)
    else:
        read = by_informer if feed == "informer" else by_kopf
        uvloop.run(read(server, count))
    seconds = count.last[0] - count.first[0]
    cpu = count.last[1] - count.first[1]
    gc.collect()
    return {
        "feed": feed,
        "devices": devices,
        "claims": claims,
        "events": events,
        "ready_seconds": round(count.ready_after, 3),
        "events_per_second": round((events - 1) / seconds, 1),
        "cpu_micros_per_event": round(cpu / (events - 1) * 1e6, 2),
        "resident_mib": round(_resident(), 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _resident() -> float:
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20


def main(arguments: Sequence[str]) -> None:
    """Print the figures: feed, server, devices, claims, events."""
    feed, server, *numbers = arguments
    devices, claims, events = map(int, numbers)
    print(json.dumps(measure(feed, server, devices, claims, events)))  # noqa: T201 - a program


if __name__ == "__main__":
    main(sys.argv[1:])
