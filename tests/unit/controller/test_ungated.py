# SPDX-License-Identifier: Apache-2.0
"""Pods without a gate: Berth's where the fence keeps kube-scheduler away, and nobody's else."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from berth.controller.decide import Allocate, Blocked, Leave, Refused, Stuck, Verdict, decide
from berth.controller.ungated import NOT_OURS, OPENING
from berth.decision import NoFit
from berth.model.claims import ConsumerReference, ResourceClaim
from berth.model.fence import FENCE_KEY
from berth.model.pods import SCHEDULING_GATE, ExtendedRequest, Pod, PodClaimReference
from berth.model.policy import AllocationPolicy
from berth.model.results import AllocationResult, DeviceResult
from berth.model.tolerations import DeviceToleration
from berth.state.cluster import Cluster
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_class,
    a_device,
    a_node,
    a_request,
    a_slice,
    a_taint,
    a_taint_rule,
)

OTHER = "nic.example.com"
BUDGET = 10_000
RULE = a_taint_rule("f", a_taint(FENCE_KEY, "reserved"), driver=DRIVER)
OURS = PodClaimReference("gpu", claim_name="claim")
NIC = PodClaimReference("nic", claim_name="nic")
POD = Pod("default", "pod", uid="u", claims=(OURS,))
UNSCHEDULABLE = "0/2 nodes are available: 2 cannot allocate all claims."
GIVEN = AllocationResult((DeviceResult("gpu", DRIVER, "node-1", "gpu-0"),), timestamp="t")
RESERVED = (ConsumerReference("pods", "pod", "u"),)


def a_cluster(
    *claims: ResourceClaim, settled: bool = True, classes: tuple[str, ...] = ()
) -> Cluster:
    """Two nodes with a fenced GPU each, and one unfenced NIC; the policy covers ``classes``."""
    cluster = Cluster()
    cluster.apply_namespace("default", {})
    cluster.apply_policy(AllocationPolicy("p", device_classes=frozenset(classes) or None))
    cluster.apply_class(a_class())
    cluster.apply_class(a_class("nic", driver=OTHER))
    for node in ("node-1", "node-2"):
        cluster.apply_node(replace(a_node(node), allocatable=MappingProxyType({"pods": 10})))
        cluster.apply_slice(a_slice([a_device("gpu-0")], node_name=node))
    cluster.apply_slice(a_slice([a_device("nic-0")], name="nics", driver=OTHER))
    cluster.apply_taint_rule(RULE)
    if settled:
        cluster.settle_fence(RULE)
    for each in claims or (a_claim(),):
        cluster.apply_claim(each)
    return cluster


def decided(cluster: Cluster, pod: Pod = POD, *refused: str, fenced: bool = True) -> Verdict:
    cluster.apply_pod(pod)
    return decide(cluster, pod, budget=BUDGET, fenced=fenced, refused=frozenset(refused))


def node_of(verdict: Verdict) -> str:
    assert isinstance(verdict, Allocate), verdict
    return verdict.placed.node


@pytest.mark.parametrize("fenced", [True, False])
def test_a_claim_whose_devices_are_all_fenced_is_allocated_in_every_mode(*, fenced: bool) -> None:
    assert node_of(decided(a_cluster(), fenced=fenced)) == "node-1"


def test_a_gate_of_somebody_else_holds_it_off() -> None:
    assert decided(a_cluster(), replace(POD, gates=("example.com/quota",))) == NOT_OURS


def test_a_rule_that_has_not_settled_fences_nothing() -> None:
    assert decided(a_cluster(settled=False)) == NOT_OURS


def test_a_claim_that_no_policy_covers_is_left_alone() -> None:
    assert decided(a_cluster(classes=("nic",))) == NOT_OURS


@pytest.mark.parametrize("gates", [(), (SCHEDULING_GATE,)])
def test_after_a_fence_came_down_berth_rests_until_that_has_settled(gates: tuple[str, ...]) -> None:
    cluster = a_cluster()
    cluster.remove_taint_rule("f")
    pod = replace(POD, gates=gates)
    assert decided(cluster, pod) == (OPENING if gates else NOT_OURS)
    cluster.settle_fence(RULE)
    verdict = decided(cluster, pod)
    if gates:
        assert node_of(verdict) == "node-1"
    else:
        assert verdict == NOT_OURS


def test_an_unfenced_claim_is_kube_schedulers_until_it_says_that_it_cannot() -> None:
    cluster = a_cluster(a_claim(a_request(device_class="nic")))
    assert decided(cluster) == NOT_OURS
    stuck = replace(POD, unschedulable_message=UNSCHEDULABLE)
    assert decided(cluster, stuck, fenced=False) == NOT_OURS
    assert decided(cluster, stuck) == Blocked(
        "pod default/pod, claim default/claim: request gpu of class nic also matches devices of "
        "driver nic.example.com, which are not all fenced, so that kube-scheduler may allocate "
        "it: Berth leaves it alone; hint: fence them, or narrow the class or the request to "
        "fenced devices"
    )


def test_a_claim_that_tolerates_the_fence_is_left_alone_with_a_reason() -> None:
    tolerant = a_request(tolerations=[DeviceToleration(operator="Exists")])
    stuck = replace(POD, unschedulable_message=UNSCHEDULABLE)
    assert decided(a_cluster(a_claim(tolerant)), stuck, fenced=False) == Blocked(
        "pod default/pod, claim default/claim: request gpu tolerates the taint berth.dev/fence, "
        "so that kube-scheduler may allocate it: Berth leaves it alone; hint: tolerate single "
        "taints by their keys"
    )


def test_a_pod_with_a_fenced_and_an_unfenced_claim_gets_neither() -> None:
    both = replace(POD, claims=(OURS, NIC))
    nic = a_claim(a_request("nic", device_class="nic"), name="nic")
    verdict = decided(a_cluster(a_claim(), nic), both)
    assert isinstance(verdict, Blocked)
    assert verdict.message.startswith("pod default/pod, claim default/nic: request nic of class")


def test_a_pod_with_a_fenced_claim_and_one_that_is_not_ours_gets_neither() -> None:
    both = replace(POD, claims=(OURS, NIC))
    nic = a_claim(a_request("nic", device_class="nic"), name="nic")
    assert decided(a_cluster(a_claim(), nic, classes=("gpu",)), both) == Blocked(
        "pod default/pod: claim default/nic is not covered by any AllocationPolicy while the "
        "pod's other claims are: Berth allocates all claims of a pod or none"
    )


def test_a_missing_claim_is_waited_for() -> None:
    assert decided(a_cluster(), replace(POD, claims=(OURS, NIC))) == NOT_OURS


def test_refused_nodes_are_not_taken_while_another_has_the_devices() -> None:
    assert node_of(decided(a_cluster(), POD, "node-1")) == "node-2"


def test_where_only_refused_nodes_are_left_the_pod_rests() -> None:
    pod = replace(POD, unschedulable_message="0/2 nodes are available")
    assert decided(a_cluster(), pod, "node-1", "node-2") == Refused(
        "pod default/pod: kube-scheduler took back what was allocated on node-1, node-2, and no "
        "other node has the devices: 0/2 nodes are available; Berth tries again in a while"
    )


def test_a_pod_that_fits_nowhere_is_not_refused_but_told_why() -> None:
    verdict = decided(a_cluster(a_claim(a_request(count=9))), POD, "node-1")
    assert isinstance(verdict, NoFit)
    assert len(verdict.nodes) == 2


def test_an_allocated_claim_is_left_to_kube_scheduler_to_reserve() -> None:
    assert decided(a_cluster(replace(a_claim(), allocation=GIVEN))) == NOT_OURS


def test_an_allocation_without_a_timestamp_is_reserved_because_nobody_else_can() -> None:
    trapped = replace(a_claim(), allocation=replace(GIVEN, timestamp=""))
    verdict = decided(a_cluster(trapped))
    assert isinstance(verdict, Allocate)
    assert (verdict.claims, verdict.allocated) == ((), (trapped,))


@pytest.mark.parametrize(
    ("message", "want"),
    [
        pytest.param("", NOT_OURS, id="nothing said"),
        pytest.param(UNSCHEDULABLE, NOT_OURS, id="said before the allocation"),
        pytest.param(
            "1 Insufficient cpu",
            Stuck(
                "pod default/pod: its claims are allocated, but kube-scheduler cannot place it: "
                "1 Insufficient cpu"
            ),
            id="said after it",
        ),
    ],
)
def test_an_allocated_pod_is_stuck_only_by_what_is_said_after(message: str, want: Leave) -> None:
    cluster = a_cluster(replace(a_claim(), allocation=GIVEN, reserved_for=RESERVED))
    assert decided(cluster, replace(POD, unschedulable_message=message)) == want


EXTENDED = "example.com/gpu"
ASKING = Pod(
    "default",
    "pod",
    uid="u",
    extended_requests=(ExtendedRequest(0, 0, EXTENDED, 1),),
    unschedulable_message=UNSCHEDULABLE,
)
NOBODY = (
    "pod default/pod: extended resource example.com/gpu stands for DeviceClass gpu, and devices of "
    "driver gpu.example.com are fenced: only kube-scheduler allocates extended resources, and only "
    "Berth fenced devices; hint: ask for the class in a ResourceClaim, or take the driver out of "
    "the fence"
)


def with_extended(cluster: Cluster) -> Cluster:
    cluster.apply_class(replace(a_class(), extended_resource_name=EXTENDED))
    return cluster


def test_an_extended_resource_behind_the_fence_is_told_when_kube_scheduler_gave_up() -> None:
    cluster = with_extended(a_cluster())
    assert decided(cluster, ASKING) == Blocked(NOBODY)
    assert decided(cluster, replace(ASKING, unschedulable_message="")) == NOT_OURS


def test_one_that_a_device_plugin_serves_is_kube_schedulers() -> None:
    cluster = with_extended(a_cluster())
    node = replace(a_node("plugin"), allocatable=MappingProxyType({EXTENDED: 4}))
    cluster.apply_node(node)
    assert decided(cluster, ASKING) == NOT_OURS


@pytest.mark.parametrize("gates", [(), (SCHEDULING_GATE,)])
def test_a_pod_with_a_claim_and_such_a_resource_is_not_even_begun(gates: tuple[str, ...]) -> None:
    pod = replace(ASKING, claims=(OURS,), gates=gates, unschedulable_message="")
    assert decided(with_extended(a_cluster()), pod) == Blocked(NOBODY)
