# SPDX-License-Identifier: Apache-2.0
"""What is wrong with one allocated claim, apart from who else has its devices.

Decides that from the claim, its pods, and what is published. Claims without an allocation have
nothing to audit.

Source: KEP-4381; kube-controller-manager's resourceclaim controller; kube-scheduler's
DynamicResources plugin.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.audit.finding import Finding, claim_ref, pod_ref
from berth.audit.findings_claims import (
    AllocatedNodeGone,
    AllocationWithoutTimestamp,
    DeviceNotPublished,
    FenceBroken,
    FinalizerMissing,
    FinishedPodLoop,
    ForeignWriter,
    StaleConsumer,
    UnusedAllocation,
)
from berth.audit.view import NODE, POD, POLICY, SLICE, View
from berth.audit.words import age, is_long_ago
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.nodes import NodeSelector
from berth.model.pods import Pod, PodKey
from berth.model.results import AllocationResult

UNUSED_SECONDS = 600
"""How long devices may be held for nobody: an allocator may go before its pods."""
FINISHED_SECONDS = 60
"""How long a finished pod may stay a consumer; it takes a tenth of a second normally."""
LOOP_SECONDS = 10
SCHEDULER = "kube-scheduler"
KNOWN_WRITERS = frozenset({"berth", SCHEDULER, "kube-controller-manager"})
"""Field managers that may write allocations of claims that are Berth's."""


def judge_claim(view: View, claim: ResourceClaim) -> Iterator[Finding]:
    """Yield what is wrong with ``claim``."""
    allocation = claim.allocation
    if allocation is None:
        return
    ref = claim_ref(claim)
    if DELETE_PROTECTION_FINALIZER not in claim.finalizers:
        yield FinalizerMissing(ref, claim.deleting)
    yield from _places(view, claim, allocation)
    yield from _consumers(view, claim, allocation)
    yield from _writer(view, claim, allocation)


def _places(view: View, claim: ResourceClaim, allocation: AllocationResult) -> Iterator[Finding]:
    node = only_node(allocation.node_selector)
    if node and NODE in view.scope.complete and node not in view.cluster.nodes:
        # Its slices went with it: one finding is enough.
        yield AllocatedNodeGone(claim_ref(claim), node)
    elif SLICE in view.scope.complete:
        missing = {}
        for result in allocation.devices:
            why = view.publications.why_not_published(result.device_id)
            if why:
                missing[result.device_id] = why
        if missing:
            yield DeviceNotPublished(claim_ref(claim), tuple(missing.items()))


def _consumers(view: View, claim: ResourceClaim, allocation: AllocationResult) -> Iterator[Finding]:
    ref = claim_ref(claim)
    binds = view.cluster.snapshot().features.device_binding_and_status
    trapped = binds and not allocation.timestamp and not claim.reserved_for
    if trapped:
        yield AllocationWithoutTimestamp(ref)
    if POD not in view.scope.complete:
        return
    pods = [view.cluster.pods[key] for key in view.cluster.pods_of_claim(claim.key)]
    looping = [
        pod
        for pod in pods
        if pod.is_terminal and pod.node_name and is_long_ago(pod.finished, view.now, LOOP_SECONDS)
    ]
    holders = _held_by(view, claim, {pod.uid for pod in looping}) if looping else ()
    protected = DELETE_PROTECTION_FINALIZER in claim.finalizers
    if looping and (holders or not protected):
        yield FinishedPodLoop(
            ref,
            tuple(map(pod_ref, looping)),
            holders,
            can_be_protected=not protected and not claim.deleting and not holders,
        )
    absent, finished = _stale(view, claim, {pod.uid for pod in looping} if holders else set())
    if absent or finished:
        yield StaleConsumer(ref, absent, finished)
    wanted = any(not pod.is_terminal and not pod.deleting for pod in pods)
    since = allocation.timestamp or claim.created
    if (
        not (claim.reserved_for or claim.deleting or trapped or wanted)
        and not looping
        and is_long_ago(since, view.now, UNUSED_SECONDS)
    ):
        yield UnusedAllocation(ref, age(since, view.now))


def _held_by(view: View, claim: ResourceClaim, looping: set[str]) -> tuple[str, ...]:
    """Return the consumers that keep the claim allocated when the finished pods are gone."""
    found = []
    for consumer in claim.reserved_for:
        if consumer.uid in looping:
            continue
        pod = pod_of(view, claim, consumer)
        if not _is_pod(consumer):
            found.append(f"{consumer.resource}.{consumer.api_group} {consumer.name}")
        elif pod is not None and not pod.is_terminal:
            found.append(f"pod {pod.key}")
    return tuple(found)


def _stale(
    view: View, claim: ResourceClaim, but: set[str]
) -> tuple[tuple[ConsumerReference, ...], tuple[ConsumerReference, ...]]:
    absent, finished = [], []
    for consumer in claim.reserved_for:
        if not _is_pod(consumer) or consumer.uid in but:
            continue
        pod = pod_of(view, claim, consumer)
        if pod is None:
            absent.append(consumer)
        elif pod.is_terminal and is_long_ago(pod.finished, view.now, FINISHED_SECONDS):
            finished.append(consumer)
    return tuple(absent), tuple(finished)


def _is_pod(consumer: ConsumerReference) -> bool:
    return consumer.resource == "pods" and not consumer.api_group


def pod_of(view: View, claim: ResourceClaim, consumer: ConsumerReference) -> Pod | None:
    """Return the pod that an entry of ``reservedFor`` stands for, ``None`` if there is none."""
    pod = view.cluster.pods.get(PodKey(claim.namespace, consumer.name))
    return pod if pod is not None and pod.uid == consumer.uid else None


def _writer(view: View, claim: ResourceClaim, allocation: AllocationResult) -> Iterator[Finding]:
    writers = set(claim.allocated_by.split(", ")) - {""}
    strange = ", ".join(sorted(writers - KNOWN_WRITERS))
    if strange and POLICY in view.scope.complete and view.cluster.is_ours(claim):
        yield ForeignWriter(claim_ref(claim), strange)
    if SCHEDULER in writers:
        fenced = tuple(
            dict.fromkeys(
                result.device_id
                for result in allocation.devices
                if not result.admin_access and _is_fenced(view, result.device_id)
            )
        )
        if fenced:
            yield FenceBroken(claim_ref(claim), fenced)


def _is_fenced(view: View, device: DeviceID) -> bool:
    by_driver = view.cluster.fence_of_drivers
    return any(
        device.device in by_driver.get(name, ())
        for name in view.publications.slices_of(device.pool_id)
    ) or any(rule.matches(*device) for rule in view.cluster.fence_rules.values())


def only_node(selector: NodeSelector | None) -> str:
    """Return the node of a selector of the form for local devices; empty for every other form.

    That form is one term with one requirement: the node's name.
    """
    if selector is None or len(selector.terms) != 1:
        return ""
    (term,) = selector.terms
    if term.match_expressions or len(term.match_fields) != 1:
        return ""
    (requirement,) = term.match_fields
    if requirement.key != "metadata.name" or requirement.operator != "In":
        return ""
    return requirement.values[0] if len(requirement.values) == 1 else ""
