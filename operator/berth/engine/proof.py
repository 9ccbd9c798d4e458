# SPDX-License-Identifier: Apache-2.0
"""Counting arguments that no choice of devices can satisfy a plan.

Decides "impossible", or says nothing. Sound: devices, constraints and limits are only ever
relaxed. Says nothing where upstream might meet an error on its way, which must not be hidden.

Source: none; upstream tries all combinations instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from berth.engine.candidates import Candidates
from berth.engine.constraints import Constraint
from berth.engine.eligibility import Eligibility
from berth.engine.plan import Plan, PlannedBody
from berth.engine.records import DeviceRecord

Filter = Callable[[PlannedBody, DeviceRecord], bool]


def is_proven_impossible(
    plan: Plan,
    candidates: Mapping[PlannedBody, Candidates],
    constraints: Sequence[Sequence[Constraint]],
    eligibility: Eligibility,
) -> bool:
    """Tell whether the requests cannot all be satisfied, by counting.

    Each device can serve one request only, unless it can be shared. Requests for admin access
    need no device to themselves. For each matchAttribute some value must do for all devices, and
    each counter must last for those devices which consume least of it.
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
    counting = _Counting(plan, pools, eligibility)
    if not counting.is_feasible(lambda body, record: True):  # noqa: ARG005 - no filter
        return True
    for index, claim in enumerate(plan):
        for number, constraint in enumerate(constraints[index]):
            under = [
                body
                for request in claim.requests
                for body in request.bodies
                if number in body.constraints
            ]
            if constraint.is_match and under and not _has_value(counting, constraint, under):
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


def _has_value(counting: _Counting, constraint: Constraint, under: Sequence[PlannedBody]) -> bool:
    """Tell whether some value of the attribute leaves every request enough devices."""
    by_value: dict[tuple[str, object], set[DeviceRecord]] = {}
    for body in under:
        for record in counting.pools[body]:
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

        if counting.is_feasible(fits):
            return True
    return False


class _Counting:
    """Counts the devices of requests; ``pools`` are those that each request may have."""

    def __init__(
        self,
        plan: Plan,
        pools: Mapping[PlannedBody, Sequence[DeviceRecord]],
        eligibility: Eligibility,
    ) -> None:
        self.pools = pools
        self._plan = plan
        self._eligibility = eligibility
        self._has_counters = any(
            record.device.consumes_counters for pool in pools.values() for record in pool
        )

    def is_feasible(self, fits: Filter) -> bool:
        """Tell whether each request can be given enough devices, no device to two requests."""
        edges: list[Sequence[DeviceRecord]] = []
        units: list[int] = []
        for claim in self._plan:
            for request in claim.requests:
                enough = [
                    (body, found)
                    for body in request.bodies
                    for found in [[each for each in self.pools[body] if fits(body, each)]]
                    if self._are_enough(body, found)
                ]
                if not enough:
                    return False
                if any(body.admin for body, _ in enough):
                    continue
                least = min(body.wanted for body, _ in enough)
                # Where alternatives have devices in common, one may stand for either.
                devices = list(dict.fromkeys(record for _, found in enough for record in found))
                if any(self._eligibility.capacity.is_shared(each) for each in devices):
                    continue
                units.extend([len(edges)] * least)
                edges.append(devices)
        together = dict.fromkeys(record for devices in edges for record in devices)
        return self._most(together) >= len(units) and _can_match(units, edges)

    def _are_enough(self, body: PlannedBody, found: Sequence[DeviceRecord]) -> bool:
        if len(found) < body.wanted or (body.is_all and body.wanted == 0):
            return False
        # Shares of a device that is shared already are charged no more.
        is_charged = not any(self._eligibility.has_paid(record) for record in found)
        return not is_charged or self._most(found) >= body.wanted

    def _most(self, devices: Collection[DeviceRecord]) -> int:
        if not self._has_counters:
            return len(devices)
        return self._eligibility.charges.counters.most_together(devices)


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
