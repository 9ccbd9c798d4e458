# SPDX-License-Identifier: Apache-2.0
"""The way of one claim, on a real control plane, with the chart's ServiceAccount."""

from __future__ import annotations

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.manifests import (
    claim,
    device_request,
    devices_of,
    gates_of,
    is_running,
    pod,
    template,
)
from tests.support.operators import OperatorProcess
from tests.support.releases import keeps_timestamps

FINALIZER = "resource.kubernetes.io/delete-protection"


async def test_a_pod_from_a_template_runs_on_the_node_of_its_device(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(template("one-gpu", device_request()), gated)
    await kube.create(pod("p", templates=("one-gpu",)), gated)
    running = await kube.wait_for("pods", "p", is_running, gated)
    (made,) = await kube.list("resourceclaims", gated)
    (device,) = devices_of(made)
    allocation = made["status"]["allocation"]
    node = running["spec"]["nodeName"]
    assert device.startswith(f"gpu.example.com/{node}/gpu-")
    assert gates_of(running) == []
    assert FINALIZER in made["metadata"]["finalizers"]
    assert allocation["nodeSelector"] == {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
        ]
    }
    assert allocation.get("allocationTimestamp", "").endswith("Z") is keeps_timestamps()
    assert [entry["uid"] for entry in made["status"]["reservedFor"]] == [running["metadata"]["uid"]]


async def test_the_event_names_node_and_devices(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("mine", device_request(count=2)), gated)
    await kube.create(pod("p", claims=("mine",)), gated)
    running = await kube.wait_for("pods", "p", is_running, gated)
    made = await kube.get("resourceclaims", "mine", gated)
    first, second = devices_of(made)
    event = await wait_for_event(kube, gated, "p", "ClaimsAllocated")
    assert event["type"] == "Normal"
    assert event["note"] == (f"node {running['spec']['nodeName']}: claim mine: {first}, {second}")


async def test_a_shared_claim_is_allocated_once_and_reserved_for_both_pods(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("shared", device_request()), gated)
    await kube.create_all([pod("a", claims=("shared",)), pod("b", claims=("shared",))], gated)
    pods = [await kube.wait_for("pods", name, is_running, gated) for name in ("a", "b")]
    made = await kube.get("resourceclaims", "shared", gated)
    assert len(devices_of(made)) == 1
    assert {entry["uid"] for entry in made["status"]["reservedFor"]} == {
        each["metadata"]["uid"] for each in pods
    }
    assert len({each["spec"]["nodeName"] for each in pods}) == 1


async def test_two_claims_of_a_pod_land_on_one_node(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(template("four", device_request(count=4)), gated)
    await kube.create(template("three", device_request(count=3)), gated)
    await kube.create(pod("p", templates=("four", "three")), gated)
    running = await kube.wait_for("pods", "p", is_running, gated)
    devices = [
        device for each in await kube.list("resourceclaims", gated) for device in devices_of(each)
    ]
    assert len(set(devices)) == 7
    assert {device.split("/")[1] for device in devices} == {running["spec"]["nodeName"]}


async def test_a_pod_whose_claims_are_not_ours_loses_its_gate_at_once(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("foreign", device_request(device_class="not-ours.example.com")), gated)
    await kube.create(pod("p", claims=("foreign",)), gated)
    seen = await kube.wait_for("pods", "p", lambda each: not gates_of(each), gated)
    made = await kube.get("resourceclaims", "foreign", gated)
    assert "affinity" not in seen["spec"]
    assert "allocation" not in made.get("status", {})


async def test_a_pod_with_one_foreign_claim_gets_none_of_its_claims_allocated(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("ours", device_request()), gated)
    await kube.create(claim("foreign", device_request(device_class="not-ours.example.com")), gated)
    await kube.create(pod("p", claims=("ours", "foreign")), gated)
    event = await wait_for_event(kube, gated, "p", "ClaimAllocationFailed")
    assert event["note"] == (
        f"pod {gated}/p: claim {gated}/foreign is not covered by any AllocationPolicy while the "
        "pod's other claims are: Berth allocates all claims of a pod or none"
    )
    for each in await kube.list("resourceclaims", gated):
        assert "allocation" not in each.get("status", {})


async def test_a_pod_with_a_node_is_not_gated(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    (node, *_) = await kube.list("nodes")
    await kube.create(claim("c", device_request()), gated)
    made = await kube.create(pod("p", claims=("c",), nodeName=node["metadata"]["name"]), gated)
    assert gates_of(made) == []


async def test_devices_come_back_when_the_pod_is_gone(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(template("all-of-a-node", device_request(count=8)), gated)
    node = min(each["metadata"]["name"] for each in await kube.list("nodes"))
    selector = {"kubernetes.io/hostname": node}
    for name in ("first", "second"):
        await kube.create(pod(name, templates=("all-of-a-node",), nodeSelector=selector), gated)
        await kube.wait_for("pods", name, is_running, gated)
        await kube.delete("pods", name, gated)
        await kube.wait_gone("pods", name, gated)


async def test_other_annotations_and_finalizers_are_left_alone(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    body = claim("c", device_request())
    body["metadata"]["annotations"] = {"a.example.com/x": "1"}
    body["metadata"]["finalizers"] = ["a.example.com/hold"]
    await kube.create(body, gated)
    await kube.create(pod("p", claims=("c",)), gated)
    await kube.wait_for("pods", "p", is_running, gated)
    made = await kube.get("resourceclaims", "c", gated)
    await kube.patch("resourceclaims", "c", {"metadata": {"finalizers": [FINALIZER]}}, gated)
    assert made["metadata"]["annotations"] == {"a.example.com/x": "1"}
    assert sorted(made["metadata"]["finalizers"]) == sorted(["a.example.com/hold", FINALIZER])


async def test_a_pod_that_another_gate_holds_gets_its_devices_when_that_gate_goes(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    other = "queue.example.com/admission"
    await kube.create(claim("c", device_request()), gated)
    await kube.create(pod("p", claims=("c",), schedulingGates=[{"name": other}]), gated)
    # A pod that was made later is served: Berth has looked at both.
    await kube.create(claim("later", device_request()), gated)
    await kube.create(pod("q", claims=("later",)), gated)
    await kube.wait_for("pods", "q", is_running, gated)
    held = await kube.get("pods", "p", gated)
    made = await kube.get("resourceclaims", "c", gated)
    assert sorted(gates_of(held)) == ["berth.dev/dra", other]
    assert devices_of(made) == []
    gone = {"spec": {"schedulingGates": [{"name": other, "$patch": "delete"}]}}
    await kube.patch("pods", "p", gone, gated, kind="strategic")
    await kube.wait_for("pods", "p", is_running, gated)


async def test_a_pod_that_kube_scheduler_cannot_place_is_reported_and_gives_back(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    nowhere = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"app": "nobody"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    await kube.create(claim("c", device_request()), gated)
    await kube.create(pod("p", claims=("c",), affinity=nowhere), gated)
    event = await wait_for_event(kube, gated, "p", "AllocatedPodUnschedulable")
    seen = await kube.get("pods", "p", gated)
    assert event["note"].startswith(
        f"pod {gated}/p: its claims are allocated, but kube-scheduler cannot place it: 0/"
    )
    assert "nodeAffinity" not in seen["spec"]["affinity"]
    await kube.delete("pods", "p", gated)
    await kube.wait_for("resourceclaims", "c", lambda each: not devices_of(each), gated)
