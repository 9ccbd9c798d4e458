# SPDX-License-Identifier: Apache-2.0
"""From the explanations of single nodes to one conflict: equal branches become one.

Decides which request fails on a node and which nodes fail alike. Never searches: what is refused,
and why, is in the ``NodeExplanation`` values that it is given.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.engine.rejections import (
    AttributeMissing,
    CapacityShort,
    ConstraintRefused,
    CounterShort,
    InUse,
    NodeExplanation,
    NodeProblem,
    RejectedDevice,
    Rejection,
    RequestSummary,
    SelectorFailed,
    SelectorFalse,
    TakenInThisAttempt,
)
from berth.explain.conflict import (
    DeviceGroup,
    FalsePart,
    Holder,
    NodeGroup,
    NodeReasonGroup,
    ProblemGroup,
    RequestConflict,
)
from berth.model.claims import ALL, RequestRef, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.placement import DeviceResourceShort, NodeReason, NodeRefusal, ResourceShort

Place = tuple[int, RequestRef]
"""A request of the attempt: the index of its claim, and its name."""


MET = TakenInThisAttempt | ConstraintRefused | AttributeMissing
"""Rejections that depend on what was taken before; such devices are eligible all the same."""
SHORT = ResourceShort | DeviceResourceShort
"""Reasons that nodes have in different measure."""
UNMATCHED = SelectorFalse | SelectorFailed
"""Rejections of devices that are none of those that the request describes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What fails on one node.

    ``summaries`` are the requests to blame. Where ``is_joint`` is true each request alone has
    enough devices and only their combination fails; then ``summaries`` are those that the search
    could not satisfy beside what it had taken, if it got so far. ``requests`` are all requests of
    the attempt, none where an unusable pool kept the search from beginning.
    """

    node: str
    requests: tuple[RequestSummary, ...]
    summaries: tuple[RequestSummary, ...]
    rejected: Mapping[Place, tuple[RejectedDevice, ...]]
    is_joint: bool


def is_short(summary: RequestSummary) -> bool:
    """Tell whether a request, or one alternative of it, cannot get its devices on the node."""
    if summary.limit is not None:
        return True
    if summary.mode == ALL and summary.wanted == 0:
        return True
    return summary.eligible < summary.wanted


def is_met(refused: RejectedDevice) -> bool:
    """Tell whether the device was refused only because of what the attempt itself had taken."""
    return isinstance(refused.rejection, MET)


def failure_of(explanation: NodeExplanation) -> Failure:
    """Return which requests fail on the node; a request fails if all its alternatives do."""
    by_request: dict[tuple[int, str], list[RequestSummary]] = {}
    for summary in explanation.requests:
        by_request.setdefault((summary.claim, summary.request.request), []).append(summary)
    rejected: dict[Place, list[RejectedDevice]] = {}
    for each in explanation.rejected:
        rejected.setdefault((each.claim, each.request), []).append(each)
    short = tuple(
        summary
        for alternatives in by_request.values()
        if all(is_short(alternative) for alternative in alternatives)
        for summary in alternatives
    )
    met = tuple(
        summary
        for summary in explanation.requests
        if any(is_met(each) for each in rejected.get((summary.claim, summary.request), ()))
    )
    return Failure(
        node=explanation.node,
        requests=explanation.requests,
        summaries=short or met,
        rejected={place: tuple(devices) for place, devices in rejected.items()},
        is_joint=bool(explanation.requests) and not short,
    )


def merge_requests(
    failures: Sequence[Failure], claims: Sequence[ResourceClaim]
) -> tuple[RequestConflict, ...]:
    """Return the failing requests of all nodes, in order of claims and requests."""
    by_place: dict[Place, list[tuple[RequestSummary, Failure]]] = {}
    for failure in failures:
        for summary in failure.summaries:
            by_place.setdefault((summary.claim, summary.request), []).append((summary, failure))
    order = {place: number for number, place in enumerate(_places(claims))}
    found: list[RequestConflict] = []
    for place in sorted(by_place, key=lambda place: order[place]):
        pairs = by_place[place]
        claim, summary = claims[place[0]], pairs[0][0]
        request = next(r for r in claim.spec.requests if r.name == place[1].request)
        found.append(
            RequestConflict(
                claim=claim.key,
                request=place[1],
                device_class=summary.device_class,
                mode=summary.mode,
                groups=_node_groups(place, pairs),
                alternatives=len(request.alternatives),
            )
        )
    return tuple(found)


def _places(claims: Sequence[ResourceClaim]) -> Iterable[Place]:
    for index, claim in enumerate(claims):
        for request in claim.spec.requests:
            for body in request.alternatives:
                yield index, RequestRef(request.name, body.name)


def _node_groups(
    place: Place, pairs: Sequence[tuple[RequestSummary, Failure]]
) -> tuple[NodeGroup, ...]:
    groups: dict[
        Hashable, tuple[list[str], RequestSummary, int, dict[Hashable, list[RejectedDevice]]]
    ]
    groups = {}
    for summary, failure in pairs:
        by_reason: dict[Hashable, list[RejectedDevice]] = {}
        refused = failure.rejected.get(place, ())
        matching = summary.candidates - sum(isinstance(r.rejection, UNMATCHED) for r in refused)
        for each in refused:
            by_reason.setdefault(reason_key(each.rejection), []).append(each)
        signature = (
            summary.wanted,
            summary.candidates,
            summary.eligible,
            summary.limit,
            frozenset((key, len(devices)) for key, devices in by_reason.items()),
        )
        nodes, _, _, merged = groups.setdefault(signature, ([], summary, matching, {}))
        nodes.append(failure.node)
        for key, devices in by_reason.items():
            merged.setdefault(key, []).extend(devices)
    result = [
        NodeGroup(
            nodes=tuple(nodes),
            wanted=summary.wanted,
            candidates=summary.candidates,
            matching=matching,
            eligible=summary.eligible,
            devices=largest_first(
                device_group([(r.device, r.rejection) for r in rejected])
                for rejected in merged.values()
            ),
            limit=summary.limit,
        )
        for nodes, summary, matching, merged in groups.values()
    ]
    # Stable: groups of equal size stay in the order of their first node.
    return tuple(sorted(result, key=lambda group: -len(group.nodes)))


def reason_key(rejection: Rejection) -> Hashable:
    """Return what two rejections must have in common to be told as one."""
    match rejection:
        case InUse():
            return "InUse"
        case ConstraintRefused(constraint, attribute):
            return ("ConstraintRefused", constraint, attribute)
        case CounterShort(counter_set, counter, want):
            return ("CounterShort", counter_set, counter, want)
        case CapacityShort(name, want):
            return ("CapacityShort", name, want)
    return rejection


def device_group(refused: Sequence[tuple[DeviceID, Rejection]]) -> DeviceGroup:
    """Return one group for devices whose rejections have the same key; not empty."""
    first = refused[0][1]
    if isinstance(first, InUse):
        holders = {h for _, each in refused if isinstance(each, InUse) for h in each.holders}
        first = replace(first, holders=tuple(sorted(holders)))
    elif isinstance(first, CounterShort | CapacityShort):
        left = [r.free for _, r in refused if isinstance(r, CounterShort | CapacityShort)]
        first = replace(first, free=max(left))
    return DeviceGroup(first, tuple(dict.fromkeys(device for device, _ in refused)))


def largest_first(groups: Iterable[DeviceGroup]) -> tuple[DeviceGroup, ...]:
    """Return groups with the most frequent reason first; equal ones in the order of the search."""
    return tuple(sorted(groups, key=lambda group: -len(group.devices)))


def regroup(groups: Iterable[DeviceGroup]) -> tuple[DeviceGroup, ...]:
    """Merge device groups with the same reason into one, as those of several node groups."""
    by_reason: dict[Hashable, list[DeviceGroup]] = {}
    for group in groups:
        parts = tuple((part.span, part.text) for part in group.false)
        key = reason_key(group.rejection), parts, group.failed
        by_reason.setdefault(key, []).append(group)
    return largest_first(_merged(alike) for alike in by_reason.values())


def _merged(groups: Sequence[DeviceGroup]) -> DeviceGroup:
    merged = device_group([(device, g.rejection) for g in groups for device in g.devices])
    holders: dict[str, set[str]] = {}
    for holder in (holder for group in groups for holder in group.holders):
        holders.setdefault(holder.claim, set()).update(holder.pods)
    return replace(
        merged,
        false=tuple(_merged_part(parts) for parts in zip(*(g.false for g in groups), strict=True)),
        failed=groups[0].failed,
        holders=tuple(
            Holder(claim, tuple(sorted(pods))) for claim, pods in sorted(holders.items())
        ),
    )


def _merged_part(parts: Sequence[FalsePart]) -> FalsePart:
    values: dict[str, dict[str, None]] = {}
    for part in parts:
        for name, different in part.values:
            values.setdefault(name, {}).update(dict.fromkeys(different))
    return replace(parts[0], values=tuple((name, tuple(each)) for name, each in values.items()))


def merge_problems(explanations: Sequence[NodeExplanation]) -> tuple[ProblemGroup, ...]:
    """Return every pool problem once, with the nodes that see it, in order of appearance."""
    nodes_by_problem: dict[NodeProblem, list[str]] = {}
    for explanation in explanations:
        for problem in dict.fromkeys(explanation.problems):
            nodes_by_problem.setdefault(problem, []).append(explanation.node)
    return tuple(ProblemGroup(each, tuple(nodes)) for each, nodes in nodes_by_problem.items())


def merge_refusals(refused: Sequence[NodeRefusal]) -> tuple[NodeReasonGroup, ...]:
    """Return every node reason once, most frequent first.

    Nodes that are short of a resource form one group, whose reason is the nearest miss.
    """
    groups: dict[Hashable, tuple[NodeReason, list[str]]] = {}
    for refusal in refused:
        for reason in refusal.reasons:
            key: Hashable = reason
            if isinstance(reason, SHORT):
                key = (type(reason), reason.resource)
            best, nodes = groups.setdefault(key, (reason, []))
            nodes.append(refusal.node)
            if isinstance(reason, SHORT) and isinstance(best, SHORT):
                nearest = min(best, reason, key=lambda short: short.want - short.free)
                groups[key] = (nearest, nodes)
    merged = (NodeReasonGroup(reason, tuple(nodes)) for reason, nodes in groups.values())
    return tuple(sorted(merged, key=lambda group: -len(group.nodes)))
