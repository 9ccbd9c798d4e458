# SPDX-License-Identifier: Apache-2.0
"""Single claims: each kind of finding, and what looks like it and is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from berth.audit.finding import AddFinalizer, DropConsumers, ObjectRef, Severity
from berth.audit.view import ALL_KINDS, Scope
from berth.model.claims import ClaimKey, ConsumerReference, OwnerReference
from berth.model.devices import TaintEffect
from berth.model.policy import AllocationPolicy
from berth.model.slices import ResourceSlice
from berth.state.cluster import Cluster
from tests.support.audits import (
    JUST_NOW,
    LONG_AGO,
    a_cluster,
    a_pod,
    a_result,
    a_sound_cluster,
    an_allocation,
    consumer,
    found,
    holding,
    only,
)
from tests.support.builders import a_device, a_node, a_slice, a_taint, a_taint_rule, devices

A = ObjectRef("ResourceClaim", "ml", "a", "uid-of-a")
P = a_pod("p", "a")
FOUR = a_slice(devices(4))
DEVICE = "gpu.example.com/node-1"
DONE = {"phase": "Succeeded", "finished": LONG_AGO}


# --- what was allocated


def test_a_device_of_no_slice_is_found() -> None:
    assert found(a_cluster(holding("a"), P)) == [
        f"DeviceNotPublished: claim ml/a: allocated but not published: {DEVICE}/gpu-0 (no slice "
        "of its pool)"
    ]


def test_a_device_of_an_older_generation_only_is_found() -> None:
    old = a_slice(devices(4), name="old", generation=1)
    new = a_slice([a_device("gpu-7")], name="new", generation=2)

    assert found(a_cluster(old, new, holding("a"), P)) == [
        f"DeviceNotPublished: claim ml/a: allocated but not published: {DEVICE}/gpu-0 (not in "
        "generation 2 of its pool)"
    ]


def test_devices_of_an_incomplete_pool_are_found() -> None:
    half = a_slice(devices(4), count=2, generation=3)

    assert found(a_cluster(half, holding("a"), P)) == [
        f"DeviceNotPublished: claim ml/a: allocated but not published: {DEVICE}/gpu-0 (1 of 2 "
        "slices of generation 3 of its pool)"
    ]


def test_an_older_slice_beside_a_complete_newer_generation_does_not_matter() -> None:
    old = a_slice([], name="old", generation=1, count=2)
    new = a_slice(devices(4), name="new", generation=2)

    assert found(a_cluster(old, new, holding("a"), P)) == []


def test_a_node_that_is_gone_is_found_once() -> None:
    cluster = a_sound_cluster()
    cluster.remove_node("node-1")
    cluster.remove_slice(next(iter(cluster.slices)))

    assert found(cluster) == [
        "AllocatedNodeGone: claim ml/a: allocated on a node that does not exist: node-1"
    ]


def test_devices_that_are_on_no_node_need_none() -> None:
    everywhere = a_slice(devices(4), all_nodes=True, pool="node-1")
    claim = holding("a", allocation=an_allocation(node=""))
    cluster = a_cluster(everywhere, claim, P)
    cluster.remove_node("node-1")

    assert found(cluster) == []


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("ResourceSlice", lambda cluster: cluster.remove_slice(next(iter(cluster.slices)))),
        ("Node", lambda cluster: cluster.remove_node("node-1")),
        ("Pod", lambda cluster: cluster.remove_pod(next(iter(cluster.pods)))),
    ],
)
def test_a_kind_that_may_be_missing_proves_nothing_by_absence(
    kind: str, change: Callable[[Cluster], None]
) -> None:
    cluster = a_sound_cluster()
    change(cluster)

    assert len(found(cluster)) == 1
    assert found(cluster, Scope(complete=ALL_KINDS - {kind})) == []


# --- finalizer


def test_an_allocated_claim_without_the_finalizer_can_be_repaired() -> None:
    finding = only(a_cluster(FOUR, replace(holding("a"), finalizers=("x.example.com/y",)), P))

    assert finding.kind == "FinalizerMissing"
    assert finding.repair == AddFinalizer(A)
    assert finding.repair.text == (
        "add finalizer resource.kubernetes.io/delete-protection to claim ml/a"
    )


def test_nothing_can_be_added_to_a_claim_that_is_being_deleted() -> None:
    finding = only(a_cluster(FOUR, replace(holding("a"), finalizers=(), deleting=True), P))

    assert (finding.kind, finding.repair) == ("FinalizerMissing", None)


def test_a_claim_without_an_allocation_needs_no_finalizer() -> None:
    idle = replace(holding("a"), allocation=None, reserved_for=(), finalizers=())

    assert found(a_cluster(FOUR, idle, P)) == []


# --- consumers


def test_a_consumer_that_does_not_exist_can_be_dropped() -> None:
    finding = only(a_sound_cluster(holding("b", a_result("gpu-1"), pods=("p", "gone"))))

    assert finding.evidence == "claim ml/b: reserved for 1 pod that does not exist: gone"
    assert finding.severity is Severity.WARNING
    assert finding.settles
    assert finding.repair == DropConsumers(
        ObjectRef("ResourceClaim", "ml", "b", "uid-of-b"), (consumer("gone"),)
    )


def test_a_pod_of_the_name_with_another_uid_is_no_consumer() -> None:
    claim = replace(holding("a"), reserved_for=(consumer("p", "an-earlier-uid"),))

    assert only(a_cluster(FOUR, claim, P)).repair == DropConsumers(
        A, (consumer("p", "an-earlier-uid"),)
    )


def test_a_pod_that_finished_long_ago_is_stale_but_not_dropped() -> None:
    done = a_pod("p", "a", node_name="", **DONE)
    finding = only(a_cluster(FOUR, holding("a"), done))

    assert finding.evidence == "claim ml/a: reserved for 1 pod that has finished: p"
    assert finding.repair is None


def test_a_pod_that_has_just_finished_is_left_to_the_controller() -> None:
    done = a_pod("p", "a", phase="Succeeded", finished=JUST_NOW)

    assert found(a_cluster(FOUR, holding("a"), done)) == []


def test_consumers_of_other_kinds_are_never_stale() -> None:
    held = ConsumerReference("holds", "h", "uid-of-h", api_group="example.com")
    groups = ConsumerReference("podgroups", "g", "uid-of-g", api_group="scheduling.k8s.io")
    claim = replace(holding("a"), reserved_for=(held, groups))

    assert found(a_cluster(FOUR, claim)) == []


def test_an_allocation_that_nobody_wants_for_long_is_found_without_a_repair() -> None:
    finding = only(a_cluster(FOUR, holding("a", pods=())))

    assert finding.evidence == (
        "claim ml/a: allocated without a consumer for 3 hours: no pod refers to it"
    )
    assert finding.repair is None


@pytest.mark.parametrize(
    "objects",
    [
        (holding("a", pods=(), allocation=an_allocation(at=JUST_NOW)),),
        (holding("a", pods=()), a_pod("p", "a", node_name="", phase="Pending")),
        (holding("a", pods=(), deleting=True),),
    ],
    ids=["a moment ago", "a pod is about to use it", "it is being deleted"],
)
def test_an_allocation_without_a_consumer_may_be_sound(objects: tuple[object, ...]) -> None:
    assert found(a_cluster(FOUR, *objects)) == []


def test_the_timestamp_trap_is_an_error() -> None:
    trapped = holding("a", pods=(), allocation=an_allocation(at=""))
    finding = only(a_cluster(FOUR, trapped, a_pod("p", "a", node_name="", phase="Pending")))

    assert (finding.kind, finding.severity) == ("AllocationWithoutTimestamp", Severity.ERROR)
    assert "never start" in finding.evidence
    assert finding.repair is None


def test_without_a_timestamp_a_reserved_claim_is_fine() -> None:
    assert found(a_cluster(FOUR, holding("a", allocation=an_allocation(at="")), P)) == []


# --- the loop of finished pods


def test_a_finished_pod_of_a_shared_claim_loops() -> None:
    finding = only(
        a_cluster(FOUR, holding("a", pods=("q",)), a_pod("p", "a", **DONE), a_pod("q", "a"))
    )

    assert finding.kind == "FinishedPodLoop"
    assert [str(each) for each in finding.objects] == ["claim ml/a", "pod ml/p"]
    assert finding.evidence == (
        "claim ml/a: 1 finished pod with a node refers to it and it stays allocated for pod ml/q: "
        "kube-controller-manager reserves and unreserves it without end: ml/p"
    )
    assert finding.repair is None


def test_the_loop_is_the_same_whether_the_finished_pod_is_reserved_for_or_not() -> None:
    objects = (FOUR, a_pod("p", "a", **DONE), a_pod("q", "a"))

    assert found(a_cluster(holding("a", pods=("p", "q")), *objects)) == found(
        a_cluster(holding("a", pods=("q",)), *objects)
    )


def test_a_finished_pod_of_a_claim_without_the_finalizer_loops() -> None:
    claim = replace(holding("a", pods=()), finalizers=())
    findings = found(a_cluster(FOUR, claim, a_pod("p", "a", **DONE)))

    assert [each.partition(":")[0] for each in findings] == ["FinalizerMissing", "FinishedPodLoop"]


def test_a_foreign_hold_keeps_the_loop_going() -> None:
    held = ConsumerReference("holds", "h", "uid-of-h", api_group="example.com")
    claim = replace(holding("a"), reserved_for=(held,))

    assert (
        "it stays allocated for holds.example.com h"
        in only(a_cluster(FOUR, claim, a_pod("p", "a", **DONE))).evidence
    )


@pytest.mark.parametrize(
    "pods",
    [
        (a_pod("p", "a", phase="Failed", finished=JUST_NOW), a_pod("q", "a")),
        (a_pod("p", "a", node_name="", **DONE), a_pod("q", "a")),
        (a_pod("p", **DONE), a_pod("q", "a")),
    ],
    ids=["it has just finished", "it never had a node", "it does not refer to the claim"],
)
def test_other_finished_pods_do_not_loop(pods: tuple[object, ...]) -> None:
    assert found(a_cluster(FOUR, holding("a", pods=("q",)), *pods)) == []


def test_a_generated_claim_is_not_that_of_a_pod_that_only_knows_its_name() -> None:
    owner = OwnerReference("Pod", "q", "uid-of-q", controller=True)
    claim = replace(holding("a", pods=("q",)), owners=(owner,))

    assert found(a_cluster(FOUR, claim, a_pod("q"), a_pod("p", **DONE))) == []


# --- who allocated it


@pytest.mark.parametrize("manager", ["kubectl-patch", "berth, slurm"])
def test_a_foreign_writer_of_a_claim_of_ours_is_named(manager: str) -> None:
    finding = only(a_cluster(FOUR, holding("a", allocated_by=manager), P))

    assert finding.kind == "ForeignWriter"
    assert f"`{manager.rpartition(', ')[2]}`" in finding.evidence


@pytest.mark.parametrize("manager", ["", "berth", "kube-scheduler", "kube-controller-manager"])
def test_known_writers_are_not_foreign(manager: str) -> None:
    assert found(a_cluster(FOUR, holding("a", allocated_by=manager), P)) == []


def test_who_allocates_claims_of_others_is_no_business_of_ours() -> None:
    cluster = a_cluster(FOUR, holding("a", allocated_by="slurm"), P)
    cluster.remove_policy("everything")
    cluster.apply_policy(AllocationPolicy("others", device_classes=frozenset({"nic"})))

    assert found(cluster) == []


def fenced_slice() -> ResourceSlice:
    return a_slice([a_device("gpu-0", taints=[a_taint("berth.dev/fence")])])


def test_what_the_scheduler_took_behind_the_fence_is_found() -> None:
    claim = holding("a", allocated_by="kube-scheduler")

    (by_driver,) = found(a_cluster(fenced_slice(), claim, P))
    (by_rule,) = found(
        a_cluster(
            FOUR, claim, P, a_taint_rule("f", a_taint("berth.dev/fence"), driver="gpu.example.com")
        )
    )

    assert by_driver == by_rule
    assert by_driver == (
        "FenceBroken: claim ml/a: allocated by kube-scheduler although the devices carry the "
        f"taint of Berth's fence: {DEVICE}/gpu-0"
    )


@pytest.mark.parametrize(
    ("published", "manager", "effect"),
    [
        (FOUR, "kube-scheduler", TaintEffect.NO_SCHEDULE),
        (fenced_slice(), "berth", TaintEffect.NO_SCHEDULE),
    ],
    ids=["no fence", "Berth's own"],
)
def test_allocations_beside_the_fence_are_fine(
    published: ResourceSlice, manager: str, effect: TaintEffect
) -> None:
    rule = a_taint_rule("f", a_taint("berth.dev/fence", effect=effect), driver="nic.example.com")

    assert found(a_cluster(published, holding("a", allocated_by=manager), P, rule)) == []


# --- forms


def test_names_cannot_write_to_a_terminal() -> None:
    claim = replace(holding("a"), reserved_for=(consumer("x\x1b[31m\u202ey", "u"),))
    finding = only(a_cluster(FOUR, claim, P))

    assert finding.evidence.endswith(r"x\x1b[31m\u202ey")
    assert finding.repair is not None
    assert r"x\x1b[31m" in finding.repair.text


def test_a_finding_as_json_leaves_no_field_out() -> None:
    finding = only(a_cluster(FOUR, replace(holding("a"), finalizers=()), P))

    assert finding.as_json() == {
        "kind": "FinalizerMissing",
        "severity": "warning",
        "objects": [{"kind": "ResourceClaim", "namespace": "ml", "name": "a", "uid": "uid-of-a"}],
        "evidence": "claim ml/a: allocated without finalizer "
        "resource.kubernetes.io/delete-protection: kube-controller-manager does not free it, and "
        "a deletion does not wait for its pods",
        "remedy": "add the finalizer; `berth audit --repair` does",
        "repair": {
            "action": "AddFinalizer",
            "text": "add finalizer resource.kubernetes.io/delete-protection to claim ml/a",
        },
    }


def test_another_node_is_not_the_node() -> None:
    cluster = a_sound_cluster(a_node("node-2"))
    cluster.remove_claim(ClaimKey("ml", "a"))
    cluster.apply_claim(holding("a", allocation=an_allocation(node="node-2")))

    assert found(cluster) == []
