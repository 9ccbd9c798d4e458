# SPDX-License-Identifier: Apache-2.0
"""One published device or slice with what is derived from it alone.

Derived once for each slice and shared by all attempts, so that replacing one slice costs what
that slice costs. Decides nothing about pools or nodes (``berth.engine.pools``).

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceTaintRule; KEP-5055 for the order of taints.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from berth.cel import CelDevice
from berth.model.devices import AttributeValue, Device, DeviceID, DeviceTaint
from berth.model.slices import DeviceTaintRule, ResourceSlice
from berth.model.tolerations import BLOCKING_EFFECTS


class DeviceRecord:
    """A device in its slice; equal only to itself, so that it can be a cheap key.

    ``taints`` are those that can refuse a request: the driver's own, then those of rules.
    ``has_capacity_rules`` tells that capacity can matter even if a request asks for none.
    ``seen`` and ``is_readable`` are for ``berth.engine.reads`` to remember things in.
    """

    __slots__ = (
        "_cel",
        "device",
        "has_capacity_rules",
        "id",
        "is_readable",
        "seen",
        "slice",
        "taints",
    )

    def __init__(
        self, device: Device, published_in: ResourceSlice, taints: tuple[DeviceTaint, ...]
    ) -> None:
        self.id = DeviceID(published_in.driver, published_in.pool, device.name)
        self.device = device
        self.slice = published_in
        self.taints = taints
        self.has_capacity_rules = device.allow_multiple_allocations or any(
            each.request_policy is not None or each.value.nanos < 0
            for each in device.capacity.values()
        )
        self._cel: CelDevice | None = None
        self.seen: dict[object, Hashable] = {}
        self.is_readable: bool | None = None

    @property
    def cel(self) -> CelDevice:
        """The device as CEL sees it; built when an expression first looks at it."""
        if self._cel is None:
            device = self.device
            self._cel = CelDevice.build(
                self.id.driver,
                device.attributes,
                {name: capacity.value for name, capacity in device.capacity.items()},
                device.allow_multiple_allocations,
            )
        return self._cel

    def attribute(self, domain: str, identifier: str) -> AttributeValue | None:
        """Return the attribute ``domain/identifier``; a bare name belongs to the driver's domain.

        Where a device publishes both forms, the qualified one wins.
        """
        attributes = self.device.attributes
        value = attributes.get(f"{domain}/{identifier}")
        if value is None and domain == self.id.driver:
            value = attributes.get(identifier)
        return value

    def __repr__(self) -> str:
        return f"<device {self.id}>"


@dataclass(frozen=True, slots=True, eq=False)
class SliceRecord:
    """A slice with its devices in published order."""

    slice: ResourceSlice
    devices: tuple[DeviceRecord, ...]

    @property
    def has_compatibility_groups(self) -> bool:
        """Tell whether a device of the slice belongs to a compatibility group (KEP-5963)."""
        return any(
            consumption.compatibility_groups
            for device in self.slice.devices
            for consumption in device.consumes_counters
        )

    @classmethod
    def of(cls, published: ResourceSlice, rules: Sequence[DeviceTaintRule]) -> SliceRecord:
        """Derive the record of one slice; ``rules`` are those that may concern its pool."""
        return cls(
            published,
            tuple(
                DeviceRecord(device, published, _blocking_taints(device, published, rules))
                for device in published.devices
            ),
        )


def _blocking_taints(
    device: Device, published: ResourceSlice, rules: Sequence[DeviceTaintRule]
) -> tuple[DeviceTaint, ...]:
    if not device.taints and not rules:
        return ()
    from_rules = (
        DeviceTaint(rule.taint.key, rule.taint.value, rule.taint.effect, rule.name)
        for rule in rules
        if rule.matches(published.driver, published.pool, device.name)
    )
    return tuple(t for t in (*device.taints, *from_rules) if t.effect in BLOCKING_EFFECTS)
