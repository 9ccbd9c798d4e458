# SPDX-License-Identifier: Apache-2.0
"""The closed set of hints: single changes with which a pod fits, each with its sentence.

Decides the wording. Which of them are true is found by ``berth.explain.suggest``, which shows none
that it did not try. Adding one means: a class here, its sentence, its place in ``rank``, a line in
``docs/reference/rejection-reasons.md`` and a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from berth.explain.words import amount, expression_text, plural
from berth.model.claims import ClaimKey, RequestRef
from berth.model.devices import DeviceTaint, PoolID
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
from berth.quantity import Quantity


@dataclass(frozen=True, slots=True)
class WaitForPool:
    """The devices that an incomplete pool publishes already would do; ``missing`` slices lack."""

    pool: PoolID
    missing: int


@dataclass(frozen=True, slots=True)
class LowerCount:
    """The largest ``count`` that fits in place of ``instead_of``."""

    claim: ClaimKey
    request: RequestRef
    count: int
    instead_of: int


@dataclass(frozen=True, slots=True)
class UseCount:
    """``ExactCount`` in place of ``All``, with the largest ``count`` that fits.

    ``allocated`` tells that the claim has its devices already and must be deallocated first.
    """

    claim: ClaimKey
    request: RequestRef
    count: int
    allocated: bool = False


@dataclass(frozen=True, slots=True)
class LowerCapacity:
    """The largest ``amount`` of a capacity, among those tried, that fits in place of another."""

    claim: ClaimKey
    request: RequestRef
    capacity: str
    amount: Quantity
    instead_of: Quantity


@dataclass(frozen=True, slots=True)
class Tolerate:
    """A toleration of a device taint in the request."""

    claim: ClaimKey
    request: RequestRef
    taint: DeviceTaint


@dataclass(frozen=True, slots=True)
class DropConstraint:
    """The claim without one constraint; ``number`` counts from zero in its list."""

    claim: ClaimKey
    number: int
    constraint: str
    attribute: str


@dataclass(frozen=True, slots=True)
class DropSelector:
    """The request without one selector of its own; ``index`` counts from zero in its list."""

    claim: ClaimKey
    request: RequestRef
    index: int
    expression: str


@dataclass(frozen=True, slots=True)
class MendNode:
    """``reason`` is all that keeps ``node`` from taking the pod."""

    node: str
    reason: NodeReason


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """The devices that another claim holds."""

    claim: str


@dataclass(frozen=True, slots=True)
class OtherClass:
    """Another DeviceClass of the cluster."""

    claim: ClaimKey
    request: RequestRef
    device_class: str
    instead_of: str


@dataclass(frozen=True, slots=True)
class DropRequest:
    """The claim without one of its requests."""

    claim: ClaimKey
    request: str


@dataclass(frozen=True, slots=True)
class DropClaim:
    """The pod without one of its claims."""

    claim: ClaimKey


Hint = (
    WaitForPool
    | LowerCount
    | UseCount
    | LowerCapacity
    | Tolerate
    | DropConstraint
    | MendNode
    | ReleaseClaim
    | DropSelector
    | OtherClass
    | DropRequest
    | DropClaim
)
"""One change with which the pod fits."""

_ORDER: tuple[type[Hint], ...] = (
    WaitForPool,
    LowerCount,
    UseCount,
    LowerCapacity,
    Tolerate,
    DropConstraint,
    MendNode,
    ReleaseClaim,
    DropSelector,
    OtherClass,
    DropRequest,
    DropClaim,
)


def rank(hint: Hint) -> int:
    """Return the place of a hint: the smallest and most local change first.

    A count below half of what was asked is no small change, and comes after what leaves the
    request as it is.
    """
    if isinstance(hint, LowerCount) and 2 * hint.count < hint.instead_of:
        return _ORDER.index(ReleaseClaim)
    return _ORDER.index(type(hint))


def hint_sentence(hint: Hint) -> str:
    """Return the hint in words: ``it fits with count 6 instead of 8 in claim a/b, request gpu``."""
    return f"it fits {_how(hint)}"


def _how(hint: Hint) -> str:  # noqa: C901 - one case a kind
    match hint:
        case WaitForPool(pool, missing):
            lacks = f"{plural(missing, 'slice')} {'is' if missing == 1 else 'are'} missing"
            return f"once pool {pool} is complete: {lacks}"
        case LowerCount(claim, request, count, instead_of):
            return f"with count {count} instead of {instead_of} in {_place(claim, request)}"
        case UseCount(claim, request, count, allocated):
            first = ", which must be deallocated first" if allocated else ""
            return f"with ExactCount {count} instead of All in {_place(claim, request)}{first}"
        case LowerCapacity(claim, request, name, less, instead_of):
            place = _place(claim, request)
            return f"with {less} instead of {instead_of} of capacity {name} in {place}"
        case Tolerate(claim, request, taint):
            return f"if {_place(claim, request)} tolerates taint {taint}"
        case DropConstraint(claim, number, constraint, attribute):
            return f"without constraint #{number} of claim {claim} ({constraint} {attribute})"
        case MendNode(node, reason):
            return f"on node {node} {_mended(reason)}"
        case ReleaseClaim(holder):
            return f"if claim {holder} were released"
        case DropSelector(claim, request, index, expression):
            text = expression_text(expression)
            return f"without selector #{index} of {_place(claim, request)}: `{text}`"
        case OtherClass(claim, request, device_class, instead_of):
            place = _place(claim, request)
            return f"with class {device_class} instead of {instead_of} in {place}"
        case DropRequest(claim, name):
            return f"without request {name} of claim {claim}"
        case DropClaim(claim):
            return f"without claim {claim}"
    assert_never(hint)


def _place(claim: ClaimKey, request: RequestRef) -> str:
    return f"claim {claim}, request {request}"


def _mended(reason: NodeReason) -> str:
    match reason:
        case NodeNotReady():
            return "once it is ready"
        case NodeUnschedulable():
            return "once it is uncordoned"
        case NodeTaintNotTolerated(taint):
            value = f"={taint.value}" if taint.value else ""
            return f"if the pod tolerates taint {taint.key}{value}:{taint.effect}"
        case NodeSelectorMismatch(key, value):
            return f"if the node had label {key}={value}"
        case NodeAffinityMismatch():
            return "without the pod's required node affinity"
        case ResourceShort(resource, want, free):
            if resource == "pods":
                return "if one pod less were on it"
            return f"if {amount(resource, want - free)} more {resource} were free"
        case DeviceResourceShort(resource, want, free):
            return f"if {amount(resource, want - free)} more {resource} were free for devices"
        case PodLevelShort(resource, devices, left):
            return (
                f"if the pod-level request had {amount(resource, devices - left)} more {resource}"
            )
        case HostPortTaken(port):
            return f"once host port {port.protocol} {port.port} is free"
        case ClaimElsewhere(claim):
            return f"if claim {claim} could be used there"
    assert_never(reason)
