# SPDX-License-Identifier: Apache-2.0
"""The answer to "which node takes this pod", and the closed set of reasons for refusing a node.

Decides nothing: ``berth.placement`` fills these values, ``berth.explain`` makes words of them. A
reason speaks of the node alone, or of what the devices chosen there take of it; what is wrong with
its devices is in ``berth.engine.rejections``.

Source: kube-scheduler's filters NodeUnschedulable, TaintToleration, NodeAffinity,
NodeResourcesFit, NodePorts and DynamicResources; KEP-5517 for resources that devices take.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.model.claims import ClaimKey
from berth.model.nodes import NodeTaint
from berth.model.pods import HostPort
from berth.model.results import AllocationResult


@dataclass(frozen=True, slots=True)
class NodeNotReady:
    """The node's condition Ready is not true."""


@dataclass(frozen=True, slots=True)
class NodeUnschedulable:
    """The node is cordoned (``spec.unschedulable``), and the pod does not tolerate that."""


@dataclass(frozen=True, slots=True)
class NodeTaintNotTolerated:
    """A NoSchedule or NoExecute taint that no toleration of the pod covers."""

    taint: NodeTaint


@dataclass(frozen=True, slots=True)
class NodeSelectorMismatch:
    """An entry of the pod's ``nodeSelector`` that is not a label of the node."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class NodeAffinityMismatch:
    """The pod's required node affinity does not match the node."""


@dataclass(frozen=True, slots=True)
class ResourceShort:
    """The pod asks for more of a resource than the node has left.

    ``want`` and ``free`` are whole units, ``cpu`` in milli-units; ``free`` may be negative where
    the node is over-committed. For ``pods``, ``want`` is 1.
    """

    resource: str
    want: int
    free: int


@dataclass(frozen=True, slots=True)
class DeviceResourceShort:
    """With the devices chosen there, the pod takes more of a resource than the node has left.

    Units as in ``ResourceShort``; ``devices`` is the part of ``want`` that is for devices.
    """

    resource: str
    want: int
    free: int
    devices: int


@dataclass(frozen=True, slots=True)
class PodLevelShort:
    """The devices chosen on the node take more of a resource than the pod-level request leaves.

    Units as in ``ResourceShort``; ``left`` is negative where the containers alone ask for more.
    """

    resource: str
    devices: int
    left: int


@dataclass(frozen=True, slots=True)
class HostPortTaken:
    """A host port of the pod that another pod of the node occupies."""

    port: HostPort


@dataclass(frozen=True, slots=True)
class ClaimElsewhere:
    """A claim of the pod is allocated already, to devices that this node cannot reach."""

    claim: ClaimKey


NodeReason = (
    NodeNotReady
    | NodeUnschedulable
    | NodeTaintNotTolerated
    | NodeSelectorMismatch
    | NodeAffinityMismatch
    | ResourceShort
    | DeviceResourceShort
    | PodLevelShort
    | HostPortTaken
    | ClaimElsewhere
)
"""Why a node is not for the pod, whatever its devices, or with those that were chosen."""


@dataclass(frozen=True, slots=True)
class NodeRefusal:
    """A node that is not for the pod; ``reasons`` has all of them, at least one."""

    node: str
    reasons: tuple[NodeReason, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """The pod fits on ``node``.

    ``results`` has one entry per unallocated claim, in their order. ``steps`` is the sum over all
    nodes that were searched. ``pin`` tells whether the pod may be bound to ``node`` by a node
    selector of its own: it is false where the pod uses scheduling features that Berth does not
    model, so that kube-scheduler keeps its choice among the nodes that the claims allow.
    """

    node: str
    results: tuple[AllocationResult, ...]
    steps: int
    pin: bool


@dataclass(frozen=True, slots=True)
class Unplaceable:
    """No node takes the pod; each node is named exactly once in the first three fields.

    ``refused`` are nodes that are not for the pod, ``no_fit`` those whose devices do not fit, and
    ``undecided`` those on which the search gave up. ``problems`` is the part of ``no_fit`` where
    the engine reports an incomplete or invalid pool. Each is in order of node name; all are empty
    where the cluster has no nodes.
    """

    refused: tuple[NodeRefusal, ...] = ()
    no_fit: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


Placement = Placed | Unplaceable
