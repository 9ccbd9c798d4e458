# SPDX-License-Identifier: Apache-2.0
"""When a rule of the fence counts: not before those who decided without it have written.

Decides the moment only; what the rule covers is ``berth.state.fence``. kube-scheduler looks past a
new rule until its watch has brought it, and writes a moment later what it decided until then.

Source: tried on kube-scheduler 1.37: no allocation came through 100 ms after a rule was created.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from berth.model.slices import DeviceTaintRule
from berth.state.cluster import Cluster

SETTLE_SECONDS = 3.0
"""From the moment that Berth sees a rule, or a change of it, until it counts."""


class FenceWatch:
    """Settles each rule once; ``changed`` is called when one has come to count."""

    def __init__(self, cluster: Cluster, changed: Callable[[], None]) -> None:
        self._cluster = cluster
        self._changed = changed
        self._seen: dict[str, DeviceTaintRule] = {}

    def look(self) -> None:
        """Take note of new rules; to be called after every change of the ledger."""
        rules = self._cluster.fence_rules
        for name in self._seen.keys() - rules.keys():
            del self._seen[name]
        for name, rule in rules.items():
            # By identity: a rule that was gone for a moment begins anew, though it looks the same.
            if self._seen.get(name) is not rule:
                self._seen[name] = rule
                asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._settle, rule)

    def _settle(self, rule: DeviceTaintRule) -> None:
        self._cluster.settle_fence(rule)
        self._changed()
