# SPDX-License-Identifier: Apache-2.0
"""When a rule of the fence counts, and when one that is gone is gone for good.

Decides the moment only; what the rule covers is ``berth.state.fence``. kube-scheduler looks past a
new rule until its watch has brought it, and writes a moment later what it decided until then. When
a rule goes, kube-scheduler allocates for the pods that it kept waiting.

Source: tried on kube-scheduler 1.37: no allocation came through 100 ms after a rule was created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from berth.model.slices import DeviceTaintRule
from berth.state.cluster import Cluster

SETTLE_SECONDS = 3.0
"""From the moment that Berth sees a rule come, change or go, until that counts."""


class FenceWatch:
    """Settles each rule once when it comes and once when it goes; then calls ``changed``."""

    def __init__(self, cluster: Cluster, changed: Callable[[], None]) -> None:
        self._cluster = cluster
        self._changed = changed
        self._seen: tuple[tuple[DeviceTaintRule, bool], ...] = ()

    def look(self) -> None:
        """Take note of new rules; to be called after every change of the ledger."""
        fence = self._cluster.published.fence
        seen = tuple((each, True) for each in fence.rules.values())
        seen += tuple((each, False) for each in fence.opening.values())
        # By identity: a rule that was gone for a moment begins anew, though it looks the same.
        before = {(id(rule), is_up) for rule, is_up in self._seen}
        for rule, is_up in seen:
            if (id(rule), is_up) not in before:
                asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle, rule)
        self._seen = seen

    def _settle(self, rule: DeviceTaintRule) -> None:
        self._cluster.settle_fence(rule)
        self._changed()
