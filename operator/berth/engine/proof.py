# SPDX-License-Identifier: Apache-2.0
"""Counting arguments that no choice of devices can satisfy a plan.

Decides "impossible", or says nothing. Sound: devices, constraints and limits are only ever
relaxed. Says nothing where upstream might meet an error on its way, which must not be hidden.

Source: none; upstream tries all combinations instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from berth.engine.candidates import Candidates
from berth.engine.constraints import Constraint
from berth.engine.plan import Plan, PlannedBody
from berth.engine.records import DeviceRecord

Filter = Callable[[PlannedBody, DeviceRecord], bool]


def is_proven_impossible(
    plan: Plan,
    candidates: Mapping[PlannedBody, Candidates],
    constraints: Sequence[Sequence[Constraint]],
) -> bool:
    """Tell whether the requests cannot all be satisfied, by counting.

    Each device can serve one request only, unless it can be shared. Requests for admin access
    need no device to themselves. For each matchAttribute some value must do for all devices.
    """
    bodies = [body for claim in plan for request in claim.requests for body in request.bodies]
    if any(
        (body.is_all and body.constraints)
        or (not body.is_all and candidates[body].has_errors)
        or has_late_errors(body, constraints[body.claim])
        for body in bodies
    ):
        return False
    pools = {body: _usable(body, candidates[body]) for body in bodies}
    if not _is_feasible(plan, pools, lambda body, record: True):  # noqa: ARG005 - no filter
        return True
    for index, claim in enumerate(plan):
        for number, constraint in enumerate(constraints[index]):
            under = [
                body
                for request in claim.requests
                for body in request.bodies
                if number in body.constraints
            ]
            if constraint.is_match and under and not _has_value(plan, pools, constraint, under):
                return True
    return False


def has_late_errors(body: PlannedBody, constraints: Sequence[Constraint]) -> bool:
    """Tell whether a derived attribute may fail where a device is tried, and not before."""
    return any(constraints[number].attribute in body.derived for number in body.constraints)


def _usable(body: PlannedBody, candidates: Candidates) -> Sequence[DeviceRecord]:
    if not body.is_all:
        return candidates.rest(0)
    if any(candidates.is_untakable(record) for record in body.listed):
        return ()
    return body.listed


def _has_value(
    plan: Plan,
    pools: Mapping[PlannedBody, Sequence[DeviceRecord]],
    constraint: Constraint,
    under: Sequence[PlannedBody],
) -> bool:
    """Tell whether some value of the attribute leaves every request enough devices."""
    by_value: dict[tuple[str, object], set[DeviceRecord]] = {}
    for body in under:
        for record in pools[body]:
            values = constraint.values_of(record)
            if values is not None:
                for value in values.values:
                    by_value.setdefault((values.kind, value), set()).add(record)
    covered = set(under)
    # Where nothing under the constraint needs a device, no value is needed either.
    groups = [*by_value.values(), set()]
    for group in groups:

        def fits(body: PlannedBody, record: DeviceRecord, group: set[DeviceRecord] = group) -> bool:
            return body not in covered or record in group

        if _is_feasible(plan, pools, fits):
            return True
    return False


def _is_feasible(
    plan: Plan, pools: Mapping[PlannedBody, Sequence[DeviceRecord]], fits: Filter
) -> bool:
    """Tell whether each request can be given enough devices, no device to two requests."""
    edges: list[Sequence[DeviceRecord]] = []
    units: list[int] = []
    for claim in plan:
        for request in claim.requests:
            enough = [
                (body, found)
                for body in request.bodies
                for found in [[record for record in pools[body] if fits(body, record)]]
                if len(found) >= body.wanted and not (body.is_all and body.wanted == 0)
            ]
            if not enough:
                return False
            if any(body.admin for body, _ in enough):
                continue
            least = min(body.wanted for body, _ in enough)
            # Where alternatives have devices in common, one may stand for either.
            devices = list(dict.fromkeys(record for _, found in enough for record in found))
            exclusive = [d for d in devices if not d.device.allow_multiple_allocations]
            if len(exclusive) < len(devices):
                continue
            units.extend([len(edges)] * least)
            edges.append(exclusive)
    return _can_match(units, edges)


def _can_match(units: Sequence[int], edges: Sequence[Sequence[DeviceRecord]]) -> bool:
    """Tell whether every unit gets a device of its own: bipartite matching, unit by unit."""
    owner: dict[DeviceRecord, int] = {}
    for unit in range(len(units)):
        came_from: dict[DeviceRecord, int] = {}
        queue, free = [unit], None
        held: dict[int, DeviceRecord] = {unit_: device for device, unit_ in owner.items()}
        while queue and free is None:
            current = queue.pop()
            for device in edges[units[current]]:
                if device in came_from:
                    continue
                came_from[device] = current
                if device not in owner:
                    free = device
                    break
                queue.append(owner[device])
        if free is None:
            return False
        device = free
        while True:
            current = came_from[device]
            previous = held.get(current)
            owner[device] = current
            if previous is None:
                break
            device = previous
    return True
