# SPDX-License-Identifier: Apache-2.0
"""Budgets that the devices of a pool share: partitions of one device never exceed the whole.

Decides whether the counters of a pool have room for one more device. Counters belong to a pool,
which is a driver and a name; they are charged once for a device, however many shares of it there
are. What ``try_`` charges, ``undo_`` takes back exactly.

Source: KEP-4815; ``resource.k8s.io/v1`` ResourceSlice.sharedCounters, Device.consumesCounters.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from berth.engine.allocated import AllocatedState
from berth.engine.pools import NodeView, Pool
from berth.engine.records import DeviceRecord
from berth.engine.rejections import CounterShort
from berth.model.devices import PoolID
from berth.quantity import Quantity


class Counter(NamedTuple):
    """A counter of one set; unique within its pool."""

    counter_set: str
    name: str


def is_allocated(record: DeviceRecord, allocated: AllocatedState) -> bool:
    """Tell whether anybody has the device or a share of it, but for admin access."""
    device = record.id
    return device in allocated.holders or device in allocated.shared or device in allocated.capacity


class CounterBudget:
    """What is left of each counter before an attempt begins; found when first asked for.

    With ``whole_pool`` a counter that is over-committed blocks every device of its pool, as in
    release 1.37; without it only the devices that consume it.
    """

    __slots__ = ("_allocated", "_free", "_pools", "_view", "whole_pool")

    def __init__(self, view: NodeView, allocated: AllocatedState, *, whole_pool: bool) -> None:
        self._view = view
        self._allocated = allocated
        self._pools: Mapping[PoolID, Pool] | None = None
        self._free: dict[PoolID, Mapping[Counter, int]] = {}
        self.whole_pool = whole_pool

    def pool(self, pool: PoolID) -> Pool:
        """Return the pool as the node sees it."""
        if self._pools is None:
            self._pools = {each.id: each for each in self._view.pools}
        return self._pools[pool]

    def free(self, pool: PoolID) -> Mapping[Counter, int]:
        """Return what is left of each counter of the pool, in nano-units; may be negative."""
        known = self._free.get(pool)
        if known is None:
            seen = self.pool(pool)
            free = {
                Counter(each.name, name): amount.nanos
                for each in seen.counter_sets.values()
                for name, amount in each.counters.items()
            }
            for member in seen.members:
                if member.device.consumes_counters and is_allocated(member, self._allocated):
                    for counter, amount in consumed(member):
                        free[counter] -= amount
            known = self._free[pool] = free
        return known

    def refusal(
        self, record: DeviceRecord, reserved: Mapping[tuple[PoolID, Counter], int]
    ) -> CounterShort | None:
        """Return the first counter that has too little left beside ``reserved``."""
        pool = record.id.pool_id
        free = self.free(pool)
        wanted: dict[Counter, int] = {}
        for counter, amount in consumed(record):
            wanted[counter] = wanted.get(counter, 0) + amount
        looked_at = free if self.whole_pool else wanted
        for counter in looked_at:
            want = wanted.get(counter, 0)
            left = free[counter] - reserved.get((pool, counter), 0)
            if left < want:
                return CounterShort(*counter, Quantity(want), Quantity(left))
        return None

    def most_together(self, records: Iterable[DeviceRecord]) -> int:
        """Return an upper bound of how many of the devices the counters allow together.

        Each counter is looked at alone, with the devices that consume least of it.
        """
        by_pool: dict[PoolID, list[DeviceRecord]] = {}
        most = 0
        for record in records:
            if record.device.consumes_counters:
                by_pool.setdefault(record.id.pool_id, []).append(record)
            else:
                most += 1
        return most + sum(self._most_of(pool, members) for pool, members in by_pool.items())

    def _most_of(self, pool: PoolID, members: Sequence[DeviceRecord]) -> int:
        amounts: dict[Counter, list[int]] = {}
        for member in members:
            for counter, amount in consumed(member):
                amounts.setdefault(counter, []).append(amount)
        free = self.free(pool)
        return (
            min(
                len(members)
                - len(each)
                + max((n for n, total in _running(each) if total <= free[counter]), default=0)
                for counter, each in amounts.items()
            )
            if amounts
            else len(members)
        )


def _running(amounts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield how many of the least amounts there are, with their sum."""
    return enumerate(itertools.accumulate(sorted(amounts)), start=1)


def consumed(record: DeviceRecord) -> Iterator[tuple[Counter, int]]:
    """Yield what the device consumes of each counter, in nano-units."""
    for consumption in record.device.consumes_counters:
        for name, amount in consumption.counters.items():
            yield Counter(consumption.counter_set, name), amount.nanos


class Counters:
    """What one attempt charges to the counters."""

    __slots__ = ("_budget", "_reserved")

    def __init__(self, budget: CounterBudget) -> None:
        self._budget = budget
        self._reserved: dict[tuple[PoolID, Counter], int] = {}

    def try_charge(self, record: DeviceRecord) -> bool:
        """Charge the device, and tell whether there was room; if not, nothing has changed."""
        if self._budget.refusal(record, self._reserved) is not None:
            return False
        pool = record.id.pool_id
        for counter, amount in consumed(record):
            self._reserved[pool, counter] = self._reserved.get((pool, counter), 0) + amount
        return True

    def undo_charge(self, record: DeviceRecord) -> None:
        """Take back the charge of ``record``."""
        pool = record.id.pool_id
        for counter, amount in consumed(record):
            left = self._reserved[pool, counter] - amount
            if left:
                self._reserved[pool, counter] = left
            else:
                del self._reserved[pool, counter]

    def refusal(self, record: DeviceRecord) -> CounterShort | None:
        """Return why ``try_charge`` would refuse the device now."""
        return self._budget.refusal(record, self._reserved)

    def state(self) -> Hashable:
        """Return all that ``try_charge`` and ``undo_charge`` change, to compare."""
        return frozenset(self._reserved.items())
