# SPDX-License-Identifier: Apache-2.0
"""What Berth measures of itself, and the server for probes and metrics.

Decides names and labels; labels take their values from closed sets. Every instance has a
registry of its own, so that several operators, and tests, fit into one process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from berth.controller.informer import Informer
from berth.errors import BerthError

ALLOCATION_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
WRITE_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
LAG_SECONDS = 0.5
"""How often the lag of the event loop is measured."""
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

NotReady = Callable[[], Mapping[str, object]]


class PortError(BerthError):
    """An address on which the server for probes and metrics cannot listen."""


class Metrics:
    """The metrics of one operator; the attributes may be used directly."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.pods_pending = Gauge(
            "berth_pods_pending",
            "Pods that wait for an allocation or are being written.",
            registry=self.registry,
        )
        self.decisions = Counter(
            "berth_decisions_total",
            "Decisions about a pod, by kind.",
            ["outcome"],
            registry=self.registry,
        )
        self.allocations = Counter(
            "berth_allocations_total",
            "Pods that were let go with all their claims allocated, and writes that came to "
            "nothing.",
            ["outcome"],
            registry=self.registry,
        )
        self.allocation_seconds = Histogram(
            "berth_allocation_seconds",
            "Time that one decision about a pod took, without writing.",
            buckets=ALLOCATION_BUCKETS,
            registry=self.registry,
        )
        self.writes = Counter(
            "berth_writes_total",
            "Writes to the API server, by kind and how they ended.",
            ["kind", "result"],
            registry=self.registry,
        )
        self.write_seconds = Histogram(
            "berth_write_seconds",
            "Time from the first request of a write to its known end.",
            ["kind"],
            buckets=WRITE_BUCKETS,
            registry=self.registry,
        )
        self.events = Counter(
            "berth_events_total",
            "Kubernetes events, by what became of them.",
            ["result"],
            registry=self.registry,
        )
        self.audit_findings = Gauge(
            "berth_audit_findings",
            "What the audit finds wrong now, by kind of finding.",
            ["kind"],
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "berth_events_dropped_total",
            "Kubernetes events that were not posted, because too many waited already.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "berth_leader_info",
            "1 while this replica leads.",
            registry=self.registry,
        )
        self.loop_lag = Gauge(
            "berth_loop_lag_seconds",
            "How late the event loop was when it was last measured.",
            registry=self.registry,
        )
        self.informer_age = Gauge(
            "berth_informer_age_seconds",
            "Time since the API server was last heard of, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.informer_objects = Gauge(
            "berth_informer_objects_total",
            "Objects that are known to exist, by kind.",
            ["kind"],
            registry=self.registry,
        )
        self.informer_lists = Gauge(
            "berth_informer_lists_total",
            "Complete lists so far, by kind; more than a few say that watches lose their history.",
            ["kind"],
            registry=self.registry,
        )

    def decided(self, outcome: str) -> None:
        """Count a decision; ``outcome`` is its name in PascalCase or snake_case."""
        self.decisions.labels(_WORD.sub("_", outcome).lower()).inc()

    def allocated(self, outcome: str = "allocated") -> None:
        """Count a pod that was let go, or an attempt that ended otherwise."""
        self.allocations.labels(outcome).inc()

    def wrote(self, kind: str, result: str, seconds: float) -> None:
        """Count a write that has come to its end, ``seconds`` after it began."""
        self.writes.labels(kind, result).inc()
        self.write_seconds.labels(kind).observe(seconds)

    def watch_informer(self, kind: str, informer: Informer[Any]) -> None:
        """Show an informer under ``kind``: its values are read whenever metrics are asked for."""
        self.informer_age.labels(kind).set_function(informer.seconds_silent)
        self.informer_objects.labels(kind).set_function(lambda: informer.known)
        self.informer_lists.labels(kind).set_function(lambda: informer.lists)

    async def measure_loop(self) -> None:
        """Measure the event loop's lag until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.loop_lag.set(max(0.0, loop.time() - due))

    def text(self) -> bytes:
        """Return all metrics in the exposition format."""
        return generate_latest(self.registry)


def health_app(metrics: Metrics, not_ready: NotReady, alive: Callable[[], bool]) -> web.Application:
    """Return the application that serves ``/healthz``, ``/readyz`` and ``/metrics``.

    Args:
        metrics: What ``/metrics`` shows.
        not_ready: Returns what is not ready and why, by name; empty when the replica can work. A
            replica that stands by is ready.
        alive: Returns whether the process can go on; if not, it should be started anew.
    """

    async def healthz(_: web.Request) -> web.Response:
        fine = alive()
        return _json({"alive": fine}, ok=fine)

    async def readyz(_: web.Request) -> web.Response:
        missing = {name: str(why) for name, why in not_ready().items()}
        return _json({"ready": not missing, "missing": missing}, ok=not missing)

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", show_metrics)
    return app


def _json(body: Mapping[str, object], *, ok: bool) -> web.Response:
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_SORT_KEYS),
        status=200 if ok else 503,
        content_type="application/json",
    )


class HealthServer:
    """Serves `health_app` on an address, on the operator's own event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        not_ready: NotReady,
        alive: Callable[[], bool],
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._app = health_app(metrics, not_ready, alive)
        self._runner: web.AppRunner | None = None
        self._measuring: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen, and return the port: the one that was asked for, or the free one that 0 took.

        Raises:
            PortError: If the address cannot be used; the text names the setting.
        """
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            raise PortError(
                f"probes and metrics: cannot listen on {self._host}:{self._port}: "
                f"{error.strerror or error}; set BERTH_HTTP_PORT to a free port, or to 0"
            ) from error
        self._measuring = asyncio.get_running_loop().create_task(
            self._metrics.measure_loop(), name="loop lag"
        )
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening; may be called twice, and without a start."""
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
