# SPDX-License-Identifier: Apache-2.0
"""All published devices, prepared for any number of attempts.

Decides what is derived from slices and taint rules alone, and remembers what single nodes see and
what selectors say. Never looks at claims, nor at what is allocated.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceTaintRule; KEP-5963 for slices that are hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from berth.cel.analyse import Projection
from berth.engine.derived import DerivedAttributeTable
from berth.engine.patience import Patience
from berth.engine.pools import NodeView, gather_pools
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord, SliceRecord
from berth.engine.verdicts import SelectorTable
from berth.model.devices import PoolID
from berth.model.features import Features
from berth.model.nodes import Node
from berth.model.slices import DeviceTaintRule, ResourceSlice

MAX_TABLES = 2048
"""So many selectors are remembered with their verdicts."""

K = TypeVar("K")


class Inventory:
    """Devices of the whole cluster, kept current slice by slice.

    ``slices`` are in the order of the lister, ``slices_by_pool`` too; ``devices`` are in
    upstream's order (driver, pool, slice name, position). Slices that ``features`` hide are left
    out. Putting or dropping a slice costs what its pool costs, not what the cluster costs.
    """

    __slots__ = (
        "_by_name",
        "_by_pool",
        "_derived",
        "_devices",
        "_drivers",
        "_local",
        "_reads",
        "_shared",
        "_slices",
        "_tables",
        "_views",
        "features",
        "patience",
        "slices_by_pool",
    )

    def __init__(self, slices: Iterable[SliceRecord], features: Features) -> None:
        self.features = features
        self.patience = Patience()
        self._slices: tuple[SliceRecord, ...] | None = tuple(
            record for record in slices if not self._is_hidden(record)
        )
        self._by_name: dict[str, SliceRecord] | None = None
        self._by_pool: dict[PoolID, tuple[SliceRecord, ...]] = {}
        self._local: dict[str, tuple[SliceRecord, ...]] = {}
        self._shared: tuple[SliceRecord, ...] = ()
        by_pool: dict[PoolID, list[SliceRecord]] = {}
        local: dict[str, list[SliceRecord]] = {}
        shared: list[SliceRecord] = []
        for record in self._slices:
            by_pool.setdefault(record.slice.pool_id, []).append(record)
            if record.slice.node_name:
                local.setdefault(record.slice.node_name, []).append(record)
            else:
                shared.append(record)
        self._by_pool.update((pool, tuple(records)) for pool, records in by_pool.items())
        self._local.update((node, tuple(records)) for node, records in local.items())
        self._shared = tuple(shared)
        self.slices_by_pool: Mapping[PoolID, tuple[SliceRecord, ...]] = MappingProxyType(
            self._by_pool
        )
        self._devices: tuple[DeviceRecord, ...] | None = None
        self._drivers: frozenset[str] | None = None
        self._tables: dict[str, SelectorTable] = {}
        self._reads: dict[Projection, Reads] = {}
        self._derived: dict[str, DerivedAttributeTable] = {}
        self._views: dict[str, NodeView] = {}

    @staticmethod
    def build(
        slices: Sequence[ResourceSlice],
        taint_rules: Sequence[DeviceTaintRule] = (),
        features: Features = Features(),  # noqa: B008 - a frozen value, the defaults of 1.37
    ) -> Inventory:
        """Derive the inventory.

        Args:
            slices: All slices of the cluster, in the order of the lister.
            taint_rules: All DeviceTaintRules, in the order in which their taints are added.
            features: Which features are on; the same as those of the snapshot.
        """
        rules_by_driver: dict[str, tuple[DeviceTaintRule, ...]] = {}
        records: list[SliceRecord] = []
        for published in slices:
            rules = rules_by_driver.get(published.driver)
            if rules is None:
                rules = rules_by_driver[published.driver] = rules_for(published, taint_rules)
            records.append(SliceRecord.of(published, rules))
        return Inventory(records, features)

    def put(self, record: SliceRecord) -> None:
        """Enter a slice, in place of the one of its name; slices are then in order of name."""
        name = record.slice.name
        self.drop(name)
        if self._is_hidden(record):
            return
        self._named()[name] = record
        pool, node = record.slice.pool_id, record.slice.node_name
        self._by_pool[pool] = _with(self._by_pool.get(pool, ()), record)
        if node:
            self._local[node] = _with(self._local.get(node, ()), record)
        else:
            self._shared = _with(self._shared, record)
        self._forget(record)

    def drop(self, name: str) -> SliceRecord | None:
        """Remove the slice of that name and return it, if it is there."""
        record = self._named().pop(name, None)
        if record is None:
            return None
        pool, node = record.slice.pool_id, record.slice.node_name
        self._forget(record)
        _put_or_drop(self._by_pool, pool, _without(self._by_pool[pool], record))
        if node:
            _put_or_drop(self._local, node, _without(self._local[node], record))
        else:
            self._shared = _without(self._shared, record)
        return record

    def _named(self) -> dict[str, SliceRecord]:
        if self._by_name is None:
            self._by_name = {record.slice.name: record for record in self.slices}
        return self._by_name

    def _forget(self, record: SliceRecord) -> None:
        """Drop what was derived with the pool of ``record`` in it."""
        self._slices = self._devices = self._drivers = None
        members = self._by_pool[record.slice.pool_id]
        if all(each.slice.node_name for each in members):
            for each in members:
                self._views.pop(each.slice.node_name, None)
        else:
            self._views.clear()

    def _is_hidden(self, record: SliceRecord) -> bool:
        return record.has_compatibility_groups and not self.features.compatibility_groups

    @property
    def slices(self) -> tuple[SliceRecord, ...]:
        """Every slice, in the order of the lister."""
        if self._slices is None:
            named = self._named()
            self._slices = tuple(named[name] for name in sorted(named))
        return self._slices

    @property
    def devices(self) -> tuple[DeviceRecord, ...]:
        """Every device of every slice, old generations included, in upstream's order."""
        if self._devices is None:
            ordered = sorted(self.slices, key=lambda each: (each.slice.pool_id, each.slice.name))
            self._devices = tuple(device for record in ordered for device in record.devices)
        return self._devices

    @property
    def drivers(self) -> frozenset[str]:
        """The drivers that publish devices anywhere in the cluster."""
        if self._drivers is None:
            self._drivers = frozenset(each.slice.driver for each in self.slices if each.devices)
        return self._drivers

    def of_nodes(self, names: Iterable[str]) -> Inventory:
        """Return the part that some nodes see, which does not change with this one any more.

        It has the whole of every pool that is not of other nodes alone, and knows all drivers.
        """
        seen = [*self._shared, *(each for name in names for each in self._local.get(name, ()))]
        pools = dict.fromkeys(each.slice.pool_id for each in seen)
        members = {each.slice.name: each for pool in pools for each in self._by_pool[pool]}
        part = Inventory([members[name] for name in sorted(members)], self.features)
        part._drivers = self.drivers
        return part

    def view(self, node: Node) -> NodeView:
        """Return what ``node`` sees; remembered until something that it depends on changes."""
        view = self._views.get(node.name)
        if view is None or not _is_same(view.node, node):
            view = gather_pools(
                (*self._local.get(node.name, ()), *self._shared),
                self.slices_by_pool,
                node,
                self.features,
            )
            self._views[node.name] = view
        return view

    def verdicts(self, expression: str) -> SelectorTable:
        """Return what the selector says of devices; one table for each text."""
        table = self._tables.pop(expression, None)
        if table is None:
            table = SelectorTable(expression, self._reads_of, self.patience)
            if len(self._tables) >= MAX_TABLES:
                # Users write expressions, and may write a new one for each claim: the one that
                # was not asked for the longest goes.
                del self._tables[next(iter(self._tables))]
        self._tables[expression] = table
        return table

    def _reads_of(self, projection: Projection) -> Reads:
        known = self._reads.get(projection)
        if known is None:
            known = self._reads[projection] = Reads(projection)
        return known

    def derived(self, expression: str) -> DerivedAttributeTable:
        """Return what the expression of a derived attribute gives; one table for each text."""
        table = self._derived.get(expression)
        if table is None:
            table = self._derived[expression] = DerivedAttributeTable(expression)
        return table


def _is_same(known: Node, node: Node) -> bool:
    return known is node or (
        known.labels == node.labels and known.declared_features == node.declared_features
    )


def rules_for(
    published: ResourceSlice, rules: Iterable[DeviceTaintRule]
) -> tuple[DeviceTaintRule, ...]:
    """Return those of ``rules`` that may taint a device of the slice's driver, in their order."""
    return tuple(
        rule for rule in rules if rule.has_selector and rule.driver in {None, published.driver}
    )


def _with(records: tuple[SliceRecord, ...], record: SliceRecord) -> tuple[SliceRecord, ...]:
    return tuple(sorted((*records, record), key=lambda each: each.slice.name))


def _without(records: tuple[SliceRecord, ...], record: SliceRecord) -> tuple[SliceRecord, ...]:
    return tuple(each for each in records if each is not record)


def _put_or_drop(
    known: dict[K, tuple[SliceRecord, ...]], key: K, records: tuple[SliceRecord, ...]
) -> None:
    if records:
        known[key] = records
    else:
        del known[key]
