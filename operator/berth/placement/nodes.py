# SPDX-License-Identifier: Apache-2.0
"""Which nodes a pod may go to, whatever their devices.

Decides as kube-scheduler's filters would, and names every reason, not only the first. Never looks
at devices, and never weighs what needs other pods or volumes: pod affinity, topology spread,
volume zones (``Pod.unmodelled`` names those).

Source: kube-scheduler's filters NodeUnschedulable, TaintToleration, NodeAffinity,
NodeResourcesFit, NodePorts, and the node check of DynamicResources. That a node must be Ready is
Berth's own rule; kube-scheduler relies on the taint that node-lifecycle sets some seconds later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from berth.model.claims import ResourceClaim
from berth.model.nodes import Node, NodeSelector, NodeTaint
from berth.model.placement import (
    ClaimElsewhere,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    ResourceShort,
)
from berth.model.pods import HostPort, Pod, PodToleration
from berth.model.usage import NodeState

UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
NOT_READY_TAINTS = frozenset({"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"})
BLOCKING_EFFECTS = frozenset({"NoSchedule", "NoExecute"})
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - the API's wildcard, not an address to listen on
PODS = "pods"


def refusals(
    pod: Pod, state: NodeState, allocated: Sequence[ResourceClaim] = ()
) -> tuple[NodeReason, ...]:
    """Return why ``pod`` may not go to the node; empty where it may.

    Args:
        pod: The pod, which must not be counted in ``state`` already.
        state: The node with what its pods use.
        allocated: The pod's claims that are allocated, which tie it to the nodes that reach them.

    Returns:
        All reasons, in a fixed order: the node's state, its taints in their order, the pod's
        selector by key, its affinity, resources by name, host ports, and claims in their order.
    """
    node = state.node
    return (
        *_conditions(pod, node),
        *_labels(pod, node),
        *_resources(pod, state),
        *(HostPortTaken(p) for p in pod.host_ports if is_port_taken(p, state.host_ports)),
        *(ClaimElsewhere(c.key) for c in allocated if not can_reach(c, node)),
    )


def _conditions(pod: Pod, node: Node) -> Iterator[NodeReason]:
    explained: set[str] = set()
    if not node.ready:
        # node-lifecycle sets these taints because the node is not ready: one cause, told once.
        explained |= NOT_READY_TAINTS
        yield NodeNotReady()
    cordon = NodeTaint(key=UNSCHEDULABLE_TAINT, value="", effect="NoSchedule")
    if node.unschedulable:
        explained.add(UNSCHEDULABLE_TAINT)
        if not is_tolerated(cordon, pod.tolerations):
            yield NodeUnschedulable()
    for taint in node.taints:
        if (
            taint.effect in BLOCKING_EFFECTS
            and taint.key not in explained
            and not is_tolerated(taint, pod.tolerations)
        ):
            yield NodeTaintNotTolerated(taint)


def _labels(pod: Pod, node: Node) -> Iterator[NodeReason]:
    for key, value in sorted(pod.node_selector.items()):
        if node.labels.get(key) != value:
            yield NodeSelectorMismatch(key, value)
    if pod.required_affinity is not None and not selects(pod.required_affinity, node):
        yield NodeAffinityMismatch()


def _resources(pod: Pod, state: NodeState) -> Iterator[NodeReason]:
    allocatable = state.node.allocatable
    free_pods = allocatable.get(PODS, 0) - state.pods
    if free_pods < 1:
        yield ResourceShort(PODS, 1, free_pods)
    for resource, want in sorted(pod.requests.items()):
        free = allocatable.get(resource, 0) - state.used.get(resource, 0)
        # Asking for nothing fits everywhere, also on a node that is over-committed.
        if want > 0 and free < want and resource != PODS:
            yield ResourceShort(resource, want, free)


def selects(selector: NodeSelector, node: Node) -> bool:
    """Tell whether ``selector`` matches; one that cannot be evaluated matches no node.

    The API server refuses such a selector in pods and claims, so it can only come from a file.
    """
    return selector.mistake() is None and selector.matches(node)


def can_reach(claim: ResourceClaim, node: Node) -> bool:
    """Tell whether ``node`` can use the devices that ``claim`` is allocated, if it is."""
    allocation = claim.allocation
    if allocation is None or allocation.node_selector is None:
        return True
    return selects(allocation.node_selector, node)


def is_tolerated(taint: NodeTaint, tolerations: Iterable[PodToleration]) -> bool:
    """Tell whether one of ``tolerations`` covers ``taint``; an unknown operator covers nothing."""
    return any(
        toleration.effect in {"", taint.effect}
        and toleration.key in {"", taint.key}
        and (
            toleration.operator == "Exists"
            or (toleration.operator in {"", "Equal"} and toleration.value == taint.value)
        )
        for toleration in tolerations
    )


def is_port_taken(wanted: HostPort, taken: Iterable[HostPort]) -> bool:
    """Tell whether ``wanted`` collides: same protocol and port, and one address covers the other.

    Source: kube-scheduler's HostPortInfo; ``0.0.0.0`` stands for every address, ``::`` does not.
    """
    return any(
        port.port == wanted.port
        and port.protocol == wanted.protocol
        and (port.ip == wanted.ip or ANY_ADDRESS in {port.ip, wanted.ip})
        for port in taken
    )
