# SPDX-License-Identifier: Apache-2.0
"""The whole operator, Kopf included, in a thread of this process.

Starts in a fraction of the time of a process of its own, many fit beside each other, and tests can
look at what it knows: ``Embedded.start(kubeconfig, **settings)``, ``operator`` (``None`` until it
runs), ``ready``, ``failure()`` (why it ended by itself), ``call(coroutine)`` on its event loop,
``stop()``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import kopf

from berth.controller.app import register
from berth.controller.operator import Operator
from berth.controller.settings import Settings

T = TypeVar("T")
LEASE = {"lease_seconds": 60.0, "deadline_seconds": 40.0, "renew_seconds": 0.5}
"""Renewed often, so that it is seen; long, because replicas share a busy process."""


class Embedded:
    """One replica in a thread; its event loop is its own, as Kopf wants it."""

    def __init__(self, settings: Settings) -> None:
        registry = kopf.OperatorRegistry()
        self._running: Mapping[str, Operator] = register(registry, settings)
        self._registry = registry
        self._stop = threading.Event()
        self.ready = threading.Event()
        """Set when everything is listed and the operator works."""
        self._ended = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=settings.identity, daemon=True)

    @classmethod
    def start(cls, kubeconfig: Path, identity: str, **settings: Any) -> Self:
        values = {**LEASE, "http_port": 0, "log_level": "error", **settings}
        made = cls(Settings(kubeconfig=str(kubeconfig), identity=identity, **values))
        made._thread.start()
        return made

    @property
    def operator(self) -> Operator | None:
        return self._running.get("operator")

    def failure(self) -> str:
        """Return why it ended by itself; empty while it runs."""
        return self._ended

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def stop(self, within: float = 30) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join, within)
        assert not self._thread.is_alive(), f"{self._thread.name}: not stopped within {within} s"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._work())
            except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
                self._ended = str(error) or repr(error)
            else:
                self._ended = "" if self._stop.is_set() else "ended without an error"

    async def _work(self) -> None:
        try:
            await kopf.operator(
                registry=self._registry,
                clusterwide=True,
                standalone=True,
                stop_flag=self._stop,
                ready_flag=self.ready,
            )
        finally:
            # A TLS connection takes some turns of the loop to close.
            await asyncio.sleep(0.2)
