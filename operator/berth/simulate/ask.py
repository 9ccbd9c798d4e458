# SPDX-License-Identifier: Apache-2.0
"""One question to a ledger: where does this pod, or this claim, go.

Decides which claims stand for a pod's references, also those that nobody has generated yet, and
which pod speaks for a claim. Where it goes is ``berth.decision``'s to say, as for the operator.
Whether an AllocationPolicy covers the claims does not matter here: somebody will allocate them.

Source: KEP-4381.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from berth.decision import (
    Allocate,
    Blocked,
    ClaimsVerdict,
    Leave,
    NoFit,
    decide_claims,
    extended_claim_of,
    why_not,
    why_not_fully,
)
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.explain import messages
from berth.model.claims import (
    ADMIN_ACCESS_LABEL,
    POD_CLAIM_NAME_ANNOTATION,
    OwnerReference,
    ResourceClaim,
)
from berth.model.extended_resources import backed_requests
from berth.model.placement import NodeRefusal, Unplaceable
from berth.model.pods import SCHEDULING_GATE, ExtendedRequest, Pod
from berth.model.policy import Placement
from berth.model.usage import NodeState
from berth.placement.nodes import refusals
from berth.placement.place import best_score
from berth.simulate.answer import Answer, Held
from berth.state.cluster import Cluster


@dataclass(slots=True)
class Memory:
    """What earlier answers tell about a question of the same shape, while nothing becomes free.

    ``start`` is the first node, by name, that may take it. ``outcome`` is the last "no": nodes
    only get fuller, so a node whose devices did not fit is at most refused for another reason now.
    """

    start: str = ""
    outcome: Unplaceable | None = None


ANY_POD = "(any pod)"
"""Stands for the pod of a claim that no pod refers to."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The claims of a pod: those there are and those to be made, or what is missing."""

    claims: tuple[ResourceClaim, ...] = ()
    made: tuple[ResourceClaim, ...] = ()
    missing: str = ""


def claims_of(cluster: Cluster, pod: Pod) -> Resolved:
    """Return the claims of ``pod`` in the order of its references.

    A claim of a template that has not been generated is made up, under a name that the generated
    one may begin with.
    """
    claims: list[ResourceClaim] = []
    made: list[ResourceClaim] = []
    for reference, name in pod.resolved_claims():
        claim = cluster.claim_of(pod, reference)
        if claim is None:
            if reference.template_name is None:
                claim_name = reference.claim_name or ""
                return Resolved(missing=messages.claim_missing(pod, reference.name, claim_name))
            template = cluster.templates.get((pod.namespace, reference.template_name))
            if template is None:
                return Resolved(
                    missing=messages.template_missing(pod, reference.name, reference.template_name)
                )
            claim = ResourceClaim(
                namespace=pod.namespace,
                name=name or f"{pod.name}-{reference.name}",
                spec=template.spec,
                annotations=MappingProxyType({POD_CLAIM_NAME_ANNOTATION: reference.name}),
                owners=(OwnerReference("Pod", pod.name, pod.uid, controller=True),),
            )
            made.append(claim)
        claims.append(claim)
    return Resolved(tuple(claims), tuple(made))


def ask_pod(
    cluster: Cluster,
    pod: Pod,
    *,
    budget: int = DEFAULT_BUDGET,
    memories: dict[str, Memory] | None = None,
    fully: bool = False,
) -> Answer:
    """Return where ``pod`` is or would go with all its claims, or why it cannot.

    Args:
        cluster: The ledger; read only.
        pod: The pod.
        budget: Search steps per node.
        memories: What is kept for the next pod that asks for the same, by what was asked for.
        fully: Explain a "no" with hints, which takes longer.
    """
    name = str(pod.key)
    resolved = claims_of(cluster, pod)
    backed = backed_requests(pod, cluster.classes) if pod.extended_requests else ()
    notes = (*_notes(pod, resolved), *_extended_notes(backed))
    if pod.node_name or pod.is_terminal:
        made = extended_claim_of(cluster, pod) if backed else None
        held = tuple(
            Held(claim.key, claim.allocation, is_now=True)
            for claim in (*resolved.claims, *(() if made is None else (made,)))
            if claim.allocation is not None
        )
        return Answer(
            "pod", name, fits=True, is_now=True, node=pod.node_name, held=held, notes=notes
        )
    if resolved.missing:
        return Answer("pod", name, fits=False, message=resolved.missing, notes=notes)
    # What a node must have for extended resources is not the same for all nodes.
    memory = (
        None
        if memories is None or backed
        else memories.setdefault(_shape(pod, resolved.claims), Memory())
    )
    return answer(
        cluster,
        pod,
        resolved.claims,
        kind="pod",
        notes=notes,
        budget=budget,
        memory=memory,
        fully=fully,
    )


def ask_claim(
    cluster: Cluster,
    claim: ResourceClaim,
    *,
    budget: int = DEFAULT_BUDGET,
    fully: bool = False,
) -> Answer:
    """Return what ``claim`` holds, or where it would be allocated, or why it cannot be.

    All claims of a pod go to one node, so a pod that waits for the claim is what is looked at.
    """
    name = str(claim.key)
    if claim.allocation is not None:
        consumers = ", ".join(f"{each.resource}/{each.name}" for each in claim.reserved_for)
        note = f"reserved for {consumers}" if consumers else "allocated, but reserved for nobody"
        held = (Held(claim.key, claim.allocation, is_now=True),)
        return Answer("claim", name, fits=True, is_now=True, held=held, notes=(note,))
    for key in cluster.pods_of_claim(claim.key):
        pod = cluster.pods[key]
        if not pod.node_name and not pod.is_terminal:
            found = ask_pod(cluster, pod, budget=budget, fully=fully)
            note = f"pod {key} waits for this claim: asked with all claims of the pod"
            return Answer(
                "claim",
                name,
                found.fits,
                node=found.node,
                held=found.held,
                conflict=found.conflict,
                message=found.message,
                notes=(note, *found.notes),
            )
    pod = Pod(namespace=claim.namespace, name=ANY_POD, uid=f"for:{name}")
    note = "no pod refers to the claim: asked for a pod without other needs"
    return answer(cluster, pod, (claim,), kind="claim", notes=(note,), budget=budget, fully=fully)


def answer(  # noqa: PLR0913 - the question, and what is known about it
    cluster: Cluster,
    pod: Pod,
    claims: tuple[ResourceClaim, ...],
    *,
    kind: str,
    notes: Sequence[str] = (),
    budget: int = DEFAULT_BUDGET,
    memory: Memory | None = None,
    fully: bool = False,
) -> Answer:
    """Return the verdict about ``pod`` with exactly ``claims``, explained where it is "no"."""
    name = str(pod.key if kind == "pod" else claims[0].key)
    notes = (*notes, *_admin_notes(cluster, claims))
    verdict = _decide(cluster, pod, claims, budget, memory or Memory())
    match verdict:
        case Allocate(open_claims, allocated, placed, extended):
            results = zip(open_claims, placed.results, strict=True)
            by_key = {claim.key: Held(claim.key, result, is_now=False) for claim, result in results}
            by_key |= {
                claim.key: Held(claim.key, claim.allocation, is_now=True)
                for claim in allocated
                if claim.allocation is not None
            }
            held = tuple(by_key[claim.key] for claim in claims)
            if extended is not None and extended.allocation is not None:
                held = (
                    *held,
                    Held(extended.key, extended.allocation, is_now=extended.key in cluster.claims),
                )
            return Answer(kind, name, fits=True, node=placed.node, held=held, notes=tuple(notes))
        case NoFit():
            explain = why_not_fully if fully else why_not
            conflict = explain(cluster, pod, verdict, budget=budget)
            return Answer(kind, name, fits=False, conflict=conflict, notes=tuple(notes))
        case Blocked(message):
            return Answer(kind, name, fits=False, message=message, notes=tuple(notes))
        case Leave(why):
            return Answer(kind, name, fits=False, message=why, notes=tuple(notes))


def _decide(
    cluster: Cluster, pod: Pod, claims: tuple[ResourceClaim, ...], budget: int, memory: Memory
) -> ClaimsVerdict:
    """Decide, without asking again what ``memory`` knows; the answer is the same."""
    states = cluster.node_states(pod.key)
    if memory.outcome is not None:
        allocated = tuple(claim for claim in claims if claim.allocation is not None)
        return NoFit(
            tuple(claim for claim in claims if claim.allocation is None),
            allocated,
            states,
            _still_no(memory.outcome, pod, states, allocated),
        )
    verdict: ClaimsVerdict | None = None
    if memory.start:
        first = bisect_left(states, memory.start, key=lambda state: state.node.name)
        verdict = decide_claims(cluster, pod, claims, budget=budget, nodes=states[first:])
    if verdict is None or isinstance(verdict, NoFit):
        # A "no" speaks of all nodes.
        verdict = decide_claims(cluster, pod, claims, budget=budget)
    if isinstance(verdict, NoFit):
        memory.outcome = verdict.outcome
    elif (
        isinstance(verdict, Allocate)
        and cluster.placement_policy(claims) is Placement.FIRST_FIT
        and best_score(claims) == 0
    ):
        memory.start = verdict.placed.node
    return verdict


def _still_no(
    before: Unplaceable,
    pod: Pod,
    states: Sequence[NodeState],
    allocated: Sequence[ResourceClaim],
) -> Unplaceable:
    """Return an earlier "no" as it is now, with the nodes that are refused for other reasons."""
    refused = tuple(
        NodeRefusal(state.node.name, reasons)
        for state in states
        if (reasons := refusals(pod, state, allocated))
    )
    names = {each.node for each in refused}
    return Unplaceable(
        refused,
        *(
            tuple(name for name in group if name not in names)
            for group in (before.no_fit, before.undecided, before.problems)
        ),
    )


def _shape(pod: Pod, claims: Sequence[ResourceClaim]) -> str:
    """Return a text that is the same for pods that may go to the same nodes for the same."""
    wanted = [each.spec if each.allocation is None else each.key for each in claims]
    own = [sorted(pod.node_selector.items()), pod.required_affinity, pod.tolerations]
    needs = [sorted(pod.requests.items()), pod.host_ports]
    deleting = [each.deleting for each in claims]
    return repr((wanted, own, needs, deleting))


def _notes(pod: Pod, resolved: Resolved) -> tuple[str, ...]:
    notes = []
    if pod.is_terminal:
        notes.append(f"the pod has finished: {pod.phase}")
    if pod.deleting:
        notes.append("the pod is being deleted")
    if not pod.claims:
        notes.append("the pod has no resource claims")
    if pod.node_name or pod.is_terminal:
        return tuple(notes)
    others = [gate for gate in pod.gates if gate != SCHEDULING_GATE]
    if others:
        notes.append(f"the pod is held by scheduling gates: {', '.join(others)}")
    notes += [
        f"claim {claim.key} is not generated yet: taken from its template"
        for claim in resolved.made
    ]
    if pod.unmodelled:
        notes.append(f"not weighed here, but by kube-scheduler: {', '.join(pod.unmodelled)}")
    return tuple(notes)


def _admin_notes(cluster: Cluster, claims: Sequence[ResourceClaim]) -> Iterator[str]:
    """Tell of claims that no API server would take; where the namespace is not known, nothing."""
    for claim in claims:
        labels = cluster.namespaces.get(claim.namespace)
        if labels is None or labels.get(ADMIN_ACCESS_LABEL) == "true":
            continue
        bodies = (body for request in claim.spec.requests for body in request.alternatives)
        if claim.allocation is None and any(body.admin_access for body in bodies):
            yield (
                f"claim {claim.key} asks for admin access: the API server refuses it unless "
                f"namespace {claim.namespace} has label {ADMIN_ACCESS_LABEL}=true"
            )


def _extended_notes(backed: Sequence[tuple[ExtendedRequest, str]]) -> tuple[str, ...]:
    by_resource = {request.resource: name for request, name in backed}
    return tuple(
        f"{resource} stands for devices of class {name}: kube-scheduler makes a claim for them "
        "and allocates it, Berth does not"
        for resource, name in sorted(by_resource.items())
    )
