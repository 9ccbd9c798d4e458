# SPDX-License-Identifier: Apache-2.0
"""One sentence for every reason: of a device, of a pool, of a node.

Decides the wording and nothing else. The sets of reasons are closed
(``berth.engine.rejections``, ``berth.model.placement``), and every function here ends in
``assert_never``, so that a reason without a sentence does not pass the type check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from berth.engine.rejections import (
    AttributeMissing,
    CapacityMissing,
    CapacityPolicy,
    CapacityShort,
    CompatibilityRefused,
    ConstraintRefused,
    CounterShort,
    FeatureOff,
    InUse,
    LimitReached,
    PoolIncomplete,
    PoolInvalid,
    SelectorFailed,
    SelectorFalse,
    Tainted,
    TakenInThisAttempt,
)
from berth.explain.conflict import (
    DeviceGroup,
    FailedPart,
    Holder,
    NodeReasonGroup,
    ProblemGroup,
)
from berth.explain.selector_words import false_sentence
from berth.explain.supply import supply_reason
from berth.explain.words import amount, expression_text, name_list, plural, verb
from berth.model.placement import (
    ClaimElsewhere,
    DeviceResourceShort,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    PodLevelShort,
    ResourceShort,
)

MAX_HOLDERS = 3
"""So many of the claims that hold devices are named."""


def device_sentence(group: DeviceGroup) -> str:
    """Say why the devices of a group were refused: ``4 devices are in use (claim ml/eval)``."""
    count = len(group.devices)
    return f"{plural(count, 'device')} {_device_reason(group, count)}"


def _device_reason(group: DeviceGroup, count: int) -> str:
    rejection = group.rejection
    match rejection:
        case SelectorFalse(owner, index, expression):
            return (
                f"{verb(count, 'does', 'do')} not match selector #{index} of {_of(owner)}: "
                f"{false_sentence(group.false) or f'`{expression_text(expression)}`'}"
            )
        case SelectorFailed(owner, index, expression, detail):
            cure = group.failed.guard if group.failed is not None else ""
            guarded = f", put `{expression_text(cure)} &&` before it" if cure else ""
            return (
                f"{verb(count, 'makes', 'make')} selector #{index} of {_of(owner)} fail: {detail}: "
                f"`{_failing_text(expression, group.failed)}`{guarded}"
            )
        case InUse(holders):
            return f"{verb(count, 'is', 'are')} in use{_by_claims(holders, group.holders)}"
        case TakenInThisAttempt(claim, request):
            return (
                f"{verb(count, 'is', 'are')} needed for claim {claim}, request {request} "
                "of the same pod"
            )
        case Tainted(taint):
            rule = f" (DeviceTaintRule {taint.rule})" if taint.rule else ""
            return f"{verb(count, 'has', 'have')} taint {taint}{rule}, which is not tolerated"
        case AttributeMissing(constraint, attribute):
            return (
                f"{verb(count, 'does', 'do')} not publish attribute {attribute}, "
                f"which a {constraint} constraint needs"
            )
        case ConstraintRefused():
            return _constraint_reason(rejection, count)
        case FeatureOff(feature):
            return f"{verb(count, 'needs', 'need')} feature {feature}, which is off"
        case (
            CounterShort()
            | CompatibilityRefused()
            | CapacityMissing()
            | CapacityPolicy()
            | CapacityShort()
        ):
            return supply_reason(rejection, count)
    assert_never(rejection)


def _constraint_reason(rejection: ConstraintRefused, count: int) -> str:
    relation = (
        f"{verb(count, 'repeats', 'repeat')} attribute"
        if rejection.constraint == "distinctAttribute"
        else f"{verb(count, 'differs', 'differ')} in attribute"
    )
    return (
        f"{relation} {rejection.attribute}, against a {rejection.constraint} constraint: "
        f"`{rejection.value}` beside `{rejection.other_value}` of {rejection.against.device}"
    )


def _of(owner: str) -> str:
    return "the request" if owner == "request" else owner


def _failing_text(expression: str, failed: FailedPart | None) -> str:
    """Return the part of an expression that fails, or all of it where that is not known."""
    if failed is None or failed.span is None:
        return expression_text(expression)
    start, end = failed.span
    return expression_text(expression[start:end] or expression)


def _by_claims(holders: Sequence[str], users: Sequence[Holder]) -> str:
    if not holders:
        return ""
    if not any(user.pods for user in users):
        noun = "claim" if len(holders) == 1 else "claims"
        return f" ({noun} {name_list(holders, MAX_HOLDERS)})"
    named = [_user(user) for user in users[:MAX_HOLDERS]]
    left_out = len(users) - len(named)
    more = f" and {left_out} more" if left_out else ""
    return f" ({', '.join(named)}{more})"


def _user(holder: Holder) -> str:
    if not holder.pods:
        return f"claim {holder.claim}"
    noun = "pod" if len(holder.pods) == 1 else "pods"
    return f"claim {holder.claim} of {noun} {name_list(holder.pods, MAX_HOLDERS)}"


def limit_sentence(limit: LimitReached) -> str:
    """Say that a claim would have too many devices."""
    return f"the claim would need more than {limit.limit} devices, which is the limit of one claim"


def problem_sentence(group: ProblemGroup) -> str:
    """Say why a pool is of no use, and on how many nodes that is felt."""
    return f"{_problem(group)} ({_seen_on(group.nodes)})"


def _problem(group: ProblemGroup) -> str:
    problem = group.problem
    match problem:
        case PoolIncomplete(pool, generation, seen, want):
            published = f"{verb(seen, 'is', 'are')} published"
            slices = (
                f"{seen} of {want} slices of generation {generation} {published}"
                if seen < want
                else f"{plural(seen, 'slice')} of generation {generation} {published}, not {want}"
            )
            return f"pool {pool} is incomplete, its devices do not count: {slices}{_named(group)}"
        case PoolInvalid(pool, detail):
            return f"pool {pool} is invalid, its devices do not count: {detail}"
    assert_never(problem)


def _named(group: ProblemGroup) -> str:
    """Name the slices that are there, and those that the driver has still to replace."""
    there = f": {name_list(group.published)}" if group.published else ""
    if not group.stale:
        return there
    of = verb(len(group.stale), "is of an older generation", "are of older generations")
    return f"{there}, while {name_list(group.stale)} {of}"


def _seen_on(nodes: Sequence[str]) -> str:
    return f"node {nodes[0]}" if len(nodes) == 1 else plural(len(nodes), "node")


def node_sentence(group: NodeReasonGroup) -> str:
    """Say why the nodes of a group are not for the pod: ``2 nodes are not ready``."""
    count = len(group.nodes)
    return f"{plural(count, 'node')} {_node_reason(group.reason, count)}"


def _node_reason(reason: NodeReason, count: int) -> str:
    match reason:
        case NodeNotReady():
            return f"{verb(count, 'is', 'are')} not ready"
        case NodeUnschedulable():
            return f"{verb(count, 'is', 'are')} unschedulable (cordoned)"
        case NodeTaintNotTolerated(taint):
            value = f"={taint.value}" if taint.value else ""
            return (
                f"{verb(count, 'has', 'have')} taint {taint.key}{value}:{taint.effect}, "
                "which the pod does not tolerate"
            )
        case NodeSelectorMismatch(key, value):
            return (
                f"{verb(count, 'lacks', 'lack')} label {key}={value}, "
                "which the pod's nodeSelector wants"
            )
        case NodeAffinityMismatch():
            return f"{verb(count, 'does', 'do')} not match the pod's required node affinity"
        case ResourceShort(resource, want, free):
            return _short(resource, want, free, count)
        case DeviceResourceShort():
            return _short_of_devices(reason, count)
        case PodLevelShort(resource, devices, left):
            taken, rest = amount(resource, devices), amount(resource, max(left, 0))
            return (
                f"{verb(count, 'has', 'have')} devices that take {taken} of {resource}, "
                f"for which the pod-level request leaves {rest}"
            )
        case HostPortTaken(port):
            address = "" if port.ip in {"", "0.0.0.0"} else f" on {port.ip}"  # noqa: S104 - wildcard
            return (
                f"{verb(count, 'has', 'have')} host port {port.protocol} {port.port}{address} "
                "taken by another pod"
            )
        case ClaimElsewhere(claim):
            return f"cannot reach the devices that claim {claim} is allocated"
    assert_never(reason)


def _short(resource: str, want: int, free: int, count: int) -> str:
    if resource == "pods":
        return f"{verb(count, 'has', 'have')} no room for one more pod"
    left = amount(resource, max(free, 0))
    most = f"{left} is free" if count == 1 else f"at most {left} is free"
    return (
        f"{verb(count, 'is', 'are')} short of {resource}: "
        f"the pod wants {amount(resource, want)}, {most}"
    )


def _short_of_devices(reason: DeviceResourceShort, count: int) -> str:
    resource = reason.resource
    nearest = "" if count == 1 else "on the nearest "
    return (
        f"{verb(count, 'is', 'are')} short of {resource} with the devices chosen there: {nearest}"
        f"the pod wants {amount(resource, reason.want)}, {amount(resource, reason.devices)} of it "
        f"for devices, {amount(resource, max(reason.free, 0))} is free"
    )
