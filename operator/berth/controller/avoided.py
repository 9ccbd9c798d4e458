# SPDX-License-Identifier: Apache-2.0
"""Devices that have failed a short while ago, and are not to be tried again at once.

Decides for how long. They are kept out of decisions by a taint that exists in this replica's
ledger alone, so that explanations name it and tolerations apply; it is written nowhere.

Source: KEP-5007 (binding conditions) names no such rule; kube-scheduler may try the same device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import structlog

from berth.model.devices import DeviceID, DeviceTaint, TaintEffect
from berth.model.slices import DeviceTaintRule
from berth.state.cluster import Cluster

AVOID_SECONDS = 300.0
MOST = 1024
"""So many devices are avoided at a time; where more fail, none of them is the problem."""
KEY = "berth.dev/binding-failed"

log = structlog.get_logger("berth.lifecycle")


class Avoided:
    """Avoided devices; ``changed`` is called when one may be tried again."""

    def __init__(
        self, cluster: Cluster, *, changed: Callable[[], None], seconds: float = AVOID_SECONDS
    ) -> None:
        self._cluster = cluster
        self._changed = changed
        self._timers: dict[DeviceID, asyncio.TimerHandle] = {}
        self.seconds = seconds

    def avoid(self, devices: Iterable[DeviceID]) -> None:
        """Avoid ``devices`` from now on; one that is avoided already, from now on anew."""
        loop = asyncio.get_running_loop()
        for device in devices:
            known = self._timers.get(device)
            if known is not None:
                known.cancel()
            elif len(self._timers) >= MOST:
                return
            else:
                self._cluster.apply_taint_rule(_rule(device))
                log.warning("device avoided", device=str(device))
            self._timers[device] = loop.call_later(self.seconds, self._try_again, device)

    def close(self) -> None:
        """Drop all timers; what is avoided stays so."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _try_again(self, device: DeviceID) -> None:
        del self._timers[device]
        self._cluster.remove_taint_rule(_rule(device).name)
        self._changed()


def _rule(device: DeviceID) -> DeviceTaintRule:
    return DeviceTaintRule(
        # No object of the API can have such a name.
        name=f"(of Berth, for {device})",
        taint=DeviceTaint(KEY, "", TaintEffect.NO_SCHEDULE),
        driver=device.driver,
        pool=device.pool,
        device=device.device,
    )
