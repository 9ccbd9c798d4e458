# SPDX-License-Identifier: Apache-2.0
"""The closed set of reasons for which a candidate, a request or a node is refused.

Each reason is a value with its data; words are made of it in ``berth.explain``. Adding one means:
a class here, a sentence in ``berth.explain.sentences``, a line in
``docs/reference/rejection-reasons.md`` and a test; an architecture test checks all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.model.claims import RequestRef
from berth.model.devices import DeviceID, DeviceTaint, PoolID
from berth.quantity import Quantity


@dataclass(frozen=True, slots=True)
class SelectorFalse:
    """A selector of the class or the request is false for the device.

    ``owner`` is ``class NAME`` or ``request``; ``index`` counts from zero in its list.
    """

    owner: str
    index: int
    expression: str


@dataclass(frozen=True, slots=True)
class SelectorFailed:
    """A selector of the class or the request fails on the device; ``detail`` says how.

    Met in explanations only: where a search reaches such a device, the attempt ends.
    """

    owner: str
    index: int
    expression: str
    detail: str


@dataclass(frozen=True, slots=True)
class InUse:
    """The device is allocated to other claims, ``holders`` as ``namespace/name``, sorted."""

    holders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TakenInThisAttempt:
    """Another request of the same pod took the device; ``claim`` and ``request`` name it."""

    claim: str
    request: str


@dataclass(frozen=True, slots=True)
class Tainted:
    """A taint that no toleration of the request covers."""

    taint: DeviceTaint


@dataclass(frozen=True, slots=True)
class AttributeMissing:
    """A constraint needs an attribute that the device does not publish."""

    constraint: str
    attribute: str


@dataclass(frozen=True, slots=True)
class ConstraintRefused:
    """A constraint does not hold between the device and one that was chosen before.

    ``constraint`` is ``matchAttribute`` or ``distinctAttribute``; ``value`` is the device's own
    value, ``other_value`` that of ``against``.
    """

    constraint: str
    attribute: str
    value: str
    against: DeviceID
    other_value: str


@dataclass(frozen=True, slots=True)
class FeatureOff:
    """The device needs a feature that is switched off; ``feature`` is the gate's name."""

    feature: str


@dataclass(frozen=True, slots=True)
class CounterShort:
    """A counter of the device's pool has too little left (KEP-4815).

    ``free`` is what is left beside the devices in use and those that the attempt has taken; it
    may be negative where a pool is over-committed.
    """

    counter_set: str
    counter: str
    want: Quantity
    free: Quantity


@dataclass(frozen=True, slots=True)
class CompatibilityRefused:
    """The device has no compatibility group in common with others of its counter set (KEP-5963).

    ``groups`` are its own, ``others`` those which all of the others share; both sorted.
    """

    counter_set: str
    groups: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CapacityMissing:
    """The request asks for a capacity that the device does not publish."""

    name: str


@dataclass(frozen=True, slots=True)
class CapacityPolicy:
    """The device's request policy does not allow the amount; ``allowed`` says what it does."""

    name: str
    want: Quantity
    allowed: str


@dataclass(frozen=True, slots=True)
class CapacityShort:
    """A capacity of the device has too little left beside the shares that are out (KEP-5075)."""

    name: str
    want: Quantity
    free: Quantity


Rejection = (
    SelectorFalse
    | SelectorFailed
    | InUse
    | TakenInThisAttempt
    | Tainted
    | AttributeMissing
    | ConstraintRefused
    | FeatureOff
    | CounterShort
    | CompatibilityRefused
    | CapacityMissing
    | CapacityPolicy
    | CapacityShort
)
"""Why one device was refused for one request."""


@dataclass(frozen=True, slots=True)
class PoolIncomplete:
    """A pool of which slices are missing, or too many are published; its devices do not count."""

    pool: PoolID
    generation: int
    seen: int
    want: int


@dataclass(frozen=True, slots=True)
class PoolInvalid:
    """A pool that contradicts itself; its devices do not count."""

    pool: PoolID
    detail: str


@dataclass(frozen=True, slots=True)
class LimitReached:
    """More than 32 devices would be needed in one claim."""

    limit: int


NodeProblem = PoolIncomplete | PoolInvalid
"""What is wrong with a pool that the node sees."""


@dataclass(frozen=True, slots=True)
class RejectedDevice:
    """One device refused for one request of one claim: the first reason that was found.

    ``claim`` is the index of the claim in the call.
    """

    claim: int
    request: RequestRef
    device: DeviceID
    rejection: Rejection


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """What one request, or one alternative, needs and how many devices the node shows it.

    ``wanted`` is the count, for mode All the number of matching devices. ``candidates`` counts
    every device of a usable pool that the node sees, ``eligible`` those which no rejection names.
    """

    claim: int
    request: RequestRef
    device_class: str
    mode: str
    wanted: int
    candidates: int
    eligible: int
    limit: LimitReached | None = None


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """Why the claims of one pod do not fit on one node.

    Order is stable: by claim, request, then the order in which the search visits devices.
    """

    node: str
    requests: tuple[RequestSummary, ...]
    rejected: tuple[RejectedDevice, ...]
    problems: tuple[NodeProblem, ...] = ()
