# SPDX-License-Identifier: Apache-2.0
"""The allocator's feature flags, with the defaults of Kubernetes 1.37.

Every flag changes at least one decision of the engine, or of the placement.

Source: feature gates DRAAdminAccess, DRAPrioritizedList, DRAPartitionableDevices,
DRADeviceTaints, DRADeviceBindingConditions with DRAResourceClaimDeviceStatus,
DRAConsumableCapacity, DRAFractionalCapacityRange, DRAListTypeAttributes,
DRAOptionalNodeOperations, DRADerivedAttributes, DRADeviceCompatibilityGroups,
DRANodeAllocatableResources.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Features:
    """Which allocator features are on.

    ``as_release_1_37`` is no gate but the differences between that release and Berth, which
    ``docs/reference/deliberate-differences.md`` lists: mode All beside an unusable pool, lists
    under matchAttribute, over-committed counters, and names of capacity.
    """

    admin_access: bool = True
    prioritized_list: bool = True
    partitionable_devices: bool = True
    device_taints: bool = True
    device_binding_and_status: bool = True
    consumable_capacity: bool = True
    fractional_capacity_range: bool = True
    list_type_attributes: bool = False
    optional_node_operations: bool = False
    derived_attributes: bool = False
    compatibility_groups: bool = False
    node_allocatable_resources: bool = False
    as_release_1_37: bool = False
