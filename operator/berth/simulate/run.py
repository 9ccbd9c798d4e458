# SPDX-License-Identifier: Apache-2.0
"""Place many pods and claims, one after the other, each beside those before it.

Decides the order, as the operator does: priority, creation, uid; and what a "yes" changes for
those that follow. Where each goes is ``berth.decision``'s to say. Changes the ledger it is given,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from types import MappingProxyType

from berth.engine.outcomes import DEFAULT_BUDGET
from berth.explain.report import tree
from berth.model.claims import ClaimKey, ConsumerReference, ResourceClaim
from berth.model.extended_resources import backed_requests, served_by_plugin, synthetic_claim
from berth.model.pods import Pod, PodKey
from berth.scenario.documents import ApiObject
from berth.scenario.load import DEFAULT_NAMESPACE, Loaded, enter, expanded, load
from berth.scenario.parse import Expected, Scenario
from berth.simulate.answer import Answer
from berth.simulate.ask import Memory, ask_claim, ask_pod, claims_of
from berth.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be placed, in order; the objects are in the ledger already."""

    pods: tuple[PodKey, ...] = ()
    claims: tuple[ClaimKey, ...] = ()

    def __len__(self) -> int:
        """How many answers there will be."""
        return len(self.pods) + len(self.claims)


def add_wanted(
    loaded: Loaded, objects: Iterable[ApiObject], *, namespace: str = DEFAULT_NAMESPACE
) -> Wanted:
    """Enter ``objects``, workloads as their pods; return those of them that can be placed.

    These are the pods that are not bound and not finished, and the claims without an allocation
    that no such pod refers to.

    Raises:
        DecodeError: If an object cannot be decoded.
    """
    entered = enter(loaded, expanded(objects), namespace=namespace)
    return wanted_of(loaded.cluster, entered)


def wanted_of(cluster: Cluster, objects: Iterable[ApiObject]) -> Wanted:
    """Return what can be placed of ``objects``, which are in the ledger."""
    pods: list[Pod] = []
    claims: list[ClaimKey] = []
    for each in objects:
        metadata = each.obj["metadata"]
        if each.kind == "Pod":
            pod = cluster.pods[PodKey(metadata["namespace"], metadata["name"])]
            if not pod.node_name and not pod.is_terminal and not pod.deleting:
                pods.append(pod)
        elif each.kind == "ResourceClaim":
            claims.append(ClaimKey(metadata["namespace"], metadata["name"]))
    keys = {pod.key for pod in pods}
    alone = [
        key
        for key in dict.fromkeys(claims)
        if cluster.claims[key].allocation is None and keys.isdisjoint(cluster.pods_of_claim(key))
    ]
    in_order = sorted({pod.key: pod for pod in pods}.values(), key=_order)
    return Wanted(tuple(pod.key for pod in in_order), tuple(alone))


def simulate(
    cluster: Cluster,
    wanted: Wanted,
    *,
    budget: int = DEFAULT_BUDGET,
    progress: Callable[[Answer], None] = lambda _: None,
) -> tuple[Answer, ...]:
    """Place everything that is wanted; pods first, in order.

    Args:
        cluster: The ledger; what is placed is entered.
        wanted: What to place.
        budget: Search steps per node.
        progress: Called after each answer.
    """
    answers = []
    memories: dict[str, Memory] = {}
    for key in wanted.pods:
        pod = cluster.pods[key]
        found = ask_pod(cluster, pod, budget=budget, memories=memories)
        if found.fits and not found.is_now:
            _settle_pod(cluster, pod, found)
        answers.append(found)
        progress(found)
    for claim_key in wanted.claims:
        claim = cluster.claims[claim_key]
        found = ask_claim(cluster, claim, budget=budget)
        if found.fits and not found.is_now:
            _settle_claims(cluster, (claim,), found, None)
        answers.append(found)
        progress(found)
    return tuple(answers)


def open_scenario(scenario: Scenario) -> tuple[Loaded, Wanted]:
    """Return the cluster of a scenario with what it wants placed.

    Raises:
        DecodeError: If an object of the scenario cannot be decoded.
    """
    loaded = load(scenario.cluster, features=scenario.features)
    return loaded, add_wanted(loaded, scenario.wanted)


def mismatches(scenario: Scenario, answers: Iterable[Answer]) -> tuple[str, ...]:
    """Return in what ``answers`` differ from the scenario's expectation; empty if in nothing."""
    by_name = {(each.kind, each.name): each for each in answers}
    found: list[str] = []
    for kind, expectations in (("pod", scenario.expect_pods), ("claim", scenario.expect_claims)):
        for expected in expectations:
            answer = by_name.get((kind, expected.name))
            where = f"{scenario.source}: {kind} {expected.name}"
            if answer is None:
                found.append(f"{where}: is expected, but nothing of that name was to be placed")
            else:
                found += (f"{where}: {each}" for each in _differences(expected, answer))
    return tuple(found)


def _differences(expected: Expected, answer: Answer) -> Iterable[str]:
    if expected.fits != answer.fits:
        yield (
            f"expected to fit: {answer.reason}"
            if expected.fits
            else f"expected not to fit, but goes to node {answer.node}"
        )
        return
    if expected.node and expected.node != answer.node:
        yield f"expected on node {expected.node}, goes to {answer.node}"
    held = {each.claim.name: each.devices for each in answer.held}
    for claim, devices in (expected.devices or {}).items():
        if held.get(claim) != devices:
            shown = ", ".join(held.get(claim, ())) or "nothing"
            yield f"claim {claim}: expected {', '.join(devices)}, gets {shown}"
    for text in expected.says:
        if text not in full_text(answer):
            yield f"expected the explanation to say `{text}`, it says: {full_text(answer)}"


def full_text(answer: Answer) -> str:
    """Return everything that is said of a "no": the line, then the tree."""
    if answer.conflict is None:
        return answer.reason
    return f"{answer.reason}\n{tree(answer.conflict)}"


def _order(pod: Pod) -> tuple[int, str, str]:
    # Files have no creation times; there the order of the file counts.
    return (-pod.priority, pod.created, pod.uid if pod.created else "")


def _settle_pod(cluster: Cluster, pod: Pod, found: Answer) -> None:
    claims = claims_of(cluster, pod).claims
    _settle_claims(cluster, claims, found, pod)
    names = dict(pod.claim_names)
    for (reference, _), claim in zip(pod.resolved_claims(), claims, strict=True):
        if reference.template_name is not None:
            names[reference.name] = claim.name
    _settle_extended(cluster, pod, found, {claim.key for claim in claims})
    cluster.apply_pod(replace(pod, node_name=found.node, claim_names=MappingProxyType(names)))


def _settle_extended(
    cluster: Cluster, pod: Pod, found: Answer, others: AbstractSet[ClaimKey]
) -> None:
    """Enter the claim that kube-scheduler would make: its devices are in use from now on."""
    if all(held.is_now or held.claim in others for held in found.held):
        return
    backed = backed_requests(pod, cluster.classes)
    names = {request.resource for request, _ in backed}
    served = served_by_plugin(names, cluster.nodes[found.node])
    claim = synthetic_claim(pod, (each for each in backed if each[0].resource not in served))
    if claim is not None:
        _settle_claims(cluster, (claim,), found, pod)


def _settle_claims(
    cluster: Cluster, claims: Iterable[ResourceClaim], found: Answer, pod: Pod | None
) -> None:
    results = {each.claim: each.result for each in found.held}
    for claim in claims:
        reserved = claim.reserved_for
        if pod is not None and all(each.uid != pod.uid for each in reserved):
            reserved = (*reserved, ConsumerReference("pods", pod.name, pod.uid))
        cluster.apply_claim(replace(claim, allocation=results[claim.key], reserved_for=reserved))
