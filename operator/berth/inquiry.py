# SPDX-License-Identifier: Apache-2.0
"""Why a pod fits nowhere, as a question that can be answered while the cluster goes on changing.

Decides which nodes stand for a large cluster: a copy of what they publish and of what is in use
there is taken in one go, and explained later, by another thread if need be. On clusters with no
more nodes than are explained the answer is that of ``berth.decision.why_not_fully``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from berth.decision import NotFound, with_elsewhere
from berth.engine.allocated import AllocatedState
from berth.engine.snapshot import Snapshot
from berth.explain.conflict import Conflict
from berth.explain.full import explain_fully
from berth.explain.report import MAX_NODES, explain_unplaceable
from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.placement import NodeRefusal, Placed, Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState
from berth.placement.nodes import refusals
from berth.placement.place import place
from berth.state.cluster import Cluster

V = TypeVar("V")

FEW_NODES = 2
"""So many nodes are looked at where the answer is to be brief."""
MAX_REFUSED = 200
"""So many nodes that are not for the pod at all are passed over in search of others."""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """Everything that the answer is made of; nothing of it changes any more.

    ``sample`` are the nodes whose devices ``snapshot`` has, ``nodes`` are all.
    """

    pod: Pod
    claims: tuple[ResourceClaim, ...]
    snapshot: Snapshot
    nodes: tuple[NodeState, ...]
    sample: tuple[NodeState, ...]
    consumers: Mapping[str, tuple[str, ...]]
    budget: int


def inquire(cluster: Cluster, pod: Pod, verdict: NotFound, *, budget: int) -> Inquiry:
    """Return the question why ``verdict`` was given; costs about what a few nodes cost."""
    nodes = cluster.node_states(pod.key)
    sample: list[NodeState] = []
    passed_over = 0
    for state in nodes:
        if len(sample) == MAX_NODES or passed_over == MAX_REFUSED:
            break
        if refusals(pod, state):
            passed_over += 1
        else:
            sample.append(state)
    snapshot = cluster.snapshot()
    inventory = snapshot.inventory.of_nodes([state.node.name for state in sample])
    devices = {record.id for record in inventory.devices}
    allocated = snapshot.allocated
    taken = AllocatedState(
        holders=_of(allocated.holders, devices),
        shared=_of(allocated.shared, devices),
        capacity=_of(allocated.capacity, devices),
    )
    users = {text for each in (taken.holders, taken.shared) for v in each.values() for text in v}
    known = {text: cluster.claims.get(ClaimKey(*text.rsplit("/", 1))) for text in users}
    return Inquiry(
        pod,
        verdict.claims,
        replace(snapshot, inventory=inventory, classes=dict(snapshot.classes), allocated=taken),
        nodes,
        tuple(sample),
        {
            text: tuple(each.name for each in claim.reserved_for)
            for text, claim in known.items()
            if claim is not None and claim.reserved_for
        },
        budget,
    )


def _of(known: Mapping[DeviceID, V], devices: set[DeviceID]) -> Mapping[DeviceID, V]:
    return {device: known[device] for device in devices if device in known}


def answered(inquiry: Inquiry, *, briefly: Callable[[], bool] = lambda: False) -> Conflict | None:
    """Return the whole explanation, ``None`` where the pod fits after all.

    ``briefly`` is asked after the first search, which tells how hard the question is: then few
    nodes are looked at, and nothing is tried that might help.
    """
    sample = {state.node.name for state in inquiry.sample}
    outcome = place(
        inquiry.snapshot, inquiry.pod, inquiry.claims, inquiry.sample, budget=inquiry.budget
    )
    if isinstance(outcome, Placed):
        return None
    refused = list(outcome.refused)
    beside: list[str] = []
    for state in inquiry.nodes:
        if state.node.name not in sample:
            reasons = refusals(inquiry.pod, state)
            if reasons:
                refused.append(NodeRefusal(state.node.name, reasons))
            else:
                beside.append(state.node.name)
    outcome = replace(outcome, refused=tuple(sorted(refused, key=lambda each: each.node)))
    question = (inquiry.snapshot, inquiry.pod, inquiry.claims, inquiry.nodes, outcome)
    if briefly():
        conflict = explain_unplaceable(*question, max_nodes=FEW_NODES, budget=inquiry.budget)
    else:
        conflict = explain_fully(*question, budget=inquiry.budget, consumers=inquiry.consumers)
    return with_elsewhere(conflict, Unplaceable(no_fit=tuple(beside)))
