# SPDX-License-Identifier: Apache-2.0
"""API objects to a filled ledger."""

from __future__ import annotations

from typing import Any

import pytest

from berth.errors import DecodeError
from berth.model.claims import ClaimKey
from berth.model.pods import PodKey
from berth.scenario.documents import ApiObject
from berth.scenario.load import expanded, load


def obj(kind: str, name: str, **fields: Any) -> ApiObject:
    return ApiObject("dump.json", {"kind": kind, "metadata": {"name": name}, **fields})


def test_every_kind_that_counts_reaches_the_ledger() -> None:
    cluster = load(
        [
            obj("Pod", "pod"),
            obj("ResourceClaim", "claim"),
            obj("ResourceClaimTemplate", "template"),
            obj("Node", "node"),
            obj("DeviceClass", "class"),
            obj("ResourceSlice", "slice", spec={"driver": "d", "pool": {"name": "p"}}),
            obj("DeviceTaintRule", "rule", spec={"taint": {"key": "k", "effect": "NoSchedule"}}),
            obj("Namespace", "ns"),
            obj("ConfigMap", "does-not-matter"),
        ],
        namespace="here",
    ).cluster

    assert set(cluster.pods) == {PodKey("here", "pod")}
    assert set(cluster.claims) == {ClaimKey("here", "claim")}
    assert set(cluster.templates) == {("here", "template")}
    assert set(cluster.nodes) == {"node"}
    assert set(cluster.classes) == {"class"}
    assert set(cluster.slices) == {"slice"}
    assert set(cluster.taint_rules) == {"rule"}
    assert cluster.knows_namespace("ns")


def test_a_pod_without_a_uid_gets_one_of_its_own() -> None:
    cluster = load([obj("Pod", "a"), obj("Pod", "b")]).cluster

    assert {pod.uid for pod in cluster.pods.values()} == {"pod:default/a", "pod:default/b"}


def test_a_mistake_names_file_object_and_field() -> None:
    with pytest.raises(DecodeError) as caught:
        load([obj("Node", "n", spec={"taints": 5})])

    assert str(caught.value) == "dump.json: node n: spec.taints: expected a list, found a number"


def test_mistakes_can_be_left_out() -> None:
    loaded = load([obj("Node", "n", spec={"taints": 5}), obj("Node", "m")], skip_mistakes=True)

    assert set(loaded.cluster.nodes) == {"m"}
    assert [each.where for each in loaded.skipped] == ["dump.json: node n"]


def test_old_versions_are_refused_with_a_remedy() -> None:
    old = obj("DeviceClass", "c", apiVersion="resource.k8s.io/v1alpha3")

    with pytest.raises(DecodeError) as caught:
        load([old])

    assert str(caught.value) == (
        "dump.json: deviceclass c: apiVersion: resource.k8s.io/v1alpha3 is not read: "
        "ask for `deviceclasses.v1.resource.k8s.io`"
    )


@pytest.mark.parametrize(
    ("kind", "spec", "count"),
    [
        ("Deployment", {"replicas": 3}, 3),
        ("StatefulSet", {}, 1),
        ("ReplicaSet", {"replicas": 0}, 0),
        ("Job", {"parallelism": 2, "completions": 10}, 2),
        ("Job", {"parallelism": 5, "completions": 3}, 3),
    ],
)
def test_a_workload_becomes_its_pods(kind: str, spec: dict[str, Any], count: int) -> None:
    workload = obj(kind, "w", spec={**spec, "template": {"spec": {"priority": 7}}})

    pods = expanded([workload])

    assert [each.obj["metadata"]["name"] for each in pods] == [f"w-{i}" for i in range(count)]
    assert all(each.obj["spec"] == {"priority": 7} for each in pods)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "dump.json: job w: spec.template: is required"),
        (
            {"template": {}, "parallelism": "2"},
            "dump.json: job w: spec.parallelism: expected a whole number from 0 to 100000",
        ),
    ],
)
def test_a_workload_that_makes_no_pods_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        expanded([obj("Job", "w", spec=spec)])

    assert str(caught.value) == message
