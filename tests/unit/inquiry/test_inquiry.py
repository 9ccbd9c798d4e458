# SPDX-License-Identifier: Apache-2.0
"""A question about a pod keeps its answer while the cluster goes on changing."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from berth.decision import NoFit, NotFound, decide_claims, decide_claims_quickly, why_not_fully
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.explain.line import cause_key, one_line
from berth.explain.report import MAX_NODES
from berth.inquiry import answered, inquire
from berth.model.claims import ConsumerReference, ResourceClaim
from berth.model.pods import Pod
from berth.model.results import AllocationResult, DeviceResult
from berth.state.cluster import Cluster
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_class,
    a_node,
    a_request,
    a_slice,
    devices,
)

POD = Pod("default", "p", uid="u", requests=MappingProxyType({"cpu": 2}))
TWO = (a_claim(a_request(count=2)),)


def a_cluster(nodes: int, *, small_from: int | None = None) -> Cluster:
    """Nodes with two devices, of which claims hold the first; from some node on with little CPU."""
    cluster = Cluster()
    cluster.apply_class(a_class())
    for number in range(nodes):
        name = f"n{number:03}"
        cpu = 1 if small_from is not None and number >= small_from else 8
        cluster.apply_node(
            replace(a_node(name), allocatable=MappingProxyType({"cpu": cpu, "pods": 9}))
        )
        cluster.apply_slice(a_slice(devices(2), node_name=name))
        cluster.apply_claim(a_holder(name))
    return cluster


def a_holder(node: str) -> ResourceClaim:
    result = DeviceResult("r", DRIVER, node, "gpu-0")
    return replace(
        a_claim(name=f"holds-{node}"),
        allocation=AllocationResult(devices=(result,)),
        reserved_for=(ConsumerReference("pods", f"pod-of-{node}", "uid"),),
    )


def asked(cluster: Cluster) -> NotFound:
    verdict = decide_claims_quickly(cluster, POD, TWO, budget=DEFAULT_BUDGET)
    assert isinstance(verdict, NotFound)
    return verdict


@pytest.mark.parametrize(("nodes", "small_from"), [(1, None), (3, None), (4, 2), (MAX_NODES, 40)])
def test_a_small_cluster_gets_the_same_explanation(nodes: int, small_from: int | None) -> None:
    cluster = a_cluster(nodes, small_from=small_from)
    inquiry = inquire(cluster, POD, asked(cluster), budget=DEFAULT_BUDGET)
    thorough = decide_claims(cluster, POD, TWO, budget=DEFAULT_BUDGET)
    assert isinstance(thorough, NoFit)
    want = why_not_fully(cluster, POD, thorough, budget=DEFAULT_BUDGET)
    got = answered(inquiry)
    assert got is not None
    assert one_line(got) == one_line(want)
    assert cause_key(got) == cause_key(want)


def test_a_large_cluster_is_counted_in_full() -> None:
    cluster = a_cluster(MAX_NODES + 30, small_from=MAX_NODES + 20)
    conflict = answered(inquire(cluster, POD, asked(cluster), budget=DEFAULT_BUDGET))
    assert conflict is not None
    assert conflict.nodes == MAX_NODES + 30
    assert len(conflict.examined) == MAX_NODES
    assert conflict.unexamined == 20


def test_what_changes_after_the_question_changes_no_answer() -> None:
    cluster = a_cluster(3)
    verdict = asked(cluster)
    before = inquire(cluster, POD, verdict, budget=DEFAULT_BUDGET)
    meanwhile = inquire(cluster, POD, verdict, budget=DEFAULT_BUDGET)
    cluster.remove_claim(a_holder("n000").key)
    cluster.remove_slice("n001-gpu.example.com")
    cluster.apply_class(a_class("gpu", "false"))
    first, second = answered(before), answered(meanwhile)
    assert first is not None
    assert first == second
    assert "n000" in first.examined


def test_devices_that_are_not_of_one_node_are_part_of_the_question() -> None:
    cluster = a_cluster(2)
    cluster.apply_slice(a_slice(devices(1, prefix="net-"), name="net", pool="net", all_nodes=True))
    three = (a_claim(a_request(count=3)),)
    verdict = decide_claims_quickly(cluster, POD, three, budget=DEFAULT_BUDGET)
    assert isinstance(verdict, NotFound)
    conflict = answered(inquire(cluster, POD, verdict, budget=DEFAULT_BUDGET))
    assert conflict is not None
    assert "2 are eligible" in one_line(conflict)
