# SPDX-License-Identifier: Apache-2.0
"""How many devices for one request each node still has, kept current device by device.

Decides which nodes certainly have too few devices for a request, so that nobody looks at them.
Counts are never too low: what it does not weigh (counters, capacity, constraints, other requests
of the same pod) can only make the true number smaller. Never decides that a node fits.

Source: KEP-4381; ``docs/architecture.md``, the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from berth.engine.allocated import AllocatedState
from berth.engine.fleet import EVERYWHERE, Fleet
from berth.engine.records import DeviceRecord
from berth.engine.verdicts import SelectorTable
from berth.model.claims import MAX_DEVICES_PER_CLAIM
from berth.model.tolerations import DeviceToleration

MOST = MAX_DEVICES_PER_CLAIM
"""No request can want more devices than that, so that no higher count is told apart."""
NO, YES, FAILS = 0, 1, 2
"""Whether a device is one for the request; ``FAILS`` where a selector ends with an error."""
LAGGING = 1000
"""Changes that are followed one by one; beyond that, and a part of all devices, count anew."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is read of a request to tell which devices are ones for it.

    ``alternatives`` are lists of selectors; a device needs all of one list to be true.
    ``tolerations`` is ``None`` where taints do not matter. ``unshared`` tells that a device of
    which shares are out does not count.
    """

    alternatives: tuple[tuple[str, ...], ...]
    tolerations: tuple[DeviceToleration, ...] | None = None
    admin: bool = False
    unshared: bool = False


class Supply:
    """The devices for one shape of request, by node; nodes are bits, by their rank."""

    __slots__ = (
        "_allocated",
        "_at_least",
        "_counts",
        "_cursor",
        "_everywhere",
        "_failing",
        "_failing_bits",
        "_fleet",
        "_kinds",
        "_layout",
        "_of_all",
        "_shape",
        "_tables",
        "_weights",
    )

    def __init__(
        self,
        shape: Shape,
        tables: tuple[tuple[SelectorTable, ...], ...],
        fleet: Fleet,
        allocated: AllocatedState,
    ) -> None:
        self._shape = shape
        self._tables = tables
        self._fleet = fleet
        self._allocated = allocated
        self._cursor = 0
        self._layout = -1
        self._begin()

    # --- reading

    def nodes_with(self, count: int) -> int:
        """Return the nodes that may have ``count`` devices or more."""
        missing = count - self._everywhere
        if missing <= 0:
            return self._fleet.all_nodes
        return self._at_least[min(missing, MOST)] | self._failing_bits

    def count_on(self, rank: int) -> int:
        """Return how many there are on one node, beside those that are not of one node."""
        return self._counts[rank]

    def by_count(self, nodes: int, *, ascending: bool) -> Iterator[int]:
        """Yield ``nodes`` in sets with the same number of devices, in order of that number."""
        several = self._at_least[MOST] & nodes
        exact = [self._at_least[k] & ~self._at_least[k + 1] & nodes for k in range(MOST)]
        if not several:
            most: list[int] = []
        else:
            # Beyond the number that is told apart by sets, nodes are told apart one by one.
            by_number: dict[int, int] = {}
            for rank, count in enumerate(self._counts):
                if count >= MOST and several >> rank & 1:
                    by_number[count] = by_number.get(count, 0) | 1 << rank
            most = [by_number[count] for count in sorted(by_number)]
        levels = [*exact, *most]
        yield from (each for each in (levels if ascending else reversed(levels)) if each)

    @property
    def may_fail(self) -> bool:
        """Tell whether a selector ends with an error on some device."""
        return bool(self._failing) or bool(self._of_all)

    @property
    def is_exact(self) -> bool:
        """Tell whether counts leave nothing out: no device fails, or is for several nodes."""
        return not self._failing and not self._of_all

    # --- keeping current

    def sync(self) -> None:
        """Take note of every change since the last time."""
        fleet = self._fleet
        changes = fleet.log.since(self._cursor)
        if changes is None or len(changes) > LAGGING + len(self._kinds) // 8:
            self._begin()
            return
        self._make_room()
        if self._layout != fleet.layout:
            for number in {~each for each in changes if each < 0}:
                self._set_kind(number)
            self._count()
        elif changes:
            self._cursor = fleet.log.end
            for change in changes:
                if change >= 0:
                    self._reweigh(change)
                else:
                    self._leave(~change)
                    self._set_kind(~change)
                    self._enter(~change)

    def _begin(self) -> None:
        self._kinds = bytearray(self._all_kinds())
        self._count()

    def _count(self) -> None:
        """Count everything anew; which devices are ones for the shape is known."""
        fleet = self._fleet
        fleet.follow_layout()
        self._cursor = fleet.log.end
        self._layout = fleet.layout
        self._counts = [0] * len(fleet.names)
        self._failing: dict[int, int] = {}
        self._failing_bits = 0
        self._everywhere = 0
        self._of_all = 0
        self._weights = bytearray(len(self._kinds))
        ranks, kinds, counts, weights = fleet.ranks, self._kinds, self._counts, self._weights
        for number in _places(kinds):
            rank = ranks[number]
            if kinds[number] == YES and rank >= 0:
                weight = weights[number] = self._weigh(number)
                counts[rank] += weight
        self._at_least = [
            _bits([count >= k for count in counts])
            for k in range(min(max(counts, default=0), MOST) + 1)
        ]
        self._at_least += [0] * (MOST + 1 - len(self._at_least))
        for number in _places(kinds):
            if kinds[number] == FAILS or ranks[number] == EVERYWHERE:
                self._enter(number)

    def _enter(self, number: int) -> None:
        rank = self._fleet.ranks[number]
        self._of_all += rank == EVERYWHERE and self._kinds[number] != NO
        if self._kinds[number] == FAILS and rank >= 0:
            self._failing[rank] = self._failing.get(rank, 0) + 1
            self._failing_bits |= 1 << rank
        elif self._kinds[number]:
            self._reweigh(number)

    def _make_room(self) -> None:
        new = bytes(len(self._fleet.records) - len(self._kinds))
        self._kinds += new
        self._weights += new

    def _leave(self, number: int) -> None:
        rank = self._fleet.ranks[number]
        self._of_all -= rank == EVERYWHERE and self._kinds[number] != NO
        if self._kinds[number] == FAILS and rank >= 0:
            self._failing[rank] -= 1
            if not self._failing[rank]:
                del self._failing[rank]
                self._failing_bits ^= 1 << rank
        else:
            self._set_weight(number, 0)

    def _reweigh(self, number: int) -> None:
        kind = self._kinds[number]
        if kind == YES:
            self._set_weight(number, self._weigh(number))
        elif kind == FAILS and self._fleet.ranks[number] == EVERYWHERE:
            # Whoever looks at any node may meet it.
            self._set_weight(number, MOST)

    def _set_weight(self, number: int, weight: int) -> None:
        change = weight - self._weights[number]
        if not change:
            return
        self._weights[number] = weight
        rank = self._fleet.ranks[number]
        if rank == EVERYWHERE:
            self._everywhere += change
        elif rank >= 0:
            before = self._counts[rank]
            after = self._counts[rank] = before + change
            bit = 1 << rank
            for k in range(min(before, after, MOST) + 1, min(max(before, after), MOST) + 1):
                self._at_least[k] ^= bit

    def _weigh(self, number: int) -> int:
        record = self._fleet.records[number]
        if record is None:
            return 0
        if not self._shape.admin:
            if record.id in self._allocated.holders:
                return 0
            if self._shape.unshared and record.id in self._allocated.shared:
                return 0
        # Where it can be shared, one device can serve a request many times over.
        shared = record.device.allow_multiple_allocations and not self._shape.unshared
        return MOST if shared else 1

    # --- which devices

    def _all_kinds(self) -> Sequence[int]:
        """Return for every number whether its device is one for the shape."""
        lists = [self._kinds_by(tables) for tables in self._tables]
        kinds = lists[0] if len(lists) == 1 else list(map(max, zip(*lists, strict=True)))
        fleet = self._fleet
        special = {number for number, usable in enumerate(fleet.usable) if not usable}
        if self._shape.tolerations is not None:
            special |= fleet.tainted
        for number in special:
            kinds[number] = self._kind(number)
        return kinds

    def _kinds_by(self, tables: Sequence[SelectorTable]) -> list[int]:
        fleet = self._fleet
        kinds = [NO if record is None else YES for record in fleet.records]
        for table in tables:
            if table.reads is None:
                verdicts = [
                    NO if record is None else _kind_of(table, record) for record in fleet.records
                ]
            else:
                grouping = fleet.grouping(table.reads)
                by_group = [
                    NO if each is None else _kind_of(table, each) for each in grouping.samples
                ]
                verdicts = [by_group[group] for group in grouping.group_of]
            # A selector is looked at only where those before it are true.
            kinds = [b if a == YES else a for a, b in zip(kinds, verdicts, strict=True)]
        return kinds

    def _set_kind(self, number: int) -> None:
        self._kinds[number] = self._kind(number)

    def _kind(self, number: int) -> int:
        record = self._fleet.records[number]
        if record is None or not self._fleet.usable[number]:
            return NO
        kind = max(_first_that_is_not_true(tables, record) for tables in self._tables)
        if kind == YES and not self._is_tolerated(record):
            return NO
        return kind

    def _is_tolerated(self, record: DeviceRecord) -> bool:
        tolerations = self._shape.tolerations
        return tolerations is None or all(
            any(each.tolerates(taint) for each in tolerations) for taint in record.taints
        )


def _first_that_is_not_true(tables: Sequence[SelectorTable], record: DeviceRecord) -> int:
    for table in tables:
        kind = _kind_of(table, record)
        if kind != YES:
            return kind
    return YES


def _kind_of(table: SelectorTable, record: DeviceRecord) -> int:
    verdict = table.verdict(record)
    if verdict is True:
        return YES
    return NO if verdict is False else FAILS


def _places(kinds: bytes | bytearray) -> Iterator[int]:
    """Yield the places of what is not 0."""
    return (number for number, kind in enumerate(kinds) if kind)


def _bits(flags: Sequence[bool]) -> int:
    """Return the flags as bits, the first one lowest."""
    return int("".join("1" if each else "0" for each in reversed(flags)) or "0", 2)
