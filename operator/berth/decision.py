# SPDX-License-Identifier: Apache-2.0
"""From the ledger to a verdict about one pod with its claims, and to the reasons of a "no".

What the operator does and what the command line says come from here, so that they are the same.
Decides nothing about gates, ownership or the pod's life; that is ``berth.controller.decide``.
Writes nothing, waits for nothing, reads no clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from berth.engine.patience import has_costly_selector
from berth.engine.prospects import question_of
from berth.errors import InvalidClaimError, InvalidSelectorError, SelectorRuntimeError
from berth.explain import messages
from berth.explain.conflict import Conflict
from berth.explain.full import explain_fully
from berth.explain.report import explain_unplaceable
from berth.model.claims import MAX_CONSUMERS, ResourceClaim
from berth.model.extended_resources import (
    backed_requests,
    is_extended_resource_claim,
    served_by_plugin,
    synthetic_claim,
    without_resources,
)
from berth.model.placement import Placed, Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState
from berth.placement.place import place
from berth.placement.quick import NotQuickError, Ranked, demands_of, place_quickly
from berth.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing to do now; an event that changes this will bring the pod back."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """The pod cannot be decided until somebody changes something; ``message`` says what.

    ``question`` as in ``NotFound``, where the answer does not hinge on this one pod.
    """

    message: str
    question: Hashable = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NoFit:
    """No node takes the pod with its claims; the pod waits for what could change that.

    ``claims`` ends with the one that kube-scheduler would make for extended resources, if any.
    ``elsewhere`` are the nodes that lack devices for other claims than ``claims``, because they
    advertise such a resource themselves.
    """

    claims: tuple[ResourceClaim, ...]
    allocated: tuple[ResourceClaim, ...]
    nodes: tuple[NodeState, ...]
    outcome: Unplaceable
    elsewhere: Unplaceable = field(default_factory=Unplaceable)


@dataclass(frozen=True, slots=True)
class Allocate:
    """Write these results for ``claims``, reserve ``allocated``, then let the pod go.

    ``extended`` is what kube-scheduler can allocate on the node for the pod's extended resources,
    or has allocated; it is not for Berth to write.
    """

    claims: tuple[ResourceClaim, ...]
    allocated: tuple[ResourceClaim, ...]
    placed: Placed
    extended: ResourceClaim | None = None


@dataclass(frozen=True, slots=True)
class NotFound:
    """No node takes the pod with its claims; why not was not looked into (``NoFit``).

    Pods with equal ``question`` and priority get the same answer at the same time.
    """

    claims: tuple[ResourceClaim, ...]
    question: Hashable


ClaimsVerdict = Leave | Blocked | NoFit | Allocate


def decide_claims_quickly(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...], *, budget: int
) -> ClaimsVerdict | NotFound:
    """Return as ``decide_claims`` does, without looking at nodes that certainly do not fit.

    A "no" is only ``NotFound``, where no claim of the pod is allocated: who says why, or gives
    claims up, asks ``decide_claims``.
    """
    obstacle = _obstacle(cluster, pod, claims)
    if obstacle is not None:
        return obstacle
    open_claims = tuple(claim for claim in claims if claim.allocation is None)
    allocated = tuple(claim for claim in claims if claim.allocation is not None)
    # Beside extended resources, what a pod needs depends on the node; and counting devices for a
    # costly selector would have it judged on all of them.
    if not pod.extended_requests and not has_costly_selector(cluster.snapshot(), open_claims):
        own = cluster.node_of(pod.key)
        rank = cluster.prospects.fleet.rank
        try:
            placed = place_quickly(
                cluster.snapshot(),
                cluster.prospects,
                pod,
                open_claims,
                Ranked(lambda n: cluster.node_at(n, pod.key), rank, rank(own) if own else None),
                allocated=allocated,
                policy=cluster.placement_policy(claims),
                budget=budget,
            )
        except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError) as error:
            return Blocked(messages.bad_input(error), _question(pod, open_claims, allocated))
        except NotQuickError:
            pass
        else:
            if placed is not None:
                return Allocate(open_claims, allocated, placed)
            if not allocated:
                return NotFound(open_claims, _question(pod, open_claims, allocated))
    return decide_claims(cluster, pod, claims, budget=budget)


def _question(
    pod: Pod, claims: tuple[ResourceClaim, ...], allocated: tuple[ResourceClaim, ...]
) -> Hashable:
    if allocated:
        return None
    return pod.priority, question_of(claims), demands_of(pod)


def _obstacle(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...]
) -> Leave | Blocked | None:
    """Return what keeps the pod from being decided at all."""
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
    return None


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
    obstacle = _obstacle(cluster, pod, claims)
    if obstacle is not None:
        return obstacle
    open_claims = tuple(claim for claim in claims if claim.allocation is None)
    allocated = tuple(claim for claim in claims if claim.allocation is not None)
    if nodes is None:
        # An attempt that failed may have left the pod itself assumed on a node.
        nodes = cluster.node_states(pod.key)
    attempts = _attempts(cluster, pod, open_claims, allocated, nodes)
    try:
        outcomes = [
            place(
                cluster.snapshot(),
                attempt.pod,
                attempt.claims,
                attempt.nodes,
                allocated=attempt.allocated,
                policy=cluster.placement_policy(claims),
                budget=budget,
            )
            for attempt in attempts
        ]
    except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError) as error:
        return Blocked(messages.bad_input(error))
    found = [
        (outcome, attempt)
        for outcome, attempt in zip(outcomes, attempts, strict=True)
        if isinstance(outcome, Placed)
    ]
    if found:
        return _allocate(open_claims, allocated, *min(found, key=lambda each: each[0].node))
    refused = [each for each in outcomes if isinstance(each, Unplaceable)]
    return _no_fit(refused, attempts, nodes)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """Nodes on which a pod needs the same claims, and what it asks of them beside those."""

    pod: Pod
    claims: tuple[ResourceClaim, ...]
    allocated: tuple[ResourceClaim, ...]
    nodes: tuple[NodeState, ...]


def _attempts(
    cluster: Cluster,
    pod: Pod,
    claims: tuple[ResourceClaim, ...],
    allocated: tuple[ResourceClaim, ...],
    nodes: tuple[NodeState, ...],
) -> tuple[_Attempt, ...]:
    """Return the nodes by what kube-scheduler would ask for there; nearly always they are one."""
    backed = backed_requests(pod, cluster.classes) if pod.extended_requests else ()
    if not backed:
        return (_Attempt(pod, claims, allocated, nodes),)
    names = frozenset(request.resource for request, _ in backed)
    made = extended_claim_of(cluster, pod)
    if made is not None:
        freed = without_resources(pod, names)
        return (_Attempt(freed, claims, (*allocated, made), nodes),)
    by_plugin: dict[frozenset[str], list[NodeState]] = {}
    for state in nodes:
        by_plugin.setdefault(served_by_plugin(names, state.node), []).append(state)
    attempts = []
    for served, states in by_plugin.items() or [(frozenset[str](), [])]:
        extra = synthetic_claim(pod, (each for each in backed if each[0].resource not in served))
        attempts.append(
            _Attempt(
                without_resources(pod, names - served),
                claims if extra is None else (*claims, extra),
                allocated,
                tuple(states),
            )
        )
    return tuple(attempts)


def extended_claim_of(cluster: Cluster, pod: Pod) -> ResourceClaim | None:
    """Return the allocated claim that kube-scheduler has made for ``pod``, if it has."""
    if not pod.uid:
        return None
    return next(
        (
            claim
            for claim in cluster.claims_reserved_or_owned(pod.key, pod.uid)
            if claim.controller_uid == pod.uid
            and claim.allocation is not None
            and is_extended_resource_claim(claim)
        ),
        None,
    )


def _allocate(
    claims: tuple[ResourceClaim, ...],
    allocated: tuple[ResourceClaim, ...],
    placed: Placed,
    attempt: _Attempt,
) -> Allocate:
    if len(attempt.claims) == len(claims):
        made = next(iter(attempt.allocated[len(allocated) :]), None)
        return Allocate(claims, allocated, placed, made)
    extended = replace(attempt.claims[-1], allocation=placed.results[-1])
    return Allocate(claims, allocated, replace(placed, results=placed.results[:-1]), extended)


def _no_fit(
    outcomes: list[Unplaceable], attempts: tuple[_Attempt, ...], nodes: tuple[NodeState, ...]
) -> NoFit:
    """Return the "no" of all attempts; the one with most nodes that lack devices is told."""
    main = max(range(len(outcomes)), key=lambda n: len(outcomes[n].no_fit + outcomes[n].undecided))
    others = [outcome for number, outcome in enumerate(outcomes) if number != main]
    refused = sorted((each for o in outcomes for each in o.refused), key=lambda each: each.node)
    return NoFit(
        attempts[main].claims,
        attempts[main].allocated,
        nodes,
        replace(outcomes[main], refused=tuple(refused)),
        Unplaceable(
            no_fit=tuple(sorted(name for each in others for name in each.no_fit)),
            undecided=tuple(sorted(name for each in others for name in each.undecided)),
            problems=tuple(sorted(name for each in others for name in each.problems)),
        ),
    )


def with_elsewhere(conflict: Conflict, elsewhere: Unplaceable) -> Conflict:
    """Return ``conflict`` with more nodes that lack devices, and are only counted."""
    if not elsewhere.no_fit and not elsewhere.undecided:
        return conflict
    return replace(
        conflict,
        nodes=conflict.nodes + len(elsewhere.no_fit) + len(elsewhere.undecided),
        unexamined=conflict.unexamined + len(elsewhere.no_fit),
        undecided=tuple(sorted((*conflict.undecided, *elsewhere.undecided))),
    )


def why_not(cluster: Cluster, pod: Pod, verdict: NoFit, *, budget: int) -> Conflict:
    """Return the reasons of a "no"; ``cluster`` is as it was when ``verdict`` was found."""
    conflict = explain_unplaceable(
        cluster.snapshot(),
        pod,
        verdict.claims,
        verdict.nodes,
        verdict.outcome,
        allocated=verdict.allocated,
        budget=budget,
    )
    return with_elsewhere(conflict, verdict.elsewhere)


def why_not_fully(cluster: Cluster, pod: Pod, verdict: NoFit, *, budget: int) -> Conflict:
    """Return the reasons of a "no" with the facts that suffice, and with hints that were tried.

    For who asks about one pod: it costs many times what ``why_not`` does.
    """
    conflict = explain_fully(
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
    return with_elsewhere(conflict, verdict.elsewhere)
