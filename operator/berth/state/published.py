# SPDX-License-Identifier: Apache-2.0
"""What drivers and administrators publish: slices, taint rules, classes.

Decides whether an event changes anything, because these kinds are listed again every few minutes
and deriving the inventory is the dearest thing that the ledger does. Never judges the content.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceTaintRule, DeviceClass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory, rules_for
from berth.engine.prospects import Prospects
from berth.engine.records import SliceRecord
from berth.model.claims import DeviceClaim
from berth.model.features import Features
from berth.model.fence import is_fence
from berth.model.slices import DeviceClass, DeviceTaintRule, ResourceSlice
from berth.state.fence import Fence, Hole, Reach

K = TypeVar("K")
V = TypeVar("V")


class Published:
    """Slices, taint rules and classes by name, with the inventory and prospects made of them.

    What makes up the fence is in ``fence``, and nowhere else: the inventory does not know of it.
    """

    __slots__ = ("_drivers", "classes", "fence", "inventory", "prospects", "rules", "slices")

    def __init__(self, features: Features, allocated: AllocatedState) -> None:
        self.slices: dict[str, ResourceSlice] = {}
        self.rules: dict[str, DeviceTaintRule] = {}
        self.classes: dict[str, DeviceClass] = {}
        self.fence = Fence()
        self.inventory = Inventory((), features)
        self.prospects = Prospects(self.inventory, self.classes, allocated, features)
        self._drivers: dict[str, frozenset[str]] = {}

    def put_slice(self, published: ResourceSlice) -> bool:
        """Enter a slice; tell whether that changed anything."""
        seen, fence_changed = self.fence.put_slice(published)
        if self.slices.get(seen.name) == seen:
            return fence_changed
        self._withdraw(seen.name)
        self.slices[seen.name] = seen
        self._publish(seen)
        return True

    def drop_slice(self, name: str) -> bool:
        """Remove a slice; tell whether it was there."""
        self.fence.drop_slice(name)
        self._withdraw(name)
        return self.slices.pop(name, None) is not None

    def _publish(self, published: ResourceSlice) -> None:
        rules = rules_for(published, (self.rules[name] for name in sorted(self.rules)))
        record = SliceRecord.of(published, rules)
        self.inventory.put(record)
        members = self.inventory.slices_by_pool.get(published.pool_id, ())
        if record in members:  # Not hidden by a feature that is off.
            self.prospects.put_slice(record, members)
        self._devices_changed()

    def _withdraw(self, name: str) -> None:
        record = self.inventory.drop(name)
        if record is not None:
            left = self.inventory.slices_by_pool.get(record.slice.pool_id, ())
            self.prospects.drop_slice(record, left)
            self._devices_changed()

    def put_rule(self, rule: DeviceTaintRule) -> bool:
        """Enter a taint rule; tell whether that changed anything."""
        if is_fence(rule.taint):
            return self.fence.put_rule(rule) | self._drop_other_rule(rule.name)
        fence_changed = self.fence.drop_rule(rule.name)
        known = self.rules.get(rule.name)
        if known == rule:
            return fence_changed
        self.rules[rule.name] = rule
        self._taint_anew((rule,) if known is None else (known, rule))
        return True

    def drop_rule(self, name: str) -> bool:
        """Remove a taint rule; tell whether it was there."""
        return self.fence.drop_rule(name) | self._drop_other_rule(name)

    def _drop_other_rule(self, name: str) -> bool:
        known = self.rules.pop(name, None)
        if known is None:
            return False
        self._taint_anew((known,))
        return True

    def _taint_anew(self, rules: tuple[DeviceTaintRule, ...]) -> None:
        """Derive the slices anew that one of ``rules`` could concern."""
        concerned = [
            published
            for published in self.slices.values()
            for rule in rules
            if rule.driver in {None, published.driver} and rule.pool in {None, published.pool}
        ]
        for published in {each.name: each for each in concerned}.values():
            self._withdraw(published.name)
            self._publish(published)

    def put_class(self, device_class: DeviceClass) -> bool:
        """Enter a class; tell whether that changed anything."""
        self._drivers.pop(device_class.name, None)
        self.fence.forget()
        return put(self.classes, device_class.name, device_class) and self._class_changed()

    def drop_class(self, name: str) -> bool:
        """Remove a class; tell whether it was there."""
        self._drivers.pop(name, None)
        self.fence.forget()
        return self.classes.pop(name, None) is not None and self._class_changed()

    def _class_changed(self) -> bool:
        self.prospects.class_changed()
        return True

    def drivers_of(self, names: frozenset[str]) -> Mapping[str, frozenset[str]]:
        """Return, by class, the drivers of the devices that the class's selectors match."""
        return {name: self._drivers_of_class(name) for name in names if name in self.classes}

    def reach_of_class(self, name: str) -> Reach:
        """Return what a request for the class can reach on either side of the fence."""
        return self.fence.reach(self.inventory, self.classes, name)

    def is_opening(self, spec: DeviceClaim) -> bool:
        """Tell whether a claim of ``spec`` can reach devices that were fenced a moment ago."""
        return self.fence.is_opening(self.inventory, self.classes, spec)

    def holes(self, spec: DeviceClaim) -> tuple[Hole, ...]:
        """Return why kube-scheduler could allocate a claim of ``spec``; empty where it cannot."""
        return self.fence.holes(self.inventory, self.classes, spec)

    def _drivers_of_class(self, name: str) -> frozenset[str]:
        known = self._drivers.get(name)
        if known is None:
            found: set[str] = set()
            for record in self.inventory.devices:
                # A selector that fails on a device does not match it: such a class reads
                # attributes of its own driver, which other drivers' devices do not have.
                if record.id.driver not in found and all(
                    selector.cel is not None
                    and self.inventory.verdicts(selector.cel).verdict(record) is True
                    for selector in self.classes[name].selectors
                ):
                    found.add(record.id.driver)
            known = self._drivers[name] = frozenset(found)
        return known

    def _devices_changed(self) -> None:
        self._drivers.clear()
        self.fence.devices_changed()


def put(known: dict[K, V], key: K, value: V) -> bool:
    """Enter ``value``; tell whether it differs from what was there."""
    if key in known and known[key] == value:
        return False
    known[key] = value
    return True
