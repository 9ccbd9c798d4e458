# SPDX-License-Identifier: Apache-2.0
"""From the ledger to a verdict about one pod with its claims, and to the reasons of a "no".

What the operator does and what the command line says come from here, so that they are the same.
Decides nothing about gates, ownership or the pod's life; that is ``berth.controller.decide``.
Writes nothing, waits for nothing, reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.errors import InvalidClaimError, InvalidSelectorError, SelectorRuntimeError
from berth.explain import messages
from berth.explain.conflict import Conflict
from berth.explain.full import explain_fully
from berth.explain.report import explain_unplaceable
from berth.model.claims import MAX_CONSUMERS, ResourceClaim
from berth.model.placement import Placed, Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState
from berth.placement.place import place
from berth.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do now; an event that changes this will bring the pod back."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """The pod cannot be decided until somebody changes something; ``message`` says what."""

    message: str


@dataclass(frozen=True, slots=True)
class NoFit:
    """No node takes the pod with its claims; the pod waits for what could change that."""

    claims: tuple[ResourceClaim, ...]
    allocated: tuple[ResourceClaim, ...]
    nodes: tuple[NodeState, ...]
    outcome: Unplaceable


@dataclass(frozen=True, slots=True)
class Allocate:
    """Write these results for ``claims``, reserve ``allocated``, then let the pod go."""

    claims: tuple[ResourceClaim, ...]
    allocated: tuple[ResourceClaim, ...]
    placed: Placed


ClaimsVerdict = Leave | Blocked | NoFit | Allocate


def decide_claims(
    cluster: Cluster,
    pod: Pod,
    claims: tuple[ResourceClaim, ...],
    *,
    budget: int,
    nodes: tuple[NodeState, ...] | None = None,
) -> ClaimsVerdict:
    """Return where ``pod`` goes with all of ``claims``, or what is in the way.

    Args:
        cluster: The ledger; read only.
        pod: The pod; it does not count on the node that it may be assumed on.
        claims: All claims of the pod, in the order of its references, allocated or not.
        budget: Search steps per node, see ``berth.engine.outcomes.DEFAULT_BUDGET``.
        nodes: The nodes that are in question; ``None`` for all.
    """
    for claim in claims:
        if claim.deleting:
            return Blocked(messages.claim_deleting(pod, claim.key))
        if claim.allocation is None and claim.key in cluster.assumed_claims:
            return Leave(f"claim {claim.key} is being written for another pod")
        reserved = any(consumer.uid == pod.uid for consumer in claim.reserved_for)
        if (
            claim.allocation is not None
            and not reserved
            and (len(claim.reserved_for) >= MAX_CONSUMERS)
        ):
            return Blocked(messages.claim_full(pod, claim.key, MAX_CONSUMERS))
    open_claims = tuple(claim for claim in claims if claim.allocation is None)
    allocated = tuple(claim for claim in claims if claim.allocation is not None)
    if nodes is None:
        # An attempt that failed may have left the pod itself assumed on a node.
        nodes = cluster.node_states(pod.key)
    try:
        outcome = place(
            cluster.snapshot(),
            pod,
            open_claims,
            nodes,
            allocated=allocated,
            policy=cluster.placement_policy(claims),
            budget=budget,
        )
    except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError) as error:
        return Blocked(messages.bad_input(error))
    if isinstance(outcome, Placed):
        return Allocate(open_claims, allocated, outcome)
    return NoFit(open_claims, allocated, nodes, outcome)


def why_not(cluster: Cluster, pod: Pod, verdict: NoFit, *, budget: int) -> Conflict:
    """Return the reasons of a "no"; ``cluster`` is as it was when ``verdict`` was found."""
    return explain_unplaceable(
        cluster.snapshot(),
        pod,
        verdict.claims,
        verdict.nodes,
        verdict.outcome,
        allocated=verdict.allocated,
        budget=budget,
    )


def why_not_fully(cluster: Cluster, pod: Pod, verdict: NoFit, *, budget: int) -> Conflict:
    """Return the reasons of a "no" with the facts that suffice, and with hints that were tried.

    For who asks about one pod: it costs many times what ``why_not`` does.
    """
    return explain_fully(
        cluster.snapshot(),
        pod,
        verdict.claims,
        verdict.nodes,
        verdict.outcome,
        allocated=verdict.allocated,
        budget=budget,
        consumers={
            str(claim.key): tuple(each.name for each in claim.reserved_for)
            for claim in cluster.claims.values()
            if claim.allocation is not None and claim.reserved_for
        },
    )
