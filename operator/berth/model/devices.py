# SPDX-License-Identifier: Apache-2.0
"""Devices as drivers publish them: identity, attributes, capacity, taints, counters.

Decides nothing; holds what a ResourceSlice says of one device.

Source: ``resource.k8s.io/v1`` Device; KEP-4381, KEP-4815 (counters), KEP-5055 (taints), KEP-5075
(capacity), KEP-5007 (binding conditions), KEP-5963 (compatibility groups), KEP-5517 (resources of
the node).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from berth.model.nodes import NodeSelector

if TYPE_CHECKING:
    from berth.quantity import Quantity


class PoolID(NamedTuple):
    """Identity of a pool; drivers may share pool names, so the driver belongs to it."""

    driver: str
    pool: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.pool}"


class DeviceID(NamedTuple):
    """Identity of a device in the cluster; text form ``driver/pool/device``."""

    driver: str
    pool: str
    device: str

    def __str__(self) -> str:
        return f"{self.driver}/{self.pool}/{self.device}"

    @property
    def pool_id(self) -> PoolID:
        """The pool that the device belongs to."""
        return PoolID(self.driver, self.pool)


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """One attribute of a device; exactly one field is set, or none for a value of a future type.

    List forms (KEP-5491) keep the published order. ``version`` is the text of a semantic version.
    """

    int_value: int | None = None
    bool_value: bool | None = None
    string_value: str | None = None
    version_value: str | None = None
    ints: tuple[int, ...] | None = None
    bools: tuple[bool, ...] | None = None
    strings: tuple[str, ...] | None = None
    versions: tuple[str, ...] | None = None

    def __str__(self) -> str:
        for value in (self.string_value, self.version_value):
            if value is not None:
                return value
        if self.bool_value is not None:
            return str(self.bool_value).lower()
        if self.int_value is not None:
            return str(self.int_value)
        for values in (self.ints, self.strings, self.versions):
            if values is not None:
                return f"[{', '.join(str(value) for value in values)}]"
        if self.bools is not None:
            return f"[{', '.join(str(value).lower() for value in self.bools)}]"
        return "(no value)"


@dataclass(frozen=True, slots=True)
class CapacityRequestPolicyRange:
    """``validRange`` of a request policy: ``min`` is always set, ``max`` and ``step`` may be."""

    min: Quantity
    max: Quantity | None = None
    step: Quantity | None = None


@dataclass(frozen=True, slots=True)
class CapacityRequestPolicy:
    """How much of a capacity one share may consume; at most one of the last two is set."""

    default: Quantity | None = None
    valid_values: tuple[Quantity, ...] = ()
    valid_range: CapacityRequestPolicyRange | None = None


@dataclass(frozen=True, slots=True)
class DeviceCapacity:
    """One capacity of a device; ``request_policy`` only on devices that can be shared."""

    value: Quantity
    request_policy: CapacityRequestPolicy | None = None


class TaintEffect(enum.Enum):
    """Effect of a device taint; ``OTHER`` stands for effects that this release does not know."""

    NONE = "None"
    NO_SCHEDULE = "NoSchedule"
    NO_EXECUTE = "NoExecute"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class DeviceTaint:
    """A taint of a device; ``rule`` names the DeviceTaintRule it comes from, if it does."""

    key: str
    value: str
    effect: TaintEffect
    rule: str | None = None

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.key}{value}:{self.effect.value}"


@dataclass(frozen=True, slots=True)
class CounterConsumption:
    """What a device takes from one counter set of its pool (KEP-4815)."""

    counter_set: str
    counters: Mapping[str, Quantity]
    compatibility_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeAllocatableMapping:
    """How a device is itself a part of a node's resource.

    Either ``device_multiplier`` is set, or ``capacity_key`` with ``capacity_multiplier``.
    """

    capacity_key: str | None = None
    capacity_multiplier: Quantity | None = None
    device_multiplier: Quantity | None = None


@dataclass(frozen=True, slots=True)
class NodeAllocatableOverhead:
    """What the use of a device costs: once a pod, and again for each container that uses it."""

    per_pod: Quantity | None = None
    per_container: Quantity | None = None


@dataclass(frozen=True, slots=True)
class NodeAllocatableResource:
    """What an allocated device takes of one resource of its node; at least one field is set."""

    mapping: NodeAllocatableMapping | None = None
    overhead: NodeAllocatableOverhead | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """One device as its slice publishes it.

    ``attributes`` and ``capacity`` are keyed by qualified name as published, bare or with a
    domain. ``node_name``, ``node_selector`` and ``all_nodes`` are set only where the slice has
    ``perDeviceNodeSelection``. ``node_allocatable`` (KEP-5517) is by resource: ``cpu``, ``memory``.
    """

    name: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=lambda: MappingProxyType({}))
    capacity: Mapping[str, DeviceCapacity] = field(default_factory=lambda: MappingProxyType({}))
    taints: tuple[DeviceTaint, ...] = ()
    consumes_counters: tuple[CounterConsumption, ...] = ()
    node_name: str = ""
    node_selector: NodeSelector | None = None
    all_nodes: bool = False
    binds_to_node: bool = False
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    allow_multiple_allocations: bool = False
    node_allocatable: Mapping[str, NodeAllocatableResource] = field(
        default_factory=lambda: MappingProxyType({})
    )
