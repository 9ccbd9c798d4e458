# SPDX-License-Identifier: Apache-2.0
"""When an allocation does not stand any more, and when it may be undone."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from berth.controller.lifecycle import (
    ASK_AGAIN_SECONDS,
    ASK_ATTEMPTS,
    GRACE_SECONDS,
    Asked,
    AskForClaims,
    Doomed,
    Missing,
    TakeBack,
    decide_life,
    nobody_generates,
    reconsider,
)
from berth.decision import Allocate, NoFit, decide_claims
from berth.model.claims import (
    ConsumerReference,
    OwnerReference,
    ResourceClaim,
    ResourceClaimTemplate,
)
from berth.model.devices import TaintEffect
from berth.model.features import Features
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference
from berth.model.policy import AllocationPolicy
from berth.model.results import AllocationResult, DeviceResult
from berth.model.tolerations import DeviceToleration
from berth.satisfiable import Lost, is_idle, lost_claims, why_lost
from berth.state.cluster import Cluster
from tests.support.builders import (
    a_claim,
    a_class,
    a_device,
    a_node,
    a_slice,
    a_taint,
    a_taint_rule,
    devices,
    label_in,
)

NODE = "node-1"
STAMP = "2026-01-01T00:00:00Z"


def on_node(name: str) -> NodeSelector:
    only = NodeSelectorRequirement("metadata.name", "In", (name,))
    return NodeSelector((NodeSelectorTerm(match_fields=(only,)),))


def allocation(
    *names: str, node: str = NODE, tolerations: tuple[DeviceToleration, ...] = (), **fields: Any
) -> AllocationResult:
    results = tuple(
        DeviceResult("gpu", "gpu.example.com", node, name, tolerations=tolerations)
        for name in names or ("gpu-0",)
    )
    return replace(
        AllocationResult(results, node_selector=on_node(node), timestamp=STAMP), **fields
    )


def a_pod(name: str = "pod", *claims: str, **fields: Any) -> Pod:
    references = tuple(PodClaimReference(each, claim_name=each) for each in (claims or ("claim",)))
    pod = Pod("default", name, uid=f"uid-of-{name}", gates=(SCHEDULING_GATE,), claims=references)
    return replace(pod, requests=MappingProxyType({"cpu": 1000}), **fields)


def reserved(*pods: Pod) -> tuple[ConsumerReference, ...]:
    return tuple(ConsumerReference("pods", pod.name, pod.uid) for pod in pods)


def held(*pods: Pod, name: str = "claim", given: AllocationResult | None = None) -> ResourceClaim:
    return replace(
        a_claim(name=name), allocation=given or allocation(), reserved_for=reserved(*pods)
    )


def ready_node(name: str = NODE, cpu: int = 8000) -> Any:
    allocatable = MappingProxyType({"cpu": cpu, "pods": 110})
    return replace(a_node(name), ready=True, allocatable=allocatable)


def a_cluster(*pods: Pod, features: Features = Features(), ours: bool = True) -> Cluster:  # noqa: B008 - a frozen value
    cluster = Cluster(features)
    cluster.apply_namespace("default", {})
    if ours:
        cluster.apply_policy(AllocationPolicy("everything"))
    cluster.apply_class(a_class())
    for node in (NODE, "node-2"):
        cluster.apply_node(ready_node(node))
        cluster.apply_slice(a_slice(devices(2), node_name=node, pool=node))
    for pod in pods:
        cluster.apply_pod(pod)
    return cluster


# --- what is lost


def test_an_allocation_of_published_devices_stands() -> None:
    assert why_lost(a_cluster(), held()) == ""


def test_an_unallocated_claim_has_nothing_to_lose() -> None:
    assert why_lost(a_cluster(), a_claim()) == ""


@pytest.mark.parametrize("effect", [TaintEffect.NO_SCHEDULE, TaintEffect.NO_EXECUTE])
def test_a_tainted_device_is_lost_without_a_toleration(effect: TaintEffect) -> None:
    cluster = a_cluster()
    cluster.apply_taint_rule(a_taint_rule("r", a_taint("broken", effect=effect), device="gpu-0"))
    assert why_lost(cluster, held()) == (
        f"device gpu.example.com/{NODE}/gpu-0 is tainted broken:{effect.value} by DeviceTaintRule r"
    )
    tolerant = allocation(tolerations=(DeviceToleration("broken", "Exists"),))
    assert why_lost(cluster, held(given=tolerant)) == ""


def test_the_fence_is_no_taint_to_berth() -> None:
    cluster = a_cluster()
    cluster.apply_taint_rule(a_taint_rule("fence", a_taint("berth.dev/fence")))
    assert why_lost(cluster, held()) == ""


def test_taints_do_not_count_where_the_feature_is_off() -> None:
    cluster = a_cluster(features=Features(device_taints=False))
    cluster.apply_taint_rule(a_taint_rule("r"))
    assert why_lost(cluster, held()) == ""


def test_a_device_that_a_complete_newer_generation_lacks_is_lost() -> None:
    cluster = a_cluster()
    cluster.apply_slice(a_slice([a_device("gpu-1")], node_name=NODE, pool=NODE, generation=2))
    assert why_lost(cluster, held()) == (
        f"device gpu.example.com/{NODE}/gpu-0 is not published any more"
    )


def test_an_incomplete_newer_generation_says_nothing() -> None:
    cluster = a_cluster()
    newer = a_slice([a_device("gpu-1")], node_name=NODE, pool=NODE, generation=2, count=2)
    cluster.apply_slice(newer)
    assert why_lost(cluster, held()) == ""


def test_a_device_of_an_older_generation_is_lost_once_the_newer_one_is_complete() -> None:
    cluster = a_cluster()
    cluster.apply_slice(
        a_slice([a_device("gpu-1")], name="new", node_name=NODE, pool=NODE, generation=2)
    )
    assert why_lost(cluster, held()).endswith("is not published any more")
    assert why_lost(cluster, held(given=allocation("gpu-1"))) == ""


def test_a_withdrawn_pool_loses_its_devices() -> None:
    cluster = a_cluster()
    cluster.remove_slice(a_slice(node_name=NODE, pool=NODE).name)
    assert why_lost(cluster, held()).endswith("gpu-0 is not published any more")


def test_devices_of_a_node_that_is_gone_are_lost() -> None:
    cluster = a_cluster()
    cluster.remove_node(NODE)
    assert why_lost(cluster, held()) == (f"no node has these devices any more: node {NODE} is gone")
    anywhere = allocation(node_selector=label_in("zone", "a"))
    assert why_lost(cluster, held(given=anywhere)) == (
        "no node has these devices any more: every node that reaches them is gone"
    )
    assert why_lost(cluster, held(given=allocation(node_selector=None))) == ""


def test_an_allocation_without_a_timestamp_is_lost_where_binding_conditions_are_on() -> None:
    trapped = held(given=allocation(timestamp=""))
    assert why_lost(a_cluster(), trapped) == (
        "the allocation has no `allocationTimestamp`, so kube-scheduler can reserve it for nobody"
    )
    off = a_cluster(features=Features(device_binding_and_status=False))
    assert why_lost(off, trapped) == ""


def test_an_allocated_claim_that_is_being_deleted_is_lost() -> None:
    assert why_lost(a_cluster(), replace(held(), deleting=True)) == "the claim is being deleted"


# --- what may be undone

POD = a_pod()


def test_the_claim_of_a_gated_pod_is_idle() -> None:
    cluster = a_cluster(POD)
    cluster.apply_claim(held(POD))
    assert is_idle(cluster, held(POD))
    assert is_idle(cluster, held())


@pytest.mark.parametrize(
    "changed",
    [
        {"gates": ()},
        {"gates": ("other.example.com/gate",)},
        {"gates": (), "node_name": NODE},
        {"phase": "Running", "gates": (), "node_name": NODE},
        {"phase": "Succeeded"},
        {"deleting": True},
        {"uid": "another"},
    ],
)
def test_a_consumer_that_berth_does_not_hold_keeps_the_claim(changed: dict[str, Any]) -> None:
    cluster = a_cluster(replace(POD, **changed))
    assert not is_idle(cluster, held(POD))


def test_an_unknown_consumer_and_one_that_is_no_pod_keep_the_claim() -> None:
    assert not is_idle(a_cluster(), held(POD))
    foreign = ConsumerReference("things", "pod", POD.uid, "example.com")
    assert not is_idle(a_cluster(POD), replace(held(), reserved_for=(foreign,)))


def test_a_bound_pod_that_refers_to_the_claim_uses_it_without_a_reservation() -> None:
    bound = a_pod("bound", gates=(), node_name=NODE)
    cluster = a_cluster(POD, bound)
    cluster.apply_claim(held(POD))
    assert not is_idle(cluster, held(POD))
    cluster.apply_pod(replace(bound, phase="Succeeded"))
    assert is_idle(cluster, held(POD))


def test_a_claim_that_is_not_ours_is_never_undone() -> None:
    assert not is_idle(a_cluster(POD, ours=False), held(POD))


def test_only_idle_claims_are_lost_claims() -> None:
    cluster = a_cluster(POD)
    cluster.remove_node(NODE)
    assert lost_claims(cluster, (held(POD), held(a_pod("stranger")), a_claim())) == (
        Lost(held(POD), f"no node has these devices any more: node {NODE} is gone"),
    )


# --- what is to be done about a pod


def test_a_gated_pod_with_a_lost_claim_has_it_taken_back_with_all_gated_consumers() -> None:
    other = a_pod("other")
    claim = held(POD, other)
    cluster = a_cluster(POD, other)
    cluster.apply_claim(claim)
    cluster.remove_node(NODE)
    why = f"no node has these devices any more: node {NODE} is gone"
    assert decide_life(cluster, POD) == TakeBack((Lost(claim, why),), (other,))


@pytest.mark.parametrize(
    "changed", [{"gates": ()}, {"gates": (SCHEDULING_GATE, "other")}, {"deleting": True}]
)
def test_a_pod_that_is_not_berths_turn_keeps_its_claim(changed: dict[str, Any]) -> None:
    pod = replace(POD, **changed)
    cluster = a_cluster(pod)
    cluster.apply_claim(held(POD))
    cluster.remove_node(NODE)
    assert decide_life(cluster, pod) is None


def no_fit(cluster: Cluster, pod: Pod, *claims: ResourceClaim) -> NoFit:
    verdict = decide_claims(cluster, pod, claims, budget=10_000)
    assert isinstance(verdict, NoFit)
    return verdict


def two_claims(*, second_count: int = 2) -> tuple[Cluster, Pod, ResourceClaim, ResourceClaim]:
    """The first claim holds one of two devices of its node, the second one wants two."""
    from tests.support.builders import a_request

    pod = a_pod("pod", "claim", "more")
    cluster = a_cluster(pod)
    cluster.apply_slice(a_slice(devices(3), node_name="node-2", pool="node-2", generation=2))
    first = held(pod)
    second = a_claim(a_request(count=second_count), name="more")
    cluster.apply_claim(first)
    cluster.apply_claim(second)
    return cluster, pod, first, second


def test_a_claim_beside_one_that_cannot_be_had_there_is_given_up() -> None:
    cluster, pod, first, second = two_claims()
    verdict = reconsider(cluster, pod, no_fit(cluster, pod, first, second), budget=10_000)
    assert isinstance(verdict, TakeBack)
    assert [lost.claim for lost in verdict.lost] == [first]
    assert verdict.lost[0].why.startswith("the pod cannot start with it: claim default/more, ")
    # What is given up is what makes the pod fit.
    cluster.apply_claim(replace(first, allocation=None, reserved_for=()))
    anew = decide_claims(cluster, pod, (replace(first, allocation=None), second), budget=10_000)
    assert isinstance(anew, Allocate)
    assert anew.placed.node == "node-2"


def test_nothing_is_given_up_while_a_pool_of_the_node_is_incomplete() -> None:
    cluster, pod, first, second = two_claims()
    cluster.apply_slice(a_slice([], driver="net.example.com", node_name=NODE, pool=NODE, count=2))
    verdict = no_fit(cluster, pod, first, second)
    assert reconsider(cluster, pod, verdict, budget=10_000) is verdict


def test_nothing_is_given_up_that_another_pod_uses() -> None:
    cluster, pod, first, second = two_claims()
    user = a_pod("user", gates=(), node_name=NODE)
    cluster.apply_pod(user)
    shared = replace(first, reserved_for=reserved(pod, user))
    cluster.apply_claim(shared)
    verdict = no_fit(cluster, pod, shared, second)
    assert reconsider(cluster, pod, verdict, budget=10_000) is verdict


def test_a_pod_without_allocated_claims_has_nothing_to_give_up() -> None:
    cluster, pod, _, second = two_claims(second_count=9)
    verdict = no_fit(cluster, pod, second)
    assert reconsider(cluster, pod, verdict, budget=10_000) is verdict


# --- claims that are gone


def templated(**fields: Any) -> Pod:
    reference = PodClaimReference("gpu", template_name="t")
    return replace(
        a_pod(),
        claims=(reference,),
        claim_names=MappingProxyType({"gpu": "pod-gpu-abcde"}),
        **fields,
    )


def with_template(*pods: Pod) -> Cluster:
    cluster = a_cluster(*pods)
    cluster.apply_template(ResourceClaimTemplate("default", "t", a_claim().spec))
    return cluster


def test_a_recorded_claim_that_is_gone_is_asked_for() -> None:
    pod = templated()
    assert decide_life(with_template(pod), pod) == AskForClaims(
        (Missing(pod.claims[0], "pod-gpu-abcde"),)
    )
    ungated = templated(gates=())
    assert decide_life(with_template(ungated), ungated) == AskForClaims(
        (Missing(pod.claims[0], "pod-gpu-abcde"),)
    )


def test_a_claim_of_the_recorded_name_that_was_not_made_for_the_pod_counts_as_gone() -> None:
    pod = templated()
    cluster = with_template(pod)
    cluster.apply_claim(a_claim(name="pod-gpu-abcde"))
    assert isinstance(decide_life(cluster, pod), AskForClaims)
    owner = OwnerReference("Pod", pod.name, pod.uid, controller=True)
    cluster.apply_claim(replace(a_claim(name="pod-gpu-abcde"), owners=(owner,)))
    assert decide_life(cluster, pod) is None


def test_a_claim_that_nobody_can_or_should_make_is_not_asked_for() -> None:
    unrecorded = replace(templated(), claim_names=MappingProxyType({}))
    assert decide_life(with_template(unrecorded), unrecorded) is None
    pod = templated()
    assert decide_life(a_cluster(pod), pod) is None
    bound = templated(gates=(), node_name=NODE)
    assert decide_life(with_template(bound), bound) is None
    foreign = templated(gates=())
    cluster = a_cluster(foreign, ours=False)
    cluster.apply_template(ResourceClaimTemplate("default", "t", a_claim().spec))
    assert decide_life(cluster, foreign) is None


def test_asking_begins_after_a_moment_and_ends() -> None:
    pod = templated()
    verdict = AskForClaims((Missing(pod.claims[0], "pod-gpu-abcde"),))
    asked, now = Asked(), 100.0
    assert asked.pause(pod, verdict, now) == GRACE_SECONDS
    now += GRACE_SECONDS
    for attempt in range(1, ASK_ATTEMPTS + 1):
        assert asked.pause(pod, verdict, now) == 0
        assert asked.ask(pod.key, now) == attempt
        assert asked.pause(pod, verdict, now + 1) == ASK_AGAIN_SECONDS - 1
        now += ASK_AGAIN_SECONDS
    assert asked.pause(pod, verdict, now) is None
    another = AskForClaims((Missing(pod.claims[0], "pod-gpu-fghij"),))
    assert asked.pause(pod, another, now) == GRACE_SECONDS


def test_asking_in_vain_is_said() -> None:
    pod = templated()
    assert nobody_generates(pod, AskForClaims((Missing(pod.claims[0], "x"),))) == (
        "pod default/pod: claim default/x made for it cannot be found, and asking for new ones "
        "was in vain: is the resourceclaim controller of kube-controller-manager running?"
    )


# --- pods that cannot be helped


def pinned(**fields: Any) -> Pod:
    return a_pod(gates=(), required_affinity=on_node(NODE), **fields)


def test_an_ungated_pod_pinned_to_a_node_that_is_gone_is_doomed() -> None:
    pod = pinned()
    cluster = a_cluster(pod)
    cluster.apply_claim(held(pod))
    assert decide_life(cluster, pod) is None
    cluster.remove_node(NODE)
    assert decide_life(cluster, pod) == Doomed(
        f"pod default/pod: it is pinned to node {NODE}, which is gone, and the pin of a pod "
        "without a scheduling gate cannot be changed: delete the pod, so that a new one is "
        "decided anew"
    )


def test_a_pod_that_berth_has_not_let_go_is_not_called_doomed() -> None:
    pod = pinned()
    for cluster, claim in (
        (a_cluster(pod), replace(held(pod), allocation=None)),
        (a_cluster(pod, ours=False), held(pod)),
    ):
        cluster.apply_claim(claim)
        cluster.remove_node(NODE)
        assert decide_life(cluster, pod) is None
