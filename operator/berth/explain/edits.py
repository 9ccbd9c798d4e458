# SPDX-License-Identifier: Apache-2.0
"""Single changes of an attempt's input: of its claims, or of what it finds in the cluster.

Decides only what a change leaves behind: a constraint that names a request goes with the last of
those that it names. Whether a change helps is found by running the engine, see
``berth.explain.trials``. Nothing is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from berth.engine.inventory import Inventory
from berth.engine.records import SliceRecord
from berth.engine.snapshot import Snapshot
from berth.model.claims import (
    DeviceClaim,
    DeviceConstraint,
    DeviceRequest,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.devices import DeviceID, PoolID

Claims = tuple[ResourceClaim, ...]
Place = tuple[int, RequestRef]
"""A request of an attempt, or an alternative of one: the index of its claim, and its name."""


def bodies(claims: Sequence[ResourceClaim]) -> tuple[tuple[Place, ExactRequest], ...]:
    """Return every request, and every alternative of prioritized lists, in order."""
    return tuple(
        ((index, RequestRef(request.name, body.name)), body)
        for index, claim in enumerate(claims)
        for request in claim.spec.requests
        for body in request.alternatives
    )


def with_body(
    claims: Sequence[ResourceClaim], place: Place, change: Callable[[ExactRequest], ExactRequest]
) -> Claims:
    """Return the claims with one request, or one alternative, changed."""
    index, ref = place

    def changed(request: DeviceRequest) -> DeviceRequest:
        if request.name != ref.request:
            return request
        if request.exactly is not None:
            return replace(request, exactly=change(request.exactly))
        return replace(
            request,
            first_available=tuple(
                change(body) if body.name == ref.subrequest else body
                for body in request.first_available
            ),
        )

    return _with_spec(
        claims,
        index,
        lambda spec: replace(spec, requests=tuple(changed(request) for request in spec.requests)),
    )


def without_request(claims: Sequence[ResourceClaim], index: int, name: str) -> Claims:
    """Return the claims without one request; a claim that is left without any goes too."""
    spec = claims[index].spec
    if all(request.name == name for request in spec.requests):
        return without_claim(claims, index)
    return _with_spec(claims, index, lambda spec: _spec_without(spec, name))


def without_claim(claims: Sequence[ResourceClaim], index: int) -> Claims:
    """Return the claims without one of them."""
    return (*claims[:index], *claims[index + 1 :])


def without_constraint(claims: Sequence[ResourceClaim], index: int, number: int) -> Claims:
    """Return the claims without one constraint of one of them."""
    return _with_spec(
        claims,
        index,
        lambda spec: replace(
            spec, constraints=(*spec.constraints[:number], *spec.constraints[number + 1 :])
        ),
    )


def _with_spec(
    claims: Sequence[ResourceClaim], index: int, change: Callable[[DeviceClaim], DeviceClaim]
) -> Claims:
    claim = claims[index]
    changed = replace(claim, spec=change(claim.spec))
    return (*claims[:index], changed, *claims[index + 1 :])


def _spec_without(spec: DeviceClaim, name: str) -> DeviceClaim:
    def kept(references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(each for each in references if each.partition("/")[0] != name)

    constraints: list[DeviceConstraint] = []
    for constraint in spec.constraints:
        references = kept(constraint.requests)
        # An empty list would mean every request.
        if references or not constraint.requests:
            constraints.append(replace(constraint, requests=references))
    return DeviceClaim(
        requests=tuple(request for request in spec.requests if request.name != name),
        constraints=tuple(constraints),
        config=tuple(each for each in spec.config if not each.requests or kept(each.requests)),
    )


def released(snapshot: Snapshot, claim: str) -> Snapshot | None:
    """Return the snapshot as if nobody but others held what ``claim`` holds.

    Returns:
        ``None`` where that cannot be told: of shares of one device only their sum is known, so a
        claim that shares a device with another one cannot be taken out.
    """
    allocated = snapshot.allocated
    shared: dict[DeviceID, tuple[str, ...]] = {}
    for device, holders in allocated.shared.items():
        left = tuple(holder for holder in holders if holder != claim)
        if left and left != holders:
            return None
        if left:
            shared[device] = left
    capacity = {
        device: consumed
        for device, consumed in allocated.capacity.items()
        if device not in allocated.shared or device in shared
    }
    return replace(
        snapshot,
        allocated=replace(
            allocated,
            holders=_without(allocated.holders, claim),
            shared=MappingProxyType(shared),
            capacity=MappingProxyType(capacity),
        ),
    )


def _without(
    holders: Mapping[DeviceID, tuple[str, ...]], claim: str
) -> Mapping[DeviceID, tuple[str, ...]]:
    left: dict[DeviceID, tuple[str, ...]] = {}
    for device, claims in holders.items():
        rest = tuple(each for each in claims if each != claim)
        if rest:
            left[device] = rest
    return MappingProxyType(left)


def with_pool_complete(snapshot: Snapshot, pool: PoolID, generation: int, seen: int) -> Snapshot:
    """Return the snapshot as if the slices of ``pool`` that are published were all there are."""
    records = [
        SliceRecord(replace(record.slice, resource_slice_count=seen), record.devices)
        if (record.slice.pool_id, record.slice.generation) == (pool, generation)
        else record
        for record in snapshot.inventory.slices
    ]
    return replace(snapshot, inventory=Inventory(records, snapshot.features))
