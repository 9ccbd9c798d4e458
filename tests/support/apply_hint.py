# SPDX-License-Identifier: Apache-2.0
"""Does by hand what a hint says, from its fields alone, so that a hint can be proven wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory
from berth.engine.records import SliceRecord
from berth.engine.snapshot import Snapshot
from berth.explain.hints import (
    DropClaim,
    DropConstraint,
    DropRequest,
    DropSelector,
    Hint,
    LowerCapacity,
    LowerCount,
    MendNode,
    OtherClass,
    ReleaseClaim,
    Tolerate,
    UseCount,
    WaitForPool,
)
from berth.model.claims import (
    ClaimKey,
    DeviceClaim,
    DeviceRequest,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.tolerations import DeviceToleration

Claims = Sequence[ResourceClaim]
Body = Callable[[ExactRequest], ExactRequest]


def applied(  # noqa: C901 - one case a kind
    hint: Hint, claims: Claims, snapshot: Snapshot
) -> tuple[Claims, Snapshot]:
    """Return the input as it is after somebody did what the hint says."""
    match hint:
        case LowerCount(claim, request, count):
            return _body(claims, claim, request, lambda b: replace(b, count=count)), snapshot
        case UseCount(claim, request, count):
            return _body(
                claims,
                claim,
                request,
                lambda b: replace(b, allocation_mode="ExactCount", count=count),
            ), snapshot
        case LowerCapacity(claim, request, name, amount):
            return _body(
                claims,
                claim,
                request,
                lambda b: replace(
                    b, capacity_requests={**(b.capacity_requests or {}), name: amount}
                ),
            ), snapshot
        case Tolerate(claim, request, taint):
            more = DeviceToleration(taint.key, "Equal", taint.value, taint.effect.value)
            return _body(
                claims, claim, request, lambda b: replace(b, tolerations=(*b.tolerations, more))
            ), snapshot
        case DropSelector(claim, request, index):
            return _body(
                claims,
                claim,
                request,
                lambda b: replace(
                    b, selectors=tuple(s for i, s in enumerate(b.selectors) if i != index)
                ),
            ), snapshot
        case OtherClass(claim, request, device_class):
            return _body(
                claims, claim, request, lambda b: replace(b, device_class_name=device_class)
            ), snapshot
        case DropConstraint(claim, number):
            return _spec(
                claims,
                claim,
                lambda s: replace(
                    s, constraints=tuple(c for i, c in enumerate(s.constraints) if i != number)
                ),
            ), snapshot
        case DropRequest(claim, request):
            return _spec(claims, claim, lambda s: _without(s, request)), snapshot
        case DropClaim(claim):
            return [each for each in claims if each.key != claim], snapshot
        case ReleaseClaim(holder):
            return claims, _released(snapshot, holder)
        case WaitForPool():
            return claims, _complete(hint, snapshot)
        case MendNode():
            return claims, snapshot
    raise AssertionError(f"{hint} is of an unknown kind")


def _spec(claims: Claims, key: ClaimKey, change: Callable[[DeviceClaim], DeviceClaim]) -> Claims:
    return [replace(c, spec=change(c.spec)) if c.key == key else c for c in claims]


def _body(claims: Claims, key: ClaimKey, ref: RequestRef, change: Body) -> Claims:
    def changed(request: DeviceRequest) -> DeviceRequest:
        if request.name != ref.request:
            return request
        if request.exactly is not None:
            return replace(request, exactly=change(request.exactly))
        return replace(
            request,
            first_available=tuple(
                change(b) if b.name == ref.subrequest else b for b in request.first_available
            ),
        )

    return _spec(claims, key, lambda s: replace(s, requests=tuple(map(changed, s.requests))))


def _without(spec: DeviceClaim, name: str) -> DeviceClaim:
    constraints = []
    for each in spec.constraints:
        left = tuple(r for r in each.requests if r != name and not r.startswith(f"{name}/"))
        if left or not each.requests:
            constraints.append(replace(each, requests=left))
    return DeviceClaim(tuple(r for r in spec.requests if r.name != name), tuple(constraints))


def _released(snapshot: Snapshot, holder: str) -> Snapshot:
    before = snapshot.allocated
    shared = {d: c for d, c in before.shared.items() if c != (holder,)}
    return replace(
        snapshot,
        allocated=AllocatedState(
            holders={d: c for d, c in before.holders.items() if c != (holder,)},
            shared=shared,
            capacity={d: c for d, c in before.capacity.items() if d in shared},
        ),
    )


def _complete(hint: WaitForPool, snapshot: Snapshot) -> Snapshot:
    """Publish the missing slices, empty."""
    records = list(snapshot.inventory.slices)
    newest = max(r.slice.generation for r in records if r.slice.pool_id == hint.pool)
    model = next(
        r.slice for r in records if r.slice.pool_id == hint.pool and r.slice.generation == newest
    )
    for number in range(hint.missing):
        empty = replace(model, name=f"{model.name}-more-{number}", devices=())
        records.append(SliceRecord(empty, ()))
    return replace(snapshot, inventory=Inventory(records, snapshot.features))
