# SPDX-License-Identifier: Apache-2.0
"""All devices by number, all nodes by rank, and what has changed about them.

Decides nothing; numbers. A device has a small number as long as its slice is published; a node's
rank is its place in order of name. Whoever keeps counts reads the log of changes when it needs
them, so that an event costs what it says and not what is counted.

Source: ``docs/architecture.md``, the engine.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache

from berth.engine.pools import gather_pools
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord, SliceRecord
from berth.model.devices import DeviceID
from berth.model.features import Features
from berth.model.nodes import Node

EVERYWHERE = -1
"""The rank of a device that is published for more than one node."""
NOWHERE = -2
"""The rank of a device whose node is not known."""
LOGGED = 50_000
"""Changes that are kept; who is further behind counts anew."""
GROUPINGS = 32
"""Groupings of devices that are kept, the last used ones."""


class Log:
    """What has changed, in order; readers keep their place."""

    __slots__ = ("_entries", "_first")

    def __init__(self) -> None:
        self._entries: list[int] = []
        self._first = 0

    @property
    def end(self) -> int:
        """The place after the last entry."""
        return self._first + len(self._entries)

    def add(self, entry: int) -> None:
        """Append an entry; the oldest half is dropped when there are too many."""
        self._entries.append(entry)
        if len(self._entries) > LOGGED:
            half = LOGGED // 2
            del self._entries[:half]
            self._first += half

    def since(self, place: int) -> Sequence[int] | None:
        """Return the entries from ``place`` on; ``None`` where some are no longer kept."""
        if place == self.end:
            return ()
        return None if place < self._first else self._entries[place - self._first :]


class Grouping:
    """Devices that look alike to some expressions: a group for each number.

    ``samples`` has one device a group; group 0 is for numbers without a device.
    """

    __slots__ = ("_groups", "cursor", "group_of", "reads", "samples")

    def __init__(self, reads: Reads, fleet: Fleet) -> None:
        self.reads = reads
        self._begin(fleet)

    def _begin(self, fleet: Fleet) -> None:
        self.samples: list[DeviceRecord | None] = [None]
        self._groups: dict[tuple[int, ...], int] = {}
        self.cursor = fleet.log.end
        numbers = [number for number, each in enumerate(fleet.records) if each is not None]
        records = [each for each in fleet.records if each is not None]
        self.group_of = [0] * len(fleet.records)
        for number, record, seen in zip(
            numbers, records, self.reads.identities(records), strict=True
        ):
            self.group_of[number] = self._group(record, seen)

    def _group(self, record: DeviceRecord, seen: tuple[int, ...]) -> int:
        group = self._groups.get(seen)
        if group is None:
            group = self._groups[seen] = len(self.samples)
            # The sample keeps the values alive whose identities tell the group.
            self.samples.append(record)
        return group

    def sync(self, fleet: Fleet) -> None:
        """Take note of devices that were published, changed or withdrawn."""
        changes = fleet.log.since(self.cursor)
        # Groups of devices that are gone are only given up here.
        if changes is None or len(self.samples) > 2 * len(fleet.records) + 64:
            self._begin(fleet)
            return
        self.cursor = fleet.log.end
        for number in dict.fromkeys(~each for each in changes if each < 0):
            while number >= len(self.group_of):
                self.group_of.append(0)
            record = fleet.records[number]
            if record is None:
                self.group_of[number] = 0
            else:
                (seen,) = self.reads.identities([record])
                self.group_of[number] = self._group(record, seen)


class Fleet:
    """Devices and nodes by number.

    ``records[n]`` is the device of number ``n``, ``ranks[n]`` the rank of its node. ``usable`` is
    false for devices of pools that are incomplete or invalid, and of older generations, as far as
    that is the same for every node. The log has ``n`` where a device was taken or became free, and
    ``~n`` where it was published, changed or withdrawn.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self.records: list[DeviceRecord | None] = []
        self.usable = bytearray()
        self.tainted: set[int] = set()
        self.log = Log()
        self.names: list[str] = []
        self.layout = 0
        """Changes when nodes come or go, and ranks with them."""
        self.ranks: list[int] = []
        self._ranks_of_layout = -1
        self._node_of: list[str] = []
        # By node, so that a number always stands for the same place.
        self._free: dict[str, list[int]] = {}
        self._numbers: dict[DeviceID, tuple[int, ...]] = {}
        self._of_slice: dict[str, tuple[int, ...]] = {}
        self._groupings = lru_cache(GROUPINGS)(self._grouped)

    # --- nodes

    @property
    def all_nodes(self) -> int:
        """Every node, as bits."""
        return (1 << len(self.names)) - 1

    def rank(self, node: str) -> int | None:
        """Return the rank of a node, ``None`` where it is not known."""
        place = bisect_left(self.names, node)
        return place if place < len(self.names) and self.names[place] == node else None

    def put_node(self, name: str) -> bool:
        """Enter a node; tell whether it is new."""
        place = bisect_left(self.names, name)
        if place < len(self.names) and self.names[place] == name:
            return False
        self.names.insert(place, name)
        self.layout += 1
        return True

    def drop_node(self, name: str) -> None:
        """Remove a node, if it is there."""
        place = self.rank(name)
        if place is not None:
            del self.names[place]
            self.layout += 1

    def follow_layout(self) -> None:
        """Have ``ranks`` speak of the nodes as they are now."""
        if self._ranks_of_layout == self.layout:
            return
        rank_of = {name: rank for rank, name in enumerate(self.names)}
        rank_of[""] = EVERYWHERE
        self.ranks = [rank_of.get(node, NOWHERE) for node in self._node_of]
        self._ranks_of_layout = self.layout

    # --- devices

    def numbers(self, device: DeviceID) -> tuple[int, ...]:
        """Return the numbers of a device: one, or one for each slice that publishes it."""
        return self._numbers.get(device, ())

    def node_of(self, number: int) -> str:
        """Return the node of a device, empty where it is published for several."""
        return self._node_of[number]

    def put_slice(self, record: SliceRecord) -> None:
        """Number the devices of a slice; the slice of that name was dropped before."""
        node = record.slice.node_name
        rank = self.rank(node) if node else EVERYWHERE
        place = NOWHERE if rank is None else rank
        self._of_slice[record.slice.name] = tuple(
            self._put_device(device, node, place) for device in record.devices
        )

    def _put_device(self, record: DeviceRecord, node: str, rank: int) -> int:
        free = self._free.get(node)
        if free:
            number = free.pop()
            self.records[number] = record
            self.usable[number] = 1
        else:
            number = len(self.records)
            self.records.append(record)
            self._node_of.append(node)
            self.usable.append(1)
            self.ranks.append(rank)
        known = self._numbers.get(record.id)
        self._numbers[record.id] = (number,) if known is None else (*known, number)
        if record.taints:
            self.tainted.add(number)
        self.log.add(~number)
        return number

    def drop_slice(self, name: str) -> None:
        """Take the numbers of a slice's devices back."""
        for number in self._of_slice.pop(name, ()):
            record = self.records[number]
            if record is None:
                raise AssertionError(f"slice {name}: device number {number} is nobody's")
            left = tuple(each for each in self._numbers[record.id] if each != number)
            if left:
                self._numbers[record.id] = left
            else:
                del self._numbers[record.id]
            self.records[number] = None
            self.tainted.discard(number)
            self._free.setdefault(self._node_of[number], []).append(number)
            self.log.add(~number)

    def judge_pool(self, members: Sequence[SliceRecord]) -> None:
        """Find out anew which devices of a pool can be used; ``members`` are all its slices."""
        if not all(each.slice.node_name for each in members):
            return  # What is usable depends on the node: everything counts.
        if len(members) == 1 and _is_plain(members[0]):
            self._judge(members[0], frozenset(members[0].devices))
            return
        by_node: dict[str, list[SliceRecord]] = {}
        for each in members:
            by_node.setdefault(each.slice.node_name, []).append(each)
        for node, records in by_node.items():
            view = gather_pools(
                records, {records[0].slice.pool_id: members}, Node(node), self.features
            )
            used = set(view.devices)
            for record in records:
                self._judge(record, used)

    def _judge(self, record: SliceRecord, used: Container[DeviceRecord]) -> None:
        numbers = self._of_slice.get(record.slice.name, ())
        for number, device in zip(numbers, record.devices, strict=True):
            usable = device in used
            if self.usable[number] != usable:
                self.usable[number] = usable
                self.log.add(~number)

    def use_changed(self, devices: Iterable[DeviceID]) -> None:
        """Take note that devices were taken or became free."""
        for device in devices:
            for number in self._numbers.get(device, ()):
                self.log.add(number)

    def grouping(self, reads: Reads) -> Grouping:
        """Return the devices grouped by what is read of them."""
        grouping = self._groupings(reads)
        grouping.sync(self)
        return grouping

    def _grouped(self, reads: Reads) -> Grouping:
        return Grouping(reads, self)


def _is_plain(record: SliceRecord) -> bool:
    """Tell whether a slice is a whole pool in which nothing can contradict anything."""
    published = record.slice
    return (
        published.resource_slice_count == 1
        and len({device.name for device in published.devices}) == len(published.devices)
        and not any(device.consumes_counters for device in published.devices)
        and not published.shared_counters
    )
