# SPDX-License-Identifier: Apache-2.0
"""Is this allocation legal? Every rule that a result must keep, checked one by one.

Never imports ``berth.engine``: what is legal follows from the objects, not from how it was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from berth.model.claims import (
    ALL,
    MAX_DEVICES_PER_CLAIM,
    DeviceRequest,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.devices import DeviceID
from berth.model.results import AllocationResult, DeviceResult
from tests.support import oracle, supply
from tests.support.oracle import Instance, Published


def violations(instance: Instance, results: Sequence[AllocationResult]) -> list[str]:
    """Return every rule that the results break; an empty list means that they are legal."""
    if len(results) != len(instance.claims):
        return [f"{len(instance.claims)} claims, but {len(results)} results"]
    choices: list[oracle.Choice] = []
    found = [
        *_devices_twice(results),
        *(
            f"claim {claim.name}: {each}"
            for number, claim in enumerate(instance.claims)
            for each in _of_claim(instance, number, results[number], choices)
        ),
    ]
    if not supply.lasts(instance, choices):
        found.append("counters or capacity do not last")
    return found


def _devices_twice(results: Sequence[AllocationResult]) -> Iterator[str]:
    seen: set[DeviceID] = set()
    shares = [d.share_id for result in results for d in result.devices if d.share_id is not None]
    if len(set(shares)) < len(shares):
        yield "a share is given away twice"
    for result in results:
        for device in result.devices:
            if device.admin_access or device.share_id is not None:
                continue
            if device.device_id in seen:
                yield f"device {device.device_id} is given away twice"
            seen.add(device.device_id)


def _of_claim(
    instance: Instance, number: int, result: AllocationResult, everybody: list[oracle.Choice]
) -> Iterator[str]:
    claim: ResourceClaim = instance.claims[number]
    visible = {d.id: d for d in oracle.visible_devices(instance.slices, instance.node)}
    if len(result.devices) > MAX_DEVICES_PER_CLAIM:
        yield f"{len(result.devices)} devices"
    whole = [device.device_id for device in result.devices if device.share_id is None]
    if len(set(whole)) < len(whole):
        yield "a device appears twice in one claim"
    choices: list[oracle.Choice] = []
    given: dict[str, list[DeviceResult]] = {}
    for device in result.devices:
        given.setdefault(device.request.partition("/")[0], []).append(device)
    for request in claim.spec.requests:
        devices = given.pop(request.name, [])
        unknown = [str(d.device_id) for d in devices if d.device_id not in visible]
        if unknown:
            yield f"request {request.name}: not visible on the node: {unknown}"
            continue
        names = {device.request for device in devices}
        body = _body(request, names)
        if body is None:
            yield f"request {request.name}: results are named {sorted(names)}"
            continue
        published = tuple(visible[device.device_id] for device in devices)
        yield from _of_request(instance, body, devices, published)
        choices.append((number, RequestRef(request.name, body.name), body, published))
    everybody.extend(choices)
    if given:
        yield f"results for requests that the claim does not have: {sorted(given)}"
    for place, constraint in enumerate(claim.spec.constraints):
        if not oracle.holds(constraint, choices):
            yield f"constraint #{place} does not hold"
    selector = result.node_selector
    if selector is not None and not selector.matches(instance.node):
        yield "the node selector does not match the node"


def _body(request: DeviceRequest, names: set[str]) -> ExactRequest | None:
    bodies = {str(RequestRef(request.name, body.name)): body for body in request.alternatives}
    if len(names) > 1 or not names <= set(bodies):
        return None
    return bodies[names.pop()] if names else request.alternatives[0]


def _of_request(
    instance: Instance,
    body: ExactRequest,
    devices: Sequence[DeviceResult],
    published: Sequence[Published],
) -> Iterator[str]:
    matching = [
        d
        for d in oracle.visible_devices(instance.slices, instance.node)
        if oracle.matches(instance, body, d)
    ]
    wanted = len(matching) if body.allocation_mode == ALL else body.count
    if len(devices) != wanted or wanted == 0:
        yield f"{len(devices)} devices where {wanted} are wanted"
    for device, each in zip(devices, published, strict=True):
        if device.admin_access != bool(body.admin_access):
            yield f"{each.id}: adminAccess is {device.admin_access}"
        if each.id in instance.in_use and not body.admin_access:
            yield f"{each.id} is in use"
        if not oracle.matches(instance, body, each):
            yield f"{each.id} does not match"
        if not oracle.tolerates(body, each.device):
            yield f"{each.id} has a taint that is not tolerated"
        if device.tolerations != body.tolerations:
            yield f"{each.id}: tolerations were not copied"
        if (device.share_id is not None) != each.is_shared:
            yield f"{each.id}: share {device.share_id}"
        consumed = {name: q.nanos for name, q in (device.consumed_capacity or {}).items()}
        if consumed != (supply.consumption(body, each) if each.is_shared else {}):
            yield f"{each.id}: consumes {device.consumed_capacity}"
