# SPDX-License-Identifier: Apache-2.0
"""Partitions that exclude each other although their counters have room: compatibility groups.

Decides whether a device can join those that use the same counter set. All users of a set have no
groups, or all have one group in common. What ``try_`` adds, ``undo_`` takes back exactly.

Source: KEP-5963; ``resource.k8s.io/v1`` Device.consumesCounters[].compatibilityGroups.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from berth.engine.allocated import AllocatedState
from berth.engine.counters import CounterBudget, is_allocated
from berth.engine.records import DeviceRecord
from berth.engine.rejections import CompatibilityRefused
from berth.model.devices import PoolID

Groups = frozenset[str]
"""Groups that all users of a counter set have in common; empty where they have none at all."""
SetKey = tuple[PoolID, str]


class CompatibilityBaseline:
    """The users of counter sets before an attempt begins; found when first asked for."""

    __slots__ = ("_allocated", "_budget", "_pools")

    def __init__(self, budget: CounterBudget, allocated: AllocatedState) -> None:
        self._budget = budget
        self._allocated = allocated
        self._pools: dict[PoolID, dict[str, Groups]] = {}

    def common(self, key: SetKey) -> Groups | None:
        """Return what the users have in common, or ``None`` where the set has no user."""
        pool, counter_set = key
        known = self._pools.get(pool)
        if known is None:
            known = self._pools[pool] = {}
            for member in self._budget.pool(pool).members:
                if member.device.consumes_counters and is_allocated(member, self._allocated):
                    for (_, name), groups in _used(member):
                        before = known.get(name)
                        known[name] = groups if before is None else before & groups
        return known.get(counter_set)


def _used(record: DeviceRecord) -> Iterator[tuple[SetKey, Groups]]:
    pool = record.id.pool_id
    for consumption in record.device.consumes_counters:
        yield (pool, consumption.counter_set), frozenset(consumption.compatibility_groups)


def _goes_with(groups: Groups, common: Groups | None) -> bool:
    return common is None or (not groups and not common) or bool(groups & common)


class Compatibility:
    """The users of counter sets in one attempt."""

    __slots__ = ("_baseline", "_users")

    def __init__(self, baseline: CompatibilityBaseline) -> None:
        self._baseline = baseline
        # What all users up to each one have in common, so that undoing is exact.
        self._users: dict[SetKey, list[Groups]] = {}

    def _common(self, key: SetKey) -> Groups | None:
        users = self._users.get(key)
        return users[-1] if users else self._baseline.common(key)

    def try_join(self, record: DeviceRecord) -> bool:
        """Add the device, and tell whether that was possible; if not, nothing has changed."""
        if self.refusal(record) is not None:
            return False
        for key, groups in _used(record):
            common = self._common(key)
            users = self._users.setdefault(key, [])
            users.append(groups if common is None else common & groups)
        return True

    def undo_join(self, record: DeviceRecord) -> None:
        """Take back the addition of ``record``, which was the last one."""
        for key, _ in _used(record):
            users = self._users[key]
            users.pop()
            if not users:
                del self._users[key]

    def refusal(self, record: DeviceRecord) -> CompatibilityRefused | None:
        """Return why ``try_join`` would refuse the device now."""
        for key, groups in _used(record):
            common = self._common(key)
            if not _goes_with(groups, common):
                return CompatibilityRefused(
                    key[1], tuple(sorted(groups)), tuple(sorted(common or ()))
                )
        return None

    def state(self) -> Hashable:
        """Return all that ``try_join`` and ``undo_join`` change, to compare."""
        return frozenset((key, tuple(users)) for key, users in self._users.items())
