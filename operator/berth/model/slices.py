# SPDX-License-Identifier: Apache-2.0
"""ResourceSlices, DeviceClasses and DeviceTaintRules as they are published.

Decides nothing. Which slices form a pool, and which pools a node sees, is ``berth.engine.pools``.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceClass, DeviceTaintRule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from berth.model.devices import Device, DeviceTaint, PoolID
from berth.model.nodes import NodeSelector
from berth.quantity import Quantity


@dataclass(frozen=True, slots=True)
class CounterSet:
    """A budget that the devices of one pool share (KEP-4815)."""

    name: str
    counters: Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class ResourceSlice:
    """One published part of a pool: devices or counter sets.

    ``per_device_node_selection`` is ``None`` where the field is unset: upstream tells unset from
    ``false`` when partitionable devices are off.
    """

    name: str
    driver: str
    pool: str
    generation: int
    resource_slice_count: int
    node_name: str = ""
    node_selector: NodeSelector | None = None
    all_nodes: bool = False
    per_device_node_selection: bool | None = None
    devices: tuple[Device, ...] = ()
    shared_counters: tuple[CounterSet, ...] = ()
    skip_node_operations: tuple[str, ...] = ()
    uid: str = ""

    @property
    def pool_id(self) -> PoolID:
        """The pool that the slice belongs to."""
        return PoolID(self.driver, self.pool)


@dataclass(frozen=True, slots=True)
class Selector:
    """One selector of a class or request; ``cel`` is ``None`` for a type of a later release."""

    cel: str | None


@dataclass(frozen=True, slots=True)
class OpaqueConfig:
    """Parameters for one driver; ``parameters`` is the decoded JSON object, passed through."""

    driver: str
    parameters: object


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """An administrator's selectors and configuration; ``config`` entries may lack ``opaque``."""

    name: str
    selectors: tuple[Selector, ...] = ()
    config: tuple[OpaqueConfig | None, ...] = ()
    extended_resource_name: str | None = None
    created: str = ""


@dataclass(frozen=True, slots=True)
class DeviceTaintRule:
    """A taint for every device that the selector matches (KEP-5055).

    ``driver``, ``pool``, ``device``: each restricts if set. ``has_selector`` is false where the
    rule has no ``deviceSelector`` at all; by the API's text such a rule matches nothing.
    """

    name: str
    taint: DeviceTaint
    has_selector: bool = True
    driver: str | None = None
    pool: str | None = None
    device: str | None = None

    def matches(self, driver: str, pool: str, device: str) -> bool:
        """Tell whether the rule taints the device of that identity."""
        return (
            self.has_selector
            and self.driver in {None, driver}
            and self.pool in {None, pool}
            and self.device in {None, device}
        )
