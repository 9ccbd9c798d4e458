# SPDX-License-Identifier: Apache-2.0
"""Is a pod held by Berth's gate in vain.

Decides that from the pod and its claims; how long it has been so is for the caller to watch.

Source: KEP-3521; ``berth.controller.decide``, whose rules these are.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.audit.claims import only_node
from berth.audit.finding import Finding, claim_ref, pod_ref
from berth.audit.findings_pods import GateProblem, StuckGate
from berth.audit.view import NAMESPACE, POLICY, View
from berth.model.claims import ResourceClaim
from berth.model.pods import SCHEDULING_GATE, Pod


def judge_pod(view: View, pod: Pod) -> Iterator[Finding]:
    """Yield what is wrong with ``pod``."""
    if not pod.is_gated or pod.deleting or pod.is_terminal:
        return
    claims = [view.cluster.claim_of(pod, reference) for reference, _ in pod.resolved_claims()]
    known = [claim for claim in claims if claim is not None]
    # Where another gate holds the pod too, Berth waits for that one on purpose.
    if len(known) == len(claims) and all(gate == SCHEDULING_GATE for gate in pod.gates):
        problem = _problem(view, pod, known)
        if problem is GateProblem.NOT_COVERED:
            yield StuckGate(pod_ref(pod), problem)
            return
        if problem is not None:
            yield StuckGate(pod_ref(pod), problem, tuple(map(claim_ref, known)), _node_of(known))
            return
    if view.scope.allocating is False:
        yield StuckGate(pod_ref(pod), GateProblem.NOBODY)


def _problem(view: View, pod: Pod, claims: list[ResourceClaim]) -> GateProblem | None:
    if claims and all(claim.allocation is not None for claim in claims):
        reserved = all(
            any(consumer.uid == pod.uid for consumer in claim.reserved_for) for claim in claims
        )
        return GateProblem.ALLOCATED if reserved else GateProblem.NOT_RESERVED
    if (
        {POLICY, NAMESPACE} <= view.scope.complete
        and (view.cluster.knows_namespace(pod.namespace) or not view.cluster.policies)
        and not any(view.cluster.is_ours(claim) for claim in claims)
    ):
        return GateProblem.NOT_COVERED
    return None


def _node_of(claims: list[ResourceClaim]) -> str:
    """Return the one node that the devices of all ``claims`` are on, empty where they are not."""
    nodes = {
        only_node(claim.allocation.node_selector)
        for claim in claims
        if claim.allocation is not None and claim.allocation.node_selector is not None
    }
    return nodes.pop() if len(nodes) == 1 else ""
