# SPDX-License-Identifier: Apache-2.0
"""An exhaustive allocator for small instances: can the claims be satisfied at all?

Tries every choice of alternatives and devices, and shares no code with ``berth.engine``. Knows
pools, selectors, modes, prioritized lists, admin access, taints, scalar constraints, and by
``tests.support.supply`` counters and capacity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from berth.cel import CelDevice, compile_selector
from berth.model.claims import ALL, DeviceConstraint, ExactRequest, RequestRef
from berth.model.devices import AttributeValue, Device, DeviceID, PoolID, TaintEffect
from berth.model.nodes import Node
from berth.model.slices import ResourceSlice
from tests.support import supply
from tests.support.supply import Choice, Instance, Published

__all__ = ["Choice", "Instance", "Published", "is_satisfiable"]


def is_satisfiable(instance: Instance) -> bool:
    """Tell whether some choice of alternatives and devices satisfies all claims."""
    devices = visible_devices(instance.slices, instance.node)
    return any(True for _ in _choices(instance, devices, 0, 0, []))


def visible_devices(slices: Sequence[ResourceSlice], node: Node) -> list[Published]:
    """Return the devices of all complete and consistent pools that the node can use."""
    pools = sorted({each.pool_id for each in slices})
    return [d for p in pools for d in _of_pool(p, [s for s in slices if s.pool_id == p], node)]


def _of_pool(pool: PoolID, slices: Sequence[ResourceSlice], node: Node) -> list[Published]:
    seen = [s for s in slices if reaches(s, node)]
    if not seen:
        return []
    newest = max(s.generation for s in seen)
    seen = [s for s in seen if s.generation == newest]
    if len(seen) != seen[0].resource_slice_count:
        everywhere = sum(s.generation == newest for s in slices)
        is_obsolete = max(s.generation for s in slices) > newest
        if is_obsolete or everywhere != seen[0].resource_slice_count:
            return []
    if not supply.is_consistent([s for s in slices if s.generation == newest]):
        return []
    devices = [d for s in seen for d in s.devices]
    if len({d.name for d in devices}) < len(devices):
        return []
    return [Published(DeviceID(*pool, d.name), d, pool.driver) for d in devices]


def reaches(published: ResourceSlice, node: Node) -> bool:
    if published.node_name:
        return published.node_name == node.name
    if published.all_nodes:
        return True
    selector = published.node_selector
    return selector is not None and selector.matches(node)


def matches(instance: Instance, body: ExactRequest, published: Published) -> bool:
    """Tell whether the device is one of those that the request describes."""
    if supply.consumption(body, published) is None:
        return False
    device = published.device
    amounts = {name: each.value for name, each in device.capacity.items()}
    shared = device.allow_multiple_allocations
    cel = CelDevice.build(published.driver, device.attributes, amounts, shared)
    selectors = (*instance.classes[body.device_class_name].selectors, *body.selectors)
    return all(compile_selector(each.cel or "").matches(cel) for each in selectors)


def tolerates(body: ExactRequest, device: Device) -> bool:
    harmless = {TaintEffect.NONE, TaintEffect.OTHER}
    blocking = [taint for taint in device.taints if taint.effect not in harmless]
    return all(any(each.tolerates(t) for each in body.tolerations) for t in blocking)


def attribute(published: Published, name: str) -> AttributeValue | None:
    domain, _, bare = name.partition("/")
    attributes = published.device.attributes
    return attributes.get(name) or (attributes.get(bare) if domain == published.driver else None)


def _choices(
    instance: Instance, devices: Sequence[Published], claim: int, request: int, so_far: list[Choice]
) -> Iterator[list[Choice]]:
    if claim == len(instance.claims):
        yield so_far
        return
    requests = instance.claims[claim].spec.requests
    if request == len(requests):
        mine = [choice for choice in so_far if choice[0] == claim]
        if all(holds(each, mine) for each in instance.claims[claim].spec.constraints):
            yield from _choices(instance, devices, claim + 1, 0, so_far)
        return
    for body in requests[request].alternatives:
        ref = RequestRef(requests[request].name, body.name)
        for chosen in _sets(instance, devices, body):
            more = [*so_far, (claim, ref, body, chosen)]
            is_free = all(_is_free(instance, d, claim, body, so_far) for d in chosen)
            if is_free and supply.lasts(instance, more):
                yield from _choices(instance, devices, claim, request + 1, more)


def _sets(
    instance: Instance, devices: Sequence[Published], body: ExactRequest
) -> Iterator[tuple[Published, ...]]:
    matching = [d for d in devices if matches(instance, body, d)]
    size = max(1, len(matching)) if body.allocation_mode == ALL else body.count
    for chosen in combinations(matching, size):
        if all(tolerates(body, d.device) for d in chosen):
            yield chosen


def _is_free(
    instance: Instance, wanted: Published, claim: int, body: ExactRequest, so_far: list[Choice]
) -> bool:
    takers = [] if wanted.is_shared else [choice for choice in so_far if wanted in choice[3]]
    if body.admin_access:
        return all(taker[0] != claim for taker in takers)
    shares = () if wanted.is_shared else instance.shares
    return wanted.id not in instance.in_use and wanted.id not in shares and not takers


def holds(constraint: DeviceConstraint, choices: Sequence[Choice]) -> bool:
    """Tell whether the constraint holds between the devices of one claim."""
    under = [d for _, ref, _, ds in choices if ref.is_named_by(constraint.requests) for d in ds]
    name = constraint.match_attribute or constraint.distinct_attribute or ""
    values = [attribute(d, name) for d in under]
    if None in values:
        return False
    return len(set(values)) == (
        len(values) if constraint.distinct_attribute else min(1, len(values))
    )
