# SPDX-License-Identifier: Apache-2.0
"""Allocation results: what the allocator writes into ``status.allocation``.

Source: ``resource.k8s.io/v1`` AllocationResult; KEP-4381, KEP-5075 (shareID, consumedCapacity),
KEP-5007 (binding conditions), KEP-5945 (skipNodeOperations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from berth.model.devices import DeviceID
from berth.model.nodes import NodeSelector
from berth.model.slices import OpaqueConfig
from berth.model.tolerations import DeviceToleration
from berth.quantity import Quantity

FROM_CLASS = "FromClass"
FROM_CLAIM = "FromClaim"


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """One allocated device.

    ``request`` is ``main`` or ``main/sub``. ``share_id`` is set exactly for devices that allow
    multiple allocations, ``consumed_capacity`` for those of them that have a capacity.
    """

    request: str
    driver: str
    pool: str
    device: str
    admin_access: bool = False
    tolerations: tuple[DeviceToleration, ...] = ()
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    share_id: str | None = None
    consumed_capacity: Mapping[str, Quantity] | None = None
    skip_node_operations: tuple[str, ...] = ()

    @property
    def device_id(self) -> DeviceID:
        """The device's identity."""
        return DeviceID(self.driver, self.pool, self.device)


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """One configuration entry; ``source`` is FROM_CLASS or FROM_CLAIM, no ``requests`` is all."""

    source: str
    requests: tuple[str, ...]
    opaque: OpaqueConfig | None


@dataclass(frozen=True, slots=True)
class AllocationResult:
    """``status.allocation``; ``node_selector`` is ``None`` where every node can use the devices.

    ``timestamp`` is ``allocationTimestamp`` as the API has it, empty until it is written.
    """

    devices: tuple[DeviceResult, ...] = ()
    config: tuple[ConfigResult, ...] = ()
    node_selector: NodeSelector | None = None
    timestamp: str = ""
