# SPDX-License-Identifier: Apache-2.0
"""The ledger: which claim a pod means, whose claims are ours, what is taken, who is woken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from berth.model.claims import (
    POD_CLAIM_NAME_ANNOTATION,
    ClaimKey,
    ConsumerReference,
    OwnerReference,
    ResourceClaim,
    ResourceClaimTemplate,
)
from berth.model.devices import DeviceID
from berth.model.nodes import (
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference, PodKey
from berth.model.policy import AllocationPolicy, LabelSelector, Placement
from berth.model.results import AllocationResult, DeviceResult
from berth.model.slices import DeviceClass, Selector
from berth.model.usage import NodeState
from berth.state.cluster import Cluster
from tests.support.builders import a_claim, a_class, a_device, a_node, a_slice, a_taint_rule

GPU = AllocationResult((DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-0"),))
GPU_ID = DeviceID("gpu.example.com", "node-1", "gpu-0")
DIRECT = PodClaimReference("gpu", claim_name="claim")
TEMPLATED = PodClaimReference("gpu", template_name="t")
POD = PodKey("default", "pod")
CLAIM = ClaimKey("default", "claim")


def a_pod(name: str = "pod", *, version: int = 1, gated: bool = True, **fields: Any) -> Pod:
    return replace(
        Pod(
            "default",
            name,
            uid=f"uid-of-{name}",
            resource_version=str(version),
            gates=(SCHEDULING_GATE,) if gated else (),
            claims=(DIRECT,),
        ),
        **fields,
    )


def at(
    version: int, allocation: AllocationResult | None = None, name: str = "claim"
) -> ResourceClaim:
    return replace(a_claim(name=name), resource_version=str(version), allocation=allocation)


def made_for(pod: Pod, name: str, *, created: str = "", reference: str = "gpu") -> ResourceClaim:
    return replace(
        a_claim(name=name),
        owners=(OwnerReference("Pod", pod.name, pod.uid, controller=True),),
        annotations=MappingProxyType({POD_CLAIM_NAME_ANNOTATION: reference}),
        created=created,
    )


def holders(cluster: Cluster) -> dict[DeviceID, tuple[str, ...]]:
    return dict(cluster.snapshot().allocated.holders)


# --- which claim a pod means


def test_a_named_claim_needs_no_owner() -> None:
    cluster = Cluster()
    claim = a_claim()
    cluster.apply_claim(claim)
    assert cluster.claim_of(a_pod(), DIRECT) == claim


def test_a_claim_from_a_template_must_be_owned_by_the_pod() -> None:
    cluster = Cluster()
    pod = a_pod(claims=(TEMPLATED,), claim_names={"gpu": "mine"})
    cluster.apply_claim(a_claim(name="mine"))
    assert cluster.claim_of(pod, TEMPLATED) is None
    mine = made_for(pod, "mine")
    cluster.apply_claim(mine)
    assert cluster.claim_of(pod, TEMPLATED) == mine
    assert cluster.claim_of(replace(pod, uid="another"), TEMPLATED) is None


def test_a_claim_of_the_pods_group_is_the_pods() -> None:
    cluster = Cluster()
    claim = replace(
        a_claim(name="shared"), owners=(OwnerReference("PodGroup", "g", "u", controller=True),)
    )
    cluster.apply_claim(claim)
    pod = a_pod(claims=(TEMPLATED,), claim_names={"gpu": "shared"}, pod_group="g")
    assert cluster.claim_of(pod, TEMPLATED) == claim
    assert cluster.claim_of(replace(pod, pod_group="h"), TEMPLATED) is None


def test_a_claim_that_the_pods_status_does_not_name_yet_is_found_by_its_owner() -> None:
    cluster = Cluster()
    pod = a_pod(claims=(TEMPLATED,))
    cluster.apply_claim(made_for(pod, "other", reference="nic"))
    assert cluster.claim_of(pod, TEMPLATED) is None
    first, second = made_for(pod, "b", created="1"), made_for(pod, "a", created="2")
    cluster.apply_claim(second)
    cluster.apply_claim(first)
    assert cluster.claim_of(pod, TEMPLATED) == first


def test_nothing_takes_the_place_of_a_claim_that_is_named_but_not_seen() -> None:
    cluster = Cluster()
    pod = a_pod(claims=(TEMPLATED,), claim_names={"gpu": "recorded"})
    cluster.apply_claim(made_for(pod, "orphan"))
    assert cluster.claim_of(pod, TEMPLATED) is None


def test_a_reference_that_needs_no_claim_has_none() -> None:
    cluster = Cluster()
    pod = a_pod(claims=(TEMPLATED,), claim_names={"gpu": None})
    cluster.apply_claim(made_for(pod, "orphan"))
    assert cluster.claim_of(pod, TEMPLATED) is None


def test_pods_of_a_claim_are_its_referrers_and_its_owner() -> None:
    cluster = Cluster()
    owner = a_pod("owner", claims=(TEMPLATED,))
    for pod in (a_pod("a"), a_pod("b"), owner):
        cluster.apply_pod(pod)
    cluster.apply_claim(made_for(owner, "claim"))
    assert cluster.pods_of_claim(CLAIM) == (
        PodKey("default", "a"),
        PodKey("default", "b"),
        PodKey("default", "owner"),
    )


def test_claims_of_a_pod_are_found_by_consumer_and_by_owner() -> None:
    cluster = Cluster()
    pod = a_pod()
    owned = made_for(pod, "owned")
    reserved = replace(
        a_claim(name="reserved"), reserved_for=(ConsumerReference("pods", "pod", "earlier"),)
    )
    of_namesake = made_for(replace(pod, uid="earlier"), "old")
    for claim in (owned, reserved, of_namesake, a_claim()):
        cluster.apply_claim(claim)
    assert cluster.claims_reserved_or_owned(POD, pod.uid) == (owned, reserved)
    assert cluster.claims_reserved_or_owned(POD, None) == (of_namesake, owned, reserved)


# --- whose claims are ours


def test_without_a_policy_nothing_is_ours() -> None:
    cluster = Cluster()
    assert not cluster.is_ours(a_claim())


def test_a_policy_selects_by_the_labels_of_the_namespace() -> None:
    cluster = Cluster()
    cluster.apply_policy(AllocationPolicy("p", namespace_selector=LabelSelector({"team": "a"})))
    assert not cluster.is_ours(a_claim())
    cluster.apply_namespace("default", {"team": "a"})
    assert cluster.is_ours(a_claim())
    cluster.remove_namespace("default")
    assert not cluster.is_ours(a_claim())


def test_a_policy_with_drivers_follows_what_is_published() -> None:
    cluster = Cluster()
    cluster.apply_policy(AllocationPolicy("p", drivers=frozenset({"gpu.example.com"})))
    cluster.apply_class(
        DeviceClass("gpu", (Selector('device.attributes["gpu.example.com"].model == "a"'),))
    )
    model = a_device(attributes={"gpu.example.com/model": "a"})
    cluster.apply_slice(a_slice([model]))
    cluster.apply_slice(a_slice([a_device()], name="nic", driver="nic.example.com"))
    assert cluster.is_ours(a_claim()), "the selector fails on the other driver's device"
    cluster.apply_slice(a_slice([model], name="nic", driver="nic.example.com"))
    assert not cluster.is_ours(a_claim())
    cluster.remove_slice("nic")
    assert cluster.is_ours(a_claim())


def test_placement_is_that_of_the_policy() -> None:
    cluster = Cluster()
    assert cluster.placement_policy([a_claim()]) is Placement.FIRST_FIT
    cluster.apply_policy(AllocationPolicy("p", placement=Placement.PACK))
    assert cluster.placement_policy([a_claim()]) is Placement.PACK


# --- what is taken


def test_an_assumed_device_is_taken_until_the_claim_is_seen_with_an_allocation() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    assert holders(cluster) == {GPU_ID: ("default/claim",)}
    cluster.apply_claim(at(2))
    assert list(cluster.assumed_claims) == [CLAIM], "the finalizer's write is no answer"
    cluster.apply_claim(at(3, GPU))
    assert (dict(cluster.assumed_claims), holders(cluster)) == (
        {},
        {GPU_ID: ("default/claim",)},
    )
    cluster.apply_claim(at(2))
    assert holders(cluster) == {GPU_ID: ("default/claim",)}, "a late event frees nothing"
    cluster.apply_claim(at(4))
    assert holders(cluster) == {}


def test_another_writers_allocation_replaces_what_was_assumed() -> None:
    cluster = Cluster()
    theirs = AllocationResult((DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-7"),))
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    cluster.apply_claim(at(2, theirs))
    assert holders(cluster) == {DeviceID("gpu.example.com", "node-1", "gpu-7"): ("default/claim",)}


def test_a_claim_that_was_made_anew_holds_nothing() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    cluster.apply_claim(replace(at(2), uid="new"))
    assert (dict(cluster.assumed_claims), holders(cluster)) == ({}, {})


def test_an_answer_after_the_deletion_was_seen_brings_nothing_back() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    cluster.remove_claim(CLAIM, "uid-of-claim")
    assert (dict(cluster.assumed_claims), holders(cluster)) == ({}, {})
    cluster.confirm_claim(at(2, GPU))
    assert (dict(cluster.claims), holders(cluster)) == ({}, {})


def test_an_answer_that_lost_the_allocation_frees_the_device() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    cluster.confirm_claim(at(2))
    assert (dict(cluster.assumed_claims), holders(cluster)) == ({}, {})


def test_versions_are_compared_as_numbers() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(9))
    cluster.apply_claim(at(10, GPU))
    cluster.apply_claim(at(9))
    assert cluster.claims[CLAIM].resource_version == "10"


def test_a_deletion_of_an_earlier_claim_is_ignored() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1, GPU))
    cluster.remove_claim(CLAIM, "an earlier one")
    assert holders(cluster) == {GPU_ID: ("default/claim",)}


def test_forgetting_one_claim_leaves_the_others() -> None:
    cluster = Cluster()
    second = AllocationResult((DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-1"),))
    cluster.apply_claim(at(1))
    cluster.apply_claim(at(1, name="second"))
    cluster.assume(POD, None, {CLAIM: GPU, ClaimKey("default", "second"): second})
    cluster.forget(POD, CLAIM)
    assert holders(cluster) == {DeviceID("gpu.example.com", "node-1", "gpu-1"): ("default/second",)}
    cluster.forget(POD)
    assert holders(cluster) == {}


def test_forgetting_does_not_free_what_was_seen() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    cluster.confirm_claim(at(2, GPU))
    cluster.forget(POD)
    assert holders(cluster) == {GPU_ID: ("default/claim",)}


def test_a_claim_cannot_be_assumed_twice() -> None:
    cluster = Cluster()
    cluster.apply_claim(at(1))
    cluster.assume(POD, None, {CLAIM: GPU})
    with pytest.raises(AssertionError, match="is assumed for pod default/other, but is allocated"):
        cluster.assume(PodKey("default", "other"), None, {CLAIM: GPU})


def test_two_claims_with_one_device_are_reported_once_both_are_seen() -> None:
    cluster = Cluster()
    second = ClaimKey("default", "second")
    cluster.apply_claim(at(1, GPU))
    cluster.apply_claim(at(1, name="second"))
    cluster.assume(POD, None, {second: GPU})
    assert cluster.overlaps() == ()
    cluster.apply_claim(at(2, GPU, "second"))
    assert cluster.overlaps() == ((GPU_ID, (CLAIM, second)),)
    cluster.remove_claim(second)
    assert cluster.overlaps() == ()


# --- what pods take of nodes


def pinned_to(node: str) -> NodeSelector:
    field = NodeSelectorRequirement("metadata.name", "In", (node,))
    return NodeSelector((NodeSelectorTerm(match_fields=(field,)),))


def test_a_pod_counts_from_the_decision_until_it_has_finished() -> None:
    cluster = Cluster()
    node = a_node()
    used, free = NodeState(node, {"cpu": 500}, pods=1), NodeState(node)
    cluster.apply_node(node)
    pod = a_pod(requests={"cpu": 500})
    cluster.apply_pod(pod)
    assert cluster.node_states() == (free,)
    cluster.assume(POD, "node-1", {})
    assert cluster.node_states() == (used,)
    assert cluster.node_states(POD) == (free,), "about to be decided anew"
    sent = replace(pod, gates=(), required_affinity=pinned_to("node-1"), resource_version="2")
    cluster.apply_pod(sent)
    assert cluster.node_states() == (used,)
    bound = replace(sent, node_name="node-1", phase="Running", resource_version="3")
    cluster.apply_pod(bound)
    assert cluster.node_states() == (used,)
    cluster.apply_pod(replace(bound, phase="Succeeded", resource_version="4"))
    assert cluster.node_states() == (free,)


def test_a_pod_that_an_earlier_berth_pinned_counts_before_it_is_bound() -> None:
    cluster = Cluster()
    cluster.apply_node(a_node())
    cluster.apply_pod(a_pod(gated=False, required_affinity=pinned_to("node-1")))
    assert cluster.node_states() == (NodeState(a_node(), pods=1),)


def test_nodes_are_in_order_of_name() -> None:
    cluster = Cluster()
    for name in ("b", "c", "a"):
        cluster.apply_node(Node(name))
    cluster.remove_node("c")
    assert [state.node.name for state in cluster.node_states()] == ["a", "b"]


# --- who is woken


def woken_by(cluster: Cluster, event: Callable[[], None]) -> set[str]:
    cluster.take_dirty()
    event()
    return {pod.name for pod in cluster.take_dirty()}


def test_a_pod_is_decided_again_when_it_or_its_claim_changes() -> None:
    cluster = Cluster()
    assert woken_by(cluster, lambda: cluster.apply_pod(a_pod())) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_pod(a_pod(version=2))) == set()
    other_gate = a_pod(version=3, gates=(SCHEDULING_GATE, "other"))
    assert woken_by(cluster, lambda: cluster.apply_pod(other_gate)) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_claim(at(1))) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_claim(at(2))) == set()
    assert woken_by(cluster, lambda: cluster.apply_claim(at(3, GPU))) == {"pod"}
    assert woken_by(cluster, lambda: cluster.remove_claim(CLAIM)) == {"pod"}
    assert woken_by(cluster, lambda: cluster.remove_pod(POD)) == set()


def test_a_pod_without_claims_and_gate_is_never_decided() -> None:
    cluster = Cluster()
    assert woken_by(cluster, lambda: cluster.apply_pod(a_pod(gated=False, claims=()))) == set()


def test_a_pod_is_decided_again_when_its_template_or_class_appears() -> None:
    cluster = Cluster()
    cluster.apply_pod(a_pod(claims=(TEMPLATED,)))
    cluster.apply_pod(a_pod("direct"))
    cluster.apply_claim(at(1))
    template = ResourceClaimTemplate("default", "t", a_claim().spec)
    assert woken_by(cluster, lambda: cluster.apply_template(template)) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_class(a_class("other"))) == set()
    assert woken_by(cluster, lambda: cluster.apply_class(a_class())) == {"direct"}
    assert woken_by(cluster, lambda: cluster.apply_class(a_class())) == set()


def test_a_gated_pod_is_decided_again_when_policies_change() -> None:
    cluster = Cluster()
    cluster.apply_pod(a_pod())
    assert woken_by(cluster, lambda: cluster.apply_policy(AllocationPolicy("p"))) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_policy(AllocationPolicy("p"))) == set()
    assert woken_by(cluster, lambda: cluster.apply_namespace("default", {})) == {"pod"}
    assert woken_by(cluster, lambda: cluster.apply_namespace("elsewhere", {})) == set()
    assert woken_by(cluster, lambda: cluster.remove_policy("p")) == {"pod"}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda c: c.apply_slice(a_slice([a_device("new")], name="s")), id="slice"),
        pytest.param(lambda c: c.remove_slice("known"), id="slice-gone"),
        pytest.param(lambda c: c.apply_class(a_class("other")), id="class"),
        pytest.param(lambda c: c.apply_taint_rule(a_taint_rule()), id="taint-rule"),
        pytest.param(lambda c: c.remove_taint_rule("known"), id="taint-rule-gone"),
        pytest.param(lambda c: c.apply_node(a_node(zone="b")), id="node"),
        pytest.param(lambda c: c.remove_node("node-1"), id="node-gone"),
        pytest.param(lambda c: c.apply_policy(AllocationPolicy("p")), id="policy"),
        pytest.param(lambda c: c.apply_namespace("elsewhere", {"a": "b"}), id="namespace"),
        pytest.param(lambda c: c.remove_claim(ClaimKey("default", "other")), id="claim-gone"),
        pytest.param(lambda c: c.apply_claim(at(2, None, "other")), id="device-released"),
        pytest.param(lambda c: c.remove_pod(PodKey("default", "bound")), id="pod-gone"),
    ],
)
def test_a_waiting_pod_is_woken_by_what_could_help(event: Callable[[Cluster], None]) -> None:
    cluster = Cluster()
    cluster.apply_node(a_node())
    cluster.apply_slice(a_slice([a_device()], name="known"))
    cluster.apply_taint_rule(a_taint_rule("known"))
    cluster.apply_claim(at(1, GPU, "other"))
    cluster.apply_pod(a_pod("bound", gated=False, claims=(), node_name="node-1"))
    cluster.apply_pod(a_pod(claims=()))
    cluster.wait(POD)
    assert woken_by(cluster, lambda: event(cluster)) == {"pod"}


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda c: c.apply_slice(a_slice([a_device()], name="known")), id="same-slice"),
        pytest.param(lambda c: c.apply_node(a_node()), id="same-node"),
        pytest.param(lambda c: c.apply_claim(at(1, GPU, "other")), id="device-taken"),
    ],
)
def test_a_waiting_pod_sleeps_through_the_rest(event: Callable[[Cluster], None]) -> None:
    cluster = Cluster()
    cluster.apply_node(a_node())
    cluster.apply_slice(a_slice([a_device()], name="known"))
    cluster.apply_pod(a_pod(claims=()))
    cluster.wait(POD)
    assert woken_by(cluster, lambda: event(cluster)) == set()


def test_a_write_that_failed_wakes_others_but_not_the_pod_itself() -> None:
    cluster = Cluster()
    other = a_pod("other")
    cluster.apply_claim(at(1))
    for pod in (a_pod(), other, a_pod("waiting", claims=())):
        cluster.apply_pod(pod)
        cluster.wait(pod.key)
    cluster.assume(POD, None, {CLAIM: GPU})
    assert woken_by(cluster, lambda: cluster.forget(POD)) == {"other", "waiting"}


def test_a_pod_stops_waiting_when_told_and_when_it_is_gone() -> None:
    cluster = Cluster()
    cluster.apply_pod(a_pod())
    cluster.wait(POD)
    assert cluster.waiting == {POD}
    cluster.stop_waiting(POD)
    assert cluster.waiting == set()
    cluster.wait(POD)
    cluster.remove_pod(POD)
    assert cluster.waiting == set()
    cluster.wait(POD)
    assert cluster.waiting == set()


def test_the_inventory_is_derived_anew_only_after_a_change() -> None:
    cluster = Cluster()
    cluster.apply_slice(a_slice([a_device()], name="s"))
    first = cluster.snapshot().inventory
    cluster.apply_slice(a_slice([a_device()], name="s"))
    assert cluster.snapshot().inventory is first
    cluster.apply_slice(a_slice([a_device("gpu-1")], name="s"))
    assert [str(d.id) for d in cluster.snapshot().inventory.devices] == [
        "gpu.example.com/node-1/gpu-1"
    ]
