# SPDX-License-Identifier: Apache-2.0
"""What is to be done about a pod that carries no gate of Berth's, as a value.

Decides whether kube-scheduler is kept from such a pod's claims by the fence, and only then gives
it devices. Never writes. The node cannot be pinned any more: the node selector of the allocation
leads the pod, and kube-scheduler may take the allocation back where it finds that node unsuitable.

Source: KEP-4381; kube-scheduler's behaviour beside a fence was tried (``docs/guides/fence.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.decision import (
    Allocate,
    Blocked,
    ClaimsVerdict,
    Leave,
    NoFit,
    NotFound,
    decide_claims,
    decide_claims_quickly,
)
from berth.explain import messages
from berth.model.claims import ResourceClaim
from berth.model.extended_resources import backed_requests, served_by_plugin
from berth.model.pods import Pod
from berth.state.cluster import Cluster

CANNOT_ALLOCATE = "cannot allocate all claims"
"""What kube-scheduler says of claims that are not allocated: of allocated ones it is old news."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Berth has done its part, but kube-scheduler does not place the pod; ``message`` says why."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Only nodes are left that kube-scheduler has refused a moment ago; not again at once."""

    message: str


UngatedVerdict = ClaimsVerdict | NotFound | Stuck | Refused
NOT_OURS = Leave("the pod is kube-scheduler's")
OPENING = Leave("a fence has come down: kube-scheduler may be about to take the same devices")


def decide_ungated(
    cluster: Cluster, pod: Pod, *, budget: int, fenced: bool, refused: frozenset[str]
) -> UngatedVerdict:
    """Return what is to be done about ``pod``, which has no node and no gate of Berth's.

    Args:
        cluster: The ledger; read only.
        pod: The pod as last seen.
        budget: Search steps per node, see ``berth.engine.outcomes.DEFAULT_BUDGET``.
        fenced: Whether the fence is meant to hold all that is Berth's, so that a hole is worth a
            word. In mode gated a claim without any fenced device is simply kube-scheduler's.
        refused: Nodes from which kube-scheduler has just taken back what the pod was given.
    """
    if not pod.claims:
        wholly = behind_fence(cluster, pod, partly=False) if pod.unschedulable_message else ""
        return Blocked(wholly) if wholly else NOT_OURS
    claims = _claims(cluster, pod)
    if not claims:
        return NOT_OURS
    if all(claim.allocation is not None for claim in claims):
        return _allocated(cluster, pod, claims, budget=budget)
    # Devices that are given while a queueing system holds the pod would lie idle.
    if pod.gates or not cluster.knows_namespace(pod.namespace):
        return NOT_OURS
    verdict = _not_fenced(cluster, pod, claims, fenced=fenced)
    return _fenced(cluster, pod, claims, budget, refused) if verdict is None else verdict


def behind_fence(cluster: Cluster, pod: Pod, *, partly: bool = True) -> str:
    """Say which extended resource of ``pod`` the fence keeps from it; empty where there is none.

    kube-scheduler alone allocates extended resources, and not these devices. ``partly`` counts a
    class that has devices outside of the fence too.
    """
    for request, class_name in backed_requests(pod, cluster.classes):
        reach = cluster.published.reach_of_class(class_name)
        if (
            reach.fenced
            and (partly or not reach.unfenced)
            and not any(
                served_by_plugin((request.resource,), node) for node in cluster.nodes.values()
            )
        ):
            return messages.extended_behind_fence(
                pod, request.resource, class_name, tuple(sorted(reach.fenced))
            )
    return ""


def _claims(cluster: Cluster, pod: Pod) -> tuple[ResourceClaim, ...]:
    """Return all claims of the pod; none where one of them is missing yet."""
    found = [cluster.claim_of(pod, reference) for reference, _ in pod.resolved_claims()]
    known = tuple(claim for claim in found if claim is not None)
    return known if len(known) == len(found) else ()


def _allocated(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...], *, budget: int
) -> UngatedVerdict:
    if not all(cluster.is_ours(claim) for claim in claims):
        return NOT_OURS
    waiting = [c for c in claims if all(each.uid != pod.uid for each in c.reserved_for)]
    if waiting:
        if any(c.allocation and not c.allocation.timestamp for c in waiting):
            # kube-scheduler would add the timestamp when it reserves the claim, and the API server
            # would refuse that for ever. A claim that is reserved already it leaves alone.
            return decide_claims(cluster, pod, claims, budget=budget)
        return NOT_OURS
    if not pod.unschedulable_message or CANNOT_ALLOCATE in pod.unschedulable_message:
        return NOT_OURS
    return Stuck(messages.allocated_but_unschedulable(pod, pod.unschedulable_message))


def _not_fenced(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...], *, fenced: bool
) -> Leave | Blocked | None:
    """Return why Berth must not allocate the pod's claims; ``None`` where it may."""
    ours = [claim for claim in claims if cluster.is_ours(claim)]
    open_ones = [c for c in ours if c.allocation is None and c.spec.requests]
    holes = {claim.key: cluster.published.holes(claim.spec) for claim in open_ones}
    leaking = [claim for claim in open_ones if holes[claim.key]]
    if len(leaking) == len(open_ones):
        # kube-scheduler can allocate all that is open, and most often has by now.
        worth_a_word = fenced or any(hole.partly for each in leaking for hole in holes[each.key])
        if not leaking or not pod.unschedulable_message or not worth_a_word:
            return NOT_OURS
    elif len(ours) < len(claims):
        foreign = [claim.key for claim in claims if not cluster.is_ours(claim)]
        return Blocked(messages.not_all_ours(pod, foreign))
    if not leaking:
        return None
    hole = holes[leaking[0].key][0]
    return Blocked(
        messages.not_fenced(pod, leaking[0].key, hole.request, hole.class_name, hole.drivers)
    )


def _fenced(
    cluster: Cluster,
    pod: Pod,
    claims: tuple[ResourceClaim, ...],
    budget: int,
    refused: frozenset[str],
) -> UngatedVerdict:
    if message := behind_fence(cluster, pod):
        return Blocked(message)
    if any(
        cluster.published.is_opening(claim.spec) for claim in claims if claim.allocation is None
    ):
        return OPENING
    if not refused:
        return decide_claims_quickly(cluster, pod, claims, budget=budget)
    states = cluster.node_states(pod.key)
    left = tuple(state for state in states if state.node.name not in refused)
    verdict = decide_claims(cluster, pod, claims, budget=budget, nodes=left)
    if isinstance(verdict, NoFit) and len(left) < len(states):
        anywhere = decide_claims(cluster, pod, claims, budget=budget, nodes=states)
        if not isinstance(anywhere, Allocate):
            return anywhere
        names = tuple(sorted(state.node.name for state in states if state.node.name in refused))
        return Refused(messages.refused_by_scheduler(pod, names, pod.unschedulable_message))
    return verdict
