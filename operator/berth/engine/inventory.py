# SPDX-License-Identifier: Apache-2.0
"""All published devices, prepared once for any number of attempts.

Decides what is derived from slices and taint rules alone, and remembers what single nodes see and
what selectors say. Never looks at claims, nor at what is allocated.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceTaintRule; KEP-5963 for slices that are hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from berth.engine.derived import DerivedAttributeTable
from berth.engine.pools import NodeView, gather_pools
from berth.engine.records import DeviceRecord, SliceRecord
from berth.engine.verdicts import SelectorTable
from berth.model.devices import PoolID
from berth.model.features import Features
from berth.model.nodes import Node
from berth.model.slices import DeviceTaintRule, ResourceSlice


class Inventory:
    """Devices of the whole cluster; what it says never changes, only how fast it says it.

    ``slices`` are in the order of the lister, ``slices_by_pool`` too; ``devices`` are in
    upstream's order (driver, pool, slice name, position), and the place in that tuple is a dense
    number for the device. Slices that ``features`` hide are left out.
    """

    __slots__ = (
        "_derived",
        "_devices",
        "_local",
        "_shared",
        "_tables",
        "_views",
        "features",
        "slices",
        "slices_by_pool",
    )

    def __init__(self, slices: Sequence[SliceRecord], features: Features) -> None:
        self.features = features
        self.slices = tuple(
            record
            for record in slices
            if features.compatibility_groups or not record.has_compatibility_groups
        )
        by_pool: dict[PoolID, list[SliceRecord]] = {}
        local: dict[str, list[SliceRecord]] = {}
        self._shared: list[SliceRecord] = []
        for record in self.slices:
            by_pool.setdefault(record.slice.pool_id, []).append(record)
            if record.slice.node_name:
                local.setdefault(record.slice.node_name, []).append(record)
            else:
                self._shared.append(record)
        self._local = local
        self.slices_by_pool: Mapping[PoolID, tuple[SliceRecord, ...]] = MappingProxyType(
            {pool: tuple(records) for pool, records in by_pool.items()}
        )
        self._devices: tuple[DeviceRecord, ...] | None = None
        self._tables: dict[str, SelectorTable] = {}
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
                rules = tuple(
                    rule
                    for rule in taint_rules
                    if rule.has_selector and rule.driver in {None, published.driver}
                )
                rules_by_driver[published.driver] = rules
            records.append(SliceRecord.of(published, rules))
        return Inventory(records, features)

    @property
    def devices(self) -> tuple[DeviceRecord, ...]:
        """Every device of every slice, old generations included, in upstream's order."""
        if self._devices is None:
            ordered = sorted(self.slices, key=lambda each: (each.slice.pool_id, each.slice.name))
            self._devices = tuple(device for record in ordered for device in record.devices)
        return self._devices

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
        table = self._tables.get(expression)
        if table is None:
            table = self._tables[expression] = SelectorTable(expression)
        return table

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
