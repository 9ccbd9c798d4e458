# SPDX-License-Identifier: Apache-2.0
"""Pods that ask for extended resources which a DeviceClass stands for."""

from __future__ import annotations

import yaml

from berth.decision import Allocate, NoFit, decide_claims, why_not
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.explain.line import one_line
from berth.model.claims import ClaimKey
from berth.model.pods import PodKey
from berth.scenario.documents import ScenarioText
from berth.scenario.load import Loaded
from berth.scenario.parse import parse_scenario
from berth.simulate.answer import Answer
from berth.simulate.ask import ask_pod
from berth.simulate.record import scenario_of
from berth.simulate.run import open_scenario, simulate

CLUSTER = """
cluster:
  fleets:
  - {nodes: 1, devices: [{count: 2}]}
  - {nodes: 1, allocatable: {example.com/gpu: "4"}}
  objects:
  - apiVersion: resource.k8s.io/v1
    kind: DeviceClass
    metadata: {name: by-name, creationTimestamp: "2026-01-01T00:00:00Z"}
    spec:
      extendedResourceName: example.com/gpu
      selectors: [{cel: {expression: device.driver == "gpu.example.com"}}]
claims:
- {name: two, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 2}}]}
- {name: one, requests: [{name: g, exactly: {deviceClassName: gpu.example.com}}]}
"""
NOTE = (
    "example.com/gpu stands for devices of class by-name: kube-scheduler makes a claim for them "
    "and allocates it, Berth does not"
)


def opened(pods: str) -> Loaded:
    text = CLUSTER + pods
    return open_scenario(parse_scenario(ScenarioText("s.yaml", yaml.safe_load(text))))[0]


def ask(pods: str, *, fully: bool = False) -> Answer:
    cluster = opened(pods).cluster
    return ask_pod(cluster, cluster.pods[PodKey("default", "p")], fully=fully)


def devices(answer: Answer) -> dict[str, tuple[str, ...]]:
    return {str(each.claim): each.devices for each in answer.held}


def test_devices_stand_for_a_resource_that_the_node_does_not_advertise() -> None:
    found = ask("pods: [{name: p, requests: {example.com/gpu: '2'}}]")

    assert (found.fits, found.node) == (True, "node-0")
    assert devices(found) == {
        "default/p-extended-resources": (
            "gpu.example.com/node-0/gpu-0",
            "gpu.example.com/node-0/gpu-1",
        )
    }
    assert NOTE in found.notes


def test_a_node_that_advertises_the_resource_serves_it_without_devices() -> None:
    found = ask("pods: [{name: p, requests: {example.com/gpu: '3'}}]")

    assert (found.fits, found.node, devices(found)) == (True, "node-1", {})


def test_a_no_names_the_device_plugin_that_is_short_and_the_devices_that_are() -> None:
    found = ask("pods: [{name: p, requests: {example.com/gpu: '5'}}]", fully=True)

    assert found.conflict is not None
    assert not found.fits
    assert [each.reason.resource for each in found.conflict.refused] == ["example.com/gpu"]  # type: ignore[union-attr] # the test is that it is ResourceShort
    assert [str(each.request) for each in found.conflict.requests] == ["container-0-request-0"]
    assert (found.conflict.nodes, found.conflict.examined) == (2, ("node-0",))
    assert NOTE in found.notes


def test_nodes_that_lack_devices_for_other_claims_are_counted_too() -> None:
    found = ask("pods: [{name: p, claims: [two], requests: {example.com/gpu: '1'}}]")

    assert found.conflict is not None
    # node-0 lacks a third device, node-1 has the resource and no devices for claim two.
    assert (found.conflict.nodes, found.conflict.refused_nodes) == (2, 0)
    assert (len(found.conflict.examined), found.conflict.unexamined) == (1, 1)


def test_the_operator_writes_its_own_claims_only_and_leaves_room_for_the_rest() -> None:
    cluster = opened("pods: [{name: p, claims: [one], requests: {example.com/gpu: '1'}}]").cluster
    pod = cluster.pods[PodKey("default", "p")]
    claim = cluster.claims[ClaimKey("default", "one")]

    verdict = decide_claims(cluster, pod, (claim,), budget=DEFAULT_BUDGET)

    assert isinstance(verdict, Allocate)
    assert (verdict.claims, verdict.allocated, verdict.placed.node) == ((claim,), (), "node-0")
    assert [[d.device for d in r.devices] for r in verdict.placed.results] == [["gpu-0"]]
    assert verdict.extended is not None
    assert verdict.extended.allocation is not None
    assert [d.device for d in verdict.extended.allocation.devices] == ["gpu-1"]


def test_without_a_class_the_node_is_short_of_the_resource() -> None:
    cluster = opened("pods: [{name: p, requests: {example.com/gpu: '5'}}]").cluster
    cluster.remove_class("by-name")
    pod = cluster.pods[PodKey("default", "p")]

    verdict = decide_claims(cluster, pod, (), budget=DEFAULT_BUDGET)

    assert isinstance(verdict, NoFit)
    assert [each.node for each in verdict.outcome.refused] == ["node-0", "node-1"]
    assert "example.com/gpu" in one_line(why_not(cluster, pod, verdict, budget=DEFAULT_BUDGET))


MADE = """
- apiVersion: resource.k8s.io/v1
  kind: ResourceClaim
  metadata:
    name: p-extended-resources-abcde
    uid: c
    annotations: {resource.kubernetes.io/extended-resource-claim: "true"}
    ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]
  spec:
    devices:
      requests:
      - {name: container-0-request-0, exactly: {deviceClassName: by-name, count: 2}}
  status:
    allocation:
      devices:
        results:
        - {request: container-0-request-0, driver: gpu.example.com, pool: node-0, device: gpu-0}
        - {request: container-0-request-0, driver: gpu.example.com, pool: node-0, device: gpu-1}
pods:
- apiVersion: v1
  kind: Pod
  metadata: {name: p, uid: u}
  spec:
    containers: [{name: c, resources: {requests: {example.com/gpu: "2"}}}]
- {name: other, claims: [one]}
"""


def test_a_claim_that_kube_scheduler_has_made_is_in_use() -> None:
    cluster = opened(MADE).cluster

    own = ask_pod(cluster, cluster.pods[PodKey("default", "p")])
    other = ask_pod(cluster, cluster.pods[PodKey("default", "other")])

    assert [(str(each.claim), each.is_now) for each in own.held] == [
        ("default/p-extended-resources-abcde", True)
    ]
    assert not other.fits
    assert "default/p-extended-resources-abcde" in other.reason


def test_what_a_pod_would_get_is_in_use_for_those_after_it() -> None:
    text = CLUSTER + "pods: [{name: p, requests: {example.com/gpu: '2'}}, {name: q, claims: [one]}]"
    loaded, wanted = open_scenario(parse_scenario(ScenarioText("s.yaml", yaml.safe_load(text))))

    first, second = simulate(loaded.cluster, wanted)[:2]

    assert (first.fits, second.fits) == (True, False)
    assert "default/p-extended-resources" in second.reason


def test_a_saved_scenario_keeps_the_class_of_the_resource() -> None:
    loaded = opened("pods: [{name: p, requests: {example.com/gpu: '2'}}]")
    answer = ask_pod(loaded.cluster, loaded.cluster.pods[PodKey("default", "p")])

    saved = yaml.safe_load(scenario_of(loaded, answer))

    classes = [each for each in saved["cluster"]["objects"] if each["kind"] == "DeviceClass"]
    assert [each["metadata"]["name"] for each in classes] == ["by-name"]
    assert saved["expect"]["pods"]["default/p"]["node"] == "node-0"
