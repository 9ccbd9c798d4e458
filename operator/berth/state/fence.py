# SPDX-License-Identifier: Apache-2.0
"""Which devices are fenced, and what a request can reach on either side of the fence.

Decides whether kube-scheduler could allocate a request by itself. Berth may give devices to a pod
without a gate only where it could not.

Source: KEP-5055; what kube-scheduler does with taints was tried, see ``docs/guides/fence.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord, SliceRecord
from berth.model.claims import DeviceClaim, ExactRequest
from berth.model.fence import goes_through, is_fence, without_fence
from berth.model.slices import DeviceClass, DeviceTaintRule, ResourceSlice

_Shape = tuple[str, tuple[str, ...]]
"""A DeviceClass by name, and selectors beside those of the class."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The drivers of the devices that a request matches, by the side of the fence.

    ``opening`` are those of ``unfenced`` that were fenced until a moment ago.
    """

    fenced: frozenset[str] = frozenset()
    unfenced: frozenset[str] = frozenset()
    opening: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Hole:
    """Why kube-scheduler could allocate a request: ``drivers`` that are not fenced.

    No drivers: the request tolerates the fence. ``partly``: other devices of the request are
    behind it.
    """

    request: str
    class_name: str
    drivers: tuple[str, ...] = ()
    partly: bool = True


class Fence:
    """Taint rules and slices that make up the fence, as last observed.

    A rule counts once it is settled: kube-scheduler may be about to write what it decided before
    it saw the rule. Of a rule that is gone it is known what it fenced, until that has settled too:
    kube-scheduler now serves the pods that the rule kept waiting.
    """

    __slots__ = ("_by_slice", "_known", "_of_driver", "_settled", "opening", "rules")

    def __init__(self) -> None:
        self.rules: dict[str, DeviceTaintRule] = {}
        self.opening: dict[str, DeviceTaintRule] = {}
        self._settled: set[str] = set()
        self._of_driver: dict[str, frozenset[str]] = {}
        self._known: dict[_Shape, Reach] = {}
        self._by_slice: dict[_Shape, dict[str, tuple[SliceRecord, Reach]]] = {}

    def put_rule(self, rule: DeviceTaintRule) -> bool:
        """Enter a rule; tell whether the fence is another now. What changed must settle anew."""
        if not is_fence(rule.taint):
            return self.drop_rule(rule.name)
        if self.rules.get(rule.name) == rule:
            return False
        self.drop_rule(rule.name)
        self.rules[rule.name] = rule
        return True

    def drop_rule(self, name: str) -> bool:
        """Remove a rule; tell whether it was part of the fence."""
        dropped = self.rules.pop(name, None)
        if dropped is None:
            return False
        self.opening[name] = dropped
        self._settled.discard(name)
        self.forget()
        return True

    def settle(self, rule: DeviceTaintRule) -> bool:
        """Let ``rule`` count, or be gone for good; tell whether that changed anything.

        Nothing happens where it is not the very rule that is known by its name.
        """
        if self.opening.get(rule.name) is rule:
            del self.opening[rule.name]
        elif self.rules.get(rule.name) is rule and rule.name not in self._settled:
            self._settled.add(rule.name)
        else:
            return False
        self.forget()
        return True

    def put_slice(self, published: ResourceSlice) -> tuple[ResourceSlice, bool]:
        """Enter a slice; return it without its driver's fence, and whether that is another now."""
        seen = without_fence(published)
        before = self._of_driver.pop(published.name, None)
        if seen is not published:
            self._of_driver[published.name] = frozenset(
                device.name
                for device in published.devices
                if any(is_fence(taint) for taint in device.taints)
            )
        changed = before != self._of_driver.get(published.name)
        if changed:
            self.forget()
        return seen, changed

    def drop_slice(self, name: str) -> None:
        """Remove a slice; its devices are gone as well."""
        self._of_driver.pop(name, None)

    def devices_changed(self) -> None:
        """Drop the sums of what was derived; what single slices add is kept."""
        self._known.clear()

    def forget(self) -> None:
        """Drop what was derived: classes or the fence have changed."""
        self._known.clear()
        self._by_slice.clear()

    @property
    def of_drivers(self) -> Mapping[str, frozenset[str]]:
        """The devices that drivers fence themselves, by slice; a live view."""
        return MappingProxyType(self._of_driver)

    def covers(self, device: DeviceRecord) -> bool:
        """Tell whether the device is fenced."""
        return device.id.device in self._of_driver.get(device.slice.name, ()) or any(
            self.rules[rule].matches(*device.id) for rule in self._settled
        )

    def reach(
        self,
        inventory: Inventory,
        classes: Mapping[str, DeviceClass],
        class_name: str,
        selectors: Iterable[str | None] = (),
    ) -> Reach:
        """Return what a request for the class, with ``selectors`` of its own, can reach.

        Remembered until ``forget``. A class that does not exist reaches nothing.
        """
        own = tuple("" if each is None else each for each in selectors)
        known = self._known.get((class_name, own))
        if known is None:
            known = self._known[class_name, own] = self._reach(
                inventory, classes.get(class_name), own
            )
        return known

    def _reach(
        self, inventory: Inventory, device_class: DeviceClass | None, own: tuple[str, ...]
    ) -> Reach:
        if device_class is None:
            return Reach()
        expressions = (*(each.cel or "" for each in device_class.selectors), *own)
        before = self._by_slice.get((device_class.name, own), {})
        parts: dict[str, tuple[SliceRecord, Reach]] = {}
        for record in inventory.slices:
            known = before.get(record.slice.name)
            if known is None or known[0] is not record:
                known = record, self._reach_in(inventory, record, expressions)
            parts[record.slice.name] = known
        self._by_slice[device_class.name, own] = parts
        reaches = [reach for _, reach in parts.values()]
        return Reach(
            frozenset().union(*(each.fenced for each in reaches)),
            frozenset().union(*(each.unfenced for each in reaches)),
            frozenset().union(*(each.opening for each in reaches)),
        )

    def _reach_in(
        self, inventory: Inventory, record: SliceRecord, expressions: tuple[str, ...]
    ) -> Reach:
        driver = frozenset({record.slice.driver})
        found = Reach()
        for device in record.devices:
            if self.covers(device):
                seen = Reach(fenced=driver)
            elif any(rule.matches(*device.id) for rule in self.opening.values()):
                seen = Reach(unfenced=driver, opening=driver)
            else:
                seen = Reach(unfenced=driver)
            both = Reach(
                found.fenced | seen.fenced,
                found.unfenced | seen.unfenced,
                found.opening | seen.opening,
            )
            # A selector that fails on a device does not match it: it reads attributes of its own
            # driver, which other drivers' devices do not have.
            if both != found and all(
                inventory.verdicts(each).verdict(device) is True for each in expressions
            ):
                found = both
        return found

    def holes(
        self, inventory: Inventory, classes: Mapping[str, DeviceClass], spec: DeviceClaim
    ) -> tuple[Hole, ...]:
        """Return why kube-scheduler could allocate a claim of ``spec``; empty where it cannot."""
        return tuple(
            hole
            for name, body in _bodies(spec)
            if (hole := self._hole(inventory, classes, name, body)) is not None
        )

    def is_opening(
        self, inventory: Inventory, classes: Mapping[str, DeviceClass], spec: DeviceClaim
    ) -> bool:
        """Tell whether a claim of ``spec`` can reach devices that were fenced a moment ago."""
        return bool(self.opening) and any(
            self._reach_of(inventory, classes, body).opening for _, body in _bodies(spec)
        )

    def _reach_of(
        self, inventory: Inventory, classes: Mapping[str, DeviceClass], body: ExactRequest
    ) -> Reach:
        own = (selector.cel for selector in body.selectors)
        return self.reach(inventory, classes, body.device_class_name, own)

    def _hole(
        self,
        inventory: Inventory,
        classes: Mapping[str, DeviceClass],
        name: str,
        body: ExactRequest,
    ) -> Hole | None:
        if body.admin_access:
            return None  # Such a request takes nothing from anybody.
        reach = self._reach_of(inventory, classes, body)
        partly = bool(reach.fenced)
        if any(goes_through(each) for each in body.tolerations):
            return Hole(name, body.device_class_name, partly=partly)
        if reach.unfenced:
            return Hole(name, body.device_class_name, tuple(sorted(reach.unfenced)), partly)
        return None


def _bodies(spec: DeviceClaim) -> Iterator[tuple[str, ExactRequest]]:
    for request in spec.requests:
        for body in request.alternatives:
            yield (f"{request.name}/{body.name}" if body.name else request.name, body)
