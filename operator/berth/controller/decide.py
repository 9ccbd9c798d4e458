# SPDX-License-Identifier: Apache-2.0
"""What is to be done about one pod, as a value: the decision, without doing it.

Looks at the ledger and decides; writes nothing, waits for nothing, reads no clock. Where a pod
goes is ``berth.decision``; carrying out is ``berth.controller.carry_out``.

Two rules shape it. All claims of a pod are Berth's or the pod is not allocated at all, because
kube-scheduler frees a claim of ours when it cannot place the pod's other claims near it. And a
gate that was added for nothing is removed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from berth.controller.ungated import OPENING, Refused, Stuck, behind_fence, decide_ungated
from berth.decision import Allocate, Blocked, Leave, NoFit, NotFound, decide_claims_quickly
from berth.explain import messages
from berth.model.claims import ResourceClaim
from berth.model.placement import Placed
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference
from berth.state.cluster import Cluster

__all__ = [
    "Allocate",
    "Blocked",
    "Leave",
    "NoFit",
    "NotFound",
    "Refused",
    "ReleaseGate",
    "Stuck",
    "Verdict",
    "decide",
    "with_share_ids",
]


@dataclass(frozen=True, slots=True)
class ReleaseGate:
    """The gate is on the pod for nothing; remove it without pinning."""

    why: str


Verdict = Leave | ReleaseGate | Blocked | NoFit | NotFound | Allocate | Stuck | Refused


def decide(
    cluster: Cluster,
    pod: Pod,
    *,
    budget: int,
    fenced: bool = False,
    refused: frozenset[str] = frozenset(),
) -> Verdict:
    """Return what is to be done about ``pod`` now.

    Args:
        cluster: The ledger; read only.
        pod: The pod as last seen.
        budget: Search steps per node, see ``berth.engine.outcomes.DEFAULT_BUDGET``.
        fenced: Whether all that is Berth's should be fenced, see ``berth.controller.ungated``.
        refused: Nodes that such a pod is not to be given at once again.
    """
    if pod.deleting or pod.is_terminal or pod.node_name:
        return Leave("the pod is bound, finished or being deleted")
    if not pod.is_gated:
        return decide_ungated(cluster, pod, budget=budget, fenced=fenced, refused=refused)
    # A queueing system holds the pod too: devices given now would lie idle until it lets go.
    if any(gate != SCHEDULING_GATE for gate in pod.gates):
        return Leave("another scheduling gate is on the pod")
    claims: list[ResourceClaim] = []
    for reference, _ in pod.resolved_claims():
        claim = cluster.claim_of(pod, reference)
        if claim is None:
            return _missing(cluster, pod, reference)
        claims.append(claim)
    return _with_claims(cluster, pod, tuple(claims), budget)


def _with_claims(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...], budget: int
) -> Verdict:
    foreign = [claim for claim in claims if not cluster.is_ours(claim)]
    if foreign and not cluster.knows_namespace(pod.namespace):
        return Leave("the namespace has not been seen yet, so no policy can be judged")
    if len(foreign) == len(claims):
        return ReleaseGate("no AllocationPolicy covers the pod's claims")
    if foreign:
        return Blocked(messages.not_all_ours(pod, [claim.key for claim in foreign]))
    if message := behind_fence(cluster, pod):
        return Blocked(message)
    if any(
        cluster.published.is_opening(claim.spec) for claim in claims if claim.allocation is None
    ):
        return OPENING
    return decide_claims_quickly(cluster, pod, claims, budget=budget)


def _missing(cluster: Cluster, pod: Pod, reference: PodClaimReference) -> Verdict:
    if reference.template_name is None:
        return Blocked(messages.claim_missing(pod, reference.name, reference.claim_name or ""))
    if (pod.namespace, reference.template_name) not in cluster.templates:
        return Blocked(messages.template_missing(pod, reference.name, reference.template_name))
    return Leave(f"the claim for `{reference.name}` has not been generated yet")


def with_share_ids(placed: Placed, new_id: Callable[[], str]) -> Placed:
    """Return ``placed`` with an identity of its own for each share of a device.

    The engine only numbers shares, because it draws no random number.

    Args:
        placed: What was decided.
        new_id: Returns a lower-case UUID, another one each time.
    """
    return replace(
        placed,
        results=tuple(
            replace(
                result,
                devices=tuple(
                    device if device.share_id is None else replace(device, share_id=new_id())
                    for device in result.devices
                ),
            )
            for result in placed.results
        ),
    )
