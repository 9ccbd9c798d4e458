# SPDX-License-Identifier: Apache-2.0
"""Pods that Berth's gate holds in vain, and those that it holds for a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth.audit.finding import ObjectRef, RemoveGate
from berth.audit.view import ALL_KINDS, Scope
from berth.model.pods import SCHEDULING_GATE, Pod
from berth.model.policy import AllocationPolicy
from berth.state.cluster import Cluster
from tests.support.audits import a_cluster, a_pod, a_result, an_allocation, found, holding, only
from tests.support.builders import a_slice, devices

FOUR = a_slice(devices(4))
P = ObjectRef("Pod", "ml", "p", "uid-of-p")
A = ObjectRef("ResourceClaim", "ml", "a", "uid-of-a")
ALLOCATING = Scope(allocating=True)


def gated(*claims: str, **fields: Any) -> Pod:
    return a_pod("p", *claims, phase="Pending", node_name="", gates=(SCHEDULING_GATE,), **fields)


def without_policy(*objects: object) -> Cluster:
    cluster = a_cluster(FOUR, *objects)
    cluster.remove_policy("everything")
    return cluster


def test_a_pod_with_all_its_claims_can_be_let_go_to_their_node() -> None:
    finding = only(a_cluster(FOUR, holding("a"), gated("a")), ALLOCATING)

    assert finding.evidence == (
        "pod ml/p: all its claims are allocated, but the gate is still on: claims ml/a"
    )
    assert finding.repair == RemoveGate(P, (A,), "node-1")
    assert finding.repair.text == (
        "remove Berth's scheduling gate from pod ml/p and pin it to node node-1"
    )


def test_a_pod_whose_devices_name_no_single_node_is_not_pinned() -> None:
    everywhere = holding("a", allocation=an_allocation(node=""))
    finding = only(a_cluster(FOUR, everywhere, gated("a")), ALLOCATING)

    assert finding.repair == RemoveGate(P, (A,), "")
    assert "without pinning it: its devices do not name one node" in finding.repair.text


def test_a_pod_whose_claims_are_reserved_for_others_is_not_let_go() -> None:
    claim = holding("a", pods=("q",))
    finding = only(a_cluster(FOUR, claim, gated("a"), a_pod("q", "a")), ALLOCATING)

    assert "not reserved for it" in finding.evidence
    assert finding.repair is None


def test_a_pod_that_no_policy_covers_can_be_let_go() -> None:
    idle = replace(holding("a"), allocation=None, reserved_for=())
    finding = only(without_policy(idle, gated("a")), ALLOCATING)

    assert finding.evidence == (
        "pod ml/p: no AllocationPolicy covers its claims, but the gate is still on"
    )
    assert finding.repair == RemoveGate(P)


def test_a_gate_where_nobody_allocates_is_found_without_a_repair() -> None:
    idle = replace(holding("a"), allocation=None, reserved_for=())
    cluster = a_cluster(FOUR, idle, gated("a"))

    assert found(cluster, Scope(allocating=False)) == [
        "StuckGate: pod ml/p: Berth's gate is on, but no replica of Berth allocates here"
    ]
    assert only(cluster, Scope(allocating=False)).repair is None
    assert "`berth release ml/p`" in only(cluster, Scope(allocating=False)).remedy
    assert found(cluster, Scope(allocating=None)) == []


IDLE = replace(holding("a"), allocation=None, reserved_for=())


@pytest.mark.parametrize(
    "objects",
    [
        (IDLE, gated("a")),
        (holding("a"), replace(IDLE, name="b"), gated("a", "b")),
        (holding("a"), gated("a", "missing")),
        (holding("a"), gated("a", deleting=True)),
        (holding("a"), replace(gated("a"), gates=(SCHEDULING_GATE, "queue.example.com/q"))),
        (holding("a"), replace(gated("a"), gates=("queue.example.com/q",))),
        (holding("a"), a_pod("p", "a")),
    ],
    ids=[
        "it waits for devices",
        "one of two claims waits",
        "one claim does not exist yet",
        "it is being deleted",
        "another gate holds it too",
        "the gate is another one",
        "it runs",
    ],
)
def test_other_pods_are_not_stuck(objects: tuple[object, ...]) -> None:
    assert found(a_cluster(FOUR, *objects), ALLOCATING) == []


def test_without_policies_and_namespaces_in_the_dump_coverage_is_not_judged() -> None:
    cluster = without_policy(IDLE, gated("a"))
    cluster.remove_namespace("ml")

    assert found(cluster, Scope(ALL_KINDS - {"AllocationPolicy"}, allocating=True)) == []


def test_a_namespace_that_was_not_seen_yet_is_not_judged() -> None:
    cluster = without_policy(IDLE, gated("a"))
    cluster.apply_policy(AllocationPolicy("nics", device_classes=frozenset({"nic"})))
    assert len(found(cluster, ALLOCATING)) == 1
    cluster.remove_namespace("ml")

    assert found(cluster, ALLOCATING) == []


def test_two_claims_on_one_node_pin_to_it() -> None:
    second = holding("b", a_result("gpu-1"))
    finding = only(a_cluster(FOUR, holding("a"), second, gated("a", "b")), ALLOCATING)

    assert isinstance(finding.repair, RemoveGate)
    assert (len(finding.repair.claims), finding.repair.node) == (2, "node-1")
