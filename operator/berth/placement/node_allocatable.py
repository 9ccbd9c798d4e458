# SPDX-License-Identifier: Apache-2.0
"""What the devices of a pod take of its node's own resources, and whether the node has that left.

Decides about devices that were chosen already: a node on which they do not fit is refused, other
devices are not tried there, as upstream does not. Not counted: what the devices of other pods
take, and devices that nobody publishes any more.

Source: KEP-5517, ``nodeAllocatableResources`` of a Device; KEP-2837 for pod-level resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from berth.engine.inventory import Inventory
from berth.errors import InvalidClaimError
from berth.model.claims import POD_CLAIM_NAME_ANNOTATION, ResourceClaim
from berth.model.devices import (
    Device,
    DeviceID,
    NodeAllocatableMapping,
    NodeAllocatableOverhead,
)
from berth.model.placement import DeviceResourceShort, NodeReason, PodLevelShort
from berth.model.pods import Pod
from berth.model.results import AllocationResult, DeviceResult
from berth.model.usage import NodeState
from berth.quantity import NANO, Quantity

Allocation = tuple[ResourceClaim, AllocationResult]
"""A claim with what it has, or would get."""


def shortages(
    inventory: Inventory, pod: Pod, state: NodeState, allocations: Iterable[Allocation]
) -> tuple[NodeReason, ...]:
    """Return what ``pod`` lacks on the node with these devices, by resource; empty where it fits.

    Args:
        inventory: The published devices.
        pod: The pod, which must not be counted in ``state`` already.
        state: The node with what its pods request.
        allocations: All claims of the pod, each once.

    Raises:
        InvalidClaimError: As ``device_resources`` does.
    """
    return tuple(_shortages(pod, state, device_resources(inventory, pod, allocations)))


def _shortages(pod: Pod, state: NodeState, added: Mapping[str, int]) -> Iterator[NodeReason]:
    for resource, devices in sorted(added.items()):
        if devices <= 0:
            continue
        room = pod.pod_level_room.get(resource)
        if room is not None:
            # The pod-level request stands for everything, and has been compared with the node.
            if room < devices:
                yield PodLevelShort(resource, devices, room)
            continue
        want = pod.requests.get(resource, 0) + devices
        free = state.node.allocatable.get(resource, 0) - state.used.get(resource, 0)
        if free < want:
            yield DeviceResourceShort(resource, want, free, devices)


def device_resources(
    inventory: Inventory, pod: Pod, allocations: Iterable[Allocation]
) -> Mapping[str, int]:
    """Return what the devices add to the pod's requests: ``cpu`` in milli-units, else whole units.

    Sums are exact and rounded up once, at the end.

    Raises:
        InvalidClaimError: If a mapping cannot be applied to what the claim has.
    """
    # In square nano-units, so that products of quantities stay exact.
    total: dict[str, int] = {}
    for claim, allocation in allocations:
        containers = _containers(pod, claim)
        for result in allocation.devices:
            device = _published(inventory, result.device_id)
            if device is None:
                continue
            for resource, takes in device.node_allocatable.items():
                added = _overhead(takes.overhead, containers)
                if takes.mapping is not None:
                    added += _mapped(takes.mapping, resource, claim, result)
                total[resource] = total.get(resource, 0) + added
    return {resource: _whole(resource, amount) for resource, amount in total.items()}


def check_not_shared(inventory: Inventory, pod: Pod, allocated: Sequence[ResourceClaim]) -> None:
    """Refuse claims whose devices are a part of the node's resources and that another pod has.

    Raises:
        InvalidClaimError: If there is one.
    """
    for claim in allocated:
        other = next(
            (c for c in claim.reserved_for if (c.uid, c.name) != (pod.uid, pod.name)), None
        )
        if other is None or claim.allocation is None:
            continue
        for result in claim.allocation.devices:
            device = _published(inventory, result.device_id)
            if device is None:
                continue
            mapped = sorted(r for r, t in device.node_allocatable.items() if t.mapping is not None)
            if mapped:
                raise InvalidClaimError(
                    str(claim.key),
                    result.request,
                    f"device {result.device_id} is a part of its node's {', '.join(mapped)} "
                    f"(nodeAllocatableResources), so that pods cannot share it, but the claim is "
                    f"reserved for {other.name}: give each pod a claim of its own",
                    reason="SharedMapping",
                )


def _containers(pod: Pod, claim: ResourceClaim) -> int:
    # The status may not name a generated claim yet; its annotation tells whose it is.
    entry = claim.annotations.get(POD_CLAIM_NAME_ANNOTATION)
    return sum(
        reference.containers
        for reference, name in pod.resolved_claims()
        if name == claim.name or (name is None and reference.name == entry)
    )


def _published(inventory: Inventory, wanted: DeviceID) -> Device | None:
    """Return the device as the newest slice has it."""
    found: Device | None = None
    newest = -1
    for record in inventory.slices_by_pool.get(wanted.pool_id, ()):
        if record.slice.generation <= newest:
            continue
        for device in record.slice.devices:
            if device.name == wanted.device:
                found, newest = device, record.slice.generation
                break
    return found


def _overhead(overhead: NodeAllocatableOverhead | None, containers: int) -> int:
    if overhead is None:
        return 0
    return NANO * (_nanos(overhead.per_pod) + containers * _nanos(overhead.per_container))


def _nanos(amount: Quantity | None) -> int:
    return 0 if amount is None else amount.nanos


def _mapped(
    mapping: NodeAllocatableMapping, resource: str, claim: ResourceClaim, result: DeviceResult
) -> int:
    key, per_device = mapping.capacity_key, mapping.device_multiplier
    if per_device is not None and key is None and mapping.capacity_multiplier is None:
        return NANO * per_device.nanos
    if per_device is not None or key is None or mapping.capacity_multiplier is None:
        raise _invalid(
            claim,
            result,
            resource,
            "must have either deviceMultiplier, or capacityKey with capacityMultiplier",
        )
    if result.consumed_capacity is None:
        raise _invalid(
            claim,
            result,
            resource,
            f"counts capacity {key}, but nothing is consumed of a device that is not shared: "
            "the driver must set allowMultipleAllocations, or map by deviceMultiplier",
        )
    consumed = result.consumed_capacity.get(key)
    return 0 if consumed is None else consumed.nanos * mapping.capacity_multiplier.nanos


def _invalid(
    claim: ResourceClaim, result: DeviceResult, resource: str, detail: str
) -> InvalidClaimError:
    where = f"device {result.device_id}: nodeAllocatableResources[{resource}].mapping"
    return InvalidClaimError(
        str(claim.key), result.request, f"{where} {detail}", reason="InvalidMapping"
    )


def _whole(resource: str, amount: int) -> int:
    unit = NANO * 10**6 if resource == "cpu" else NANO * NANO
    return -(-amount // unit)
