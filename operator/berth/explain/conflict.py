# SPDX-License-Identifier: Apache-2.0
"""The conflict tree: why a pod with its claims fits nowhere, as data.

Claim, request, node group, device group, reason: in this order from the root. A group holds what
has the same reason in the same measure, so that a cluster of a thousand equal nodes has a tree of
a few lines. Decides nothing; it is built in ``berth.explain.merge`` and put in words in
``berth.explain.report``.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.engine.rejections import LimitReached, NodeProblem, Rejection
from berth.explain.facts import Fact
from berth.explain.hints import Hint
from berth.model.claims import ALL, ClaimKey, RequestRef
from berth.model.devices import DeviceID
from berth.model.placement import NodeReason


@dataclass(frozen=True, slots=True)
class FalsePart:
    """A part of a selector that is false, and what it read of the devices.

    ``span`` is in characters of the expression, ``text`` that part of it. ``values`` has each
    expression that was read with the different values that the devices have, as CEL writes them.
    """

    span: tuple[int, int]
    text: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class FailedPart:
    """Where a selector fails on devices, and the condition that, put before it, is a cure."""

    span: tuple[int, int] | None
    guard: str = ""


@dataclass(frozen=True, slots=True)
class Holder:
    """A claim that holds devices, as ``namespace/name``, and the pods that use it."""

    claim: str
    pods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """Devices that were refused for one reason.

    ``rejection`` stands for all of them: where the reason has data of the single device, the
    holders of ``InUse`` are those of all devices, and ``ConstraintRefused`` is that of the first.
    ``devices`` has no duplicates and keeps the order in which the search visits them. The last
    three are known where somebody has looked for them, see ``berth.explain.details``.
    """

    rejection: Rejection
    devices: tuple[DeviceID, ...]
    false: tuple[FalsePart, ...] = ()
    failed: FailedPart | None = None
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """Nodes on which a request fails alike.

    ``wanted``, ``candidates``, ``matching`` and ``eligible`` hold for each of the nodes:
    ``matching`` is how many devices pass the selectors, whatever else is wrong with them.
    ``devices`` has the refused devices of all of the nodes, largest group first. ``limit`` is
    ``None`` unless the request would exceed the number of devices that a claim can have.
    """

    nodes: tuple[str, ...]
    wanted: int
    candidates: int
    matching: int
    eligible: int
    devices: tuple[DeviceGroup, ...] = ()
    limit: LimitReached | None = None

    @property
    def refused(self) -> int:
        """How many devices were refused on all nodes of the group together."""
        return sum(len(group.devices) for group in self.devices)


@dataclass(frozen=True, slots=True)
class RequestConflict:
    """One request, or one alternative of it, that cannot get its devices on the nodes named.

    ``mode`` is the API's allocation mode. ``groups`` is not empty; the group with most nodes
    comes first. ``alternatives`` is how many alternatives the request has, 1 for ``exactly``.
    """

    claim: ClaimKey
    request: RequestRef
    device_class: str
    mode: str
    groups: tuple[NodeGroup, ...]
    alternatives: int = 1

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes on which the request cannot get its devices."""
        return frozenset(name for group in self.groups for name in group.nodes)

    @property
    def asks_for_all(self) -> bool:
        """Tell whether the request wants every matching device."""
        return self.mode == ALL


@dataclass(frozen=True, slots=True)
class Rivalry:
    """A request for All matching devices, and another one that needs some of the same.

    No number of equal nodes can cure this: whoever comes first leaves nothing for the other.
    ``all_devices`` is how many devices All means on a node, or ``None`` where nodes differ;
    ``more`` is how many the other request needs beside them.
    """

    all_claim: ClaimKey
    all_request: RequestRef
    all_devices: int | None
    claim: ClaimKey
    request: RequestRef
    more: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProblemGroup:
    """A pool that cannot be used, and the nodes that see it.

    ``published`` are its slices of the newest generation, ``stale`` those of older ones, by name,
    where somebody has looked for them.
    """

    problem: NodeProblem
    nodes: tuple[str, ...]
    published: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeReasonGroup:
    """Nodes that are not for the pod for one reason; of a shortage the nearest miss."""

    reason: NodeReason
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a pod fits nowhere.

    Args:
        pod: ``namespace/name``.
        claims: The unallocated claims of the attempt.
        nodes: How many nodes the cluster has.
        refused_nodes: How many of them are not for the pod; ``refused`` says why.
        examined: The nodes whose devices were looked at again to explain the failure.
        unexamined: How many more nodes do not fit either, and were left out for brevity.
        undecided: The nodes on which the search gave up, after ``budget`` steps each.
        requests: What cannot get its devices, in order of claims and requests.
        together: Nodes on which each request alone has enough devices, but not all together,
            and where no single request can be blamed.
        rivalries: Requests for All devices that exclude another request, if any.
        problems: Pools that cannot be used; ``pools_to_blame`` tells whether a node failed
            because of them, by the engine's word.
        drivers: The drivers that publish devices, sorted.
        facts: What suffices for the "no" on nodes that stand for all; empty where nobody has
            looked for it.
        also: Those of ``facts`` that nothing else in the conflict names.
        hints: Changes with which the pod fits, the smallest first; each was tried.
    """

    pod: str
    claims: tuple[ClaimKey, ...]
    nodes: int
    refused_nodes: int = 0
    refused: tuple[NodeReasonGroup, ...] = ()
    examined: tuple[str, ...] = ()
    unexamined: int = 0
    undecided: tuple[str, ...] = ()
    budget: int = 0
    requests: tuple[RequestConflict, ...] = ()
    together: tuple[str, ...] = ()
    rivalries: tuple[Rivalry, ...] = ()
    problems: tuple[ProblemGroup, ...] = ()
    pools_to_blame: bool = False
    drivers: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    also: tuple[Fact, ...] = ()
    hints: tuple[Hint, ...] = ()
