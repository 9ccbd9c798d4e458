# SPDX-License-Identifier: Apache-2.0
"""Pods without a gate behind the fence: what Berth gives, what kube-scheduler does with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.events import wait_for_event
from tests.support.kube import Kube, KubeError
from tests.support.kube_access import Json
from tests.support.manifests import (
    GPU_CLASS,
    claim,
    device_request,
    devices_of,
    gates_of,
    is_running,
    pod,
    template,
)
from tests.support.operators import OperatorProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.needs("taint rules"),
]

WITHIN = 60
GATE = {"name": "berth.dev/dra"}
OTHER_CLASS = "nic.example.com"
EXTENDED = "example.com/gpu"
STAMP = "2026-11-24T00:00:00Z"
TOLERATION_MESSAGE = "tolerate each taint by its own key"
POLICIES_WITHIN = 15
"""Seconds; the API server was seen to take one to put an admission policy into force."""


def on_node(name: str) -> Json:
    """The node selector of an allocation for one node."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}
    return {"nodeSelectorTerms": [term]}


def allocation(node: str, device: str, **more: object) -> Json:
    result = {"request": "gpu", "driver": GPU_CLASS, "pool": node, "device": device}
    return {"devices": {"results": [result]}, "nodeSelector": on_node(node), **more}


async def node_of(kube: Kube, namespace: str, name: str) -> str:
    running = await kube.wait_for("pods", name, is_running, namespace, within=WITHIN)
    return str(running["spec"]["nodeName"])


async def until_judged(kube: Kube, namespace: str, manifest: Json, *, admitted: bool) -> None:
    """Wait until the API server would admit ``manifest``, or not; creates nothing."""
    deadline = asyncio.get_running_loop().time() + POLICIES_WITHIN
    while True:
        try:
            await kube.create(manifest, namespace, dry_run=True)
            seen = True
        except KubeError as error:
            if TOLERATION_MESSAGE not in error.message:
                raise
            seen = False
        if seen is admitted:
            return
        assert asyncio.get_running_loop().time() < deadline, f"still admitted: {seen}"
        await asyncio.sleep(0.1)


async def one_claim(kube: Kube, namespace: str) -> Json:
    (made,) = await kube.list("resourceclaims", namespace)
    return made


@pytest.fixture
async def unfenced_class(kube: Kube) -> AsyncIterator[str]:
    """A second driver with one device on each node, which nobody fences."""
    names = [each["metadata"]["name"] for each in await kube.list("nodes")]
    selector = {"cel": {"expression": f"device.driver == '{OTHER_CLASS}'"}}
    manifest = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": OTHER_CLASS},
        "spec": {"selectors": [selector]},
    }
    await kube.create(manifest)
    for name in names:
        await kube.create(
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceSlice",
                "metadata": {"name": f"{name}-{OTHER_CLASS}"},
                "spec": {
                    "driver": OTHER_CLASS,
                    "nodeName": name,
                    "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
                    "devices": [{"name": "nic-0"}],
                },
            }
        )
    yield OTHER_CLASS
    for name in names:
        await kube.delete("resourceslices", f"{name}-{OTHER_CLASS}")
    await kube.delete("deviceclasses", OTHER_CLASS)


async def test_a_pod_without_a_gate_runs_where_berth_put_its_devices(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(template("gpu", device_request()), opted_in)
    made = await kube.create(pod("p", templates=("gpu",)), opted_in)
    assert gates_of(made) == []
    node = await node_of(kube, opted_in, "p")
    allocated = await one_claim(kube, opted_in)
    assert devices_of(allocated)[0].startswith(f"{GPU_CLASS}/{node}/gpu-")
    assert allocated["status"]["allocation"]["nodeSelector"] == on_node(node)
    assert allocated["status"]["allocation"]["allocationTimestamp"].endswith("Z")
    assert [each["uid"] for each in allocated["status"]["reservedFor"]] == [made["metadata"]["uid"]]
    managers = {
        each["manager"]
        for each in allocated["metadata"]["managedFields"]
        if "f:allocation" in each["fieldsV1"].get("f:status", {})
    }
    assert "kube-scheduler" not in managers
    running = await kube.get("pods", "p", opted_in)
    assert "affinity" not in running["spec"]


async def test_a_pod_that_carries_a_gate_is_allocated_pinned_and_let_go(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(template("gpu", device_request()), opted_in)
    await kube.create(pod("p", templates=("gpu",), schedulingGates=[GATE]), opted_in)
    node = await node_of(kube, opted_in, "p")
    running = await kube.get("pods", "p", opted_in)
    assert gates_of(running) == []
    required = running["spec"]["affinity"]["nodeAffinity"]
    assert required["requiredDuringSchedulingIgnoredDuringExecution"] == on_node(node)


async def test_an_allocation_that_kube_scheduler_takes_back_is_made_again_elsewhere(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    # Berth does not weigh affinity between pods, and tries nodes by name.
    other = pod("keep-away", nodeName="node-0")
    other["metadata"]["labels"] = {"keep": "away"}
    await kube.create(other, opted_in)
    away = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"keep": "away"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    await kube.create(template("gpu", device_request()), opted_in)
    await kube.create(pod("p", templates=("gpu",), affinity=away), opted_in)
    assert await node_of(kube, opted_in, "p") == "node-1"
    event = await wait_for_event(kube, opted_in, "p", "AllocationTakenBack", within=WITHIN)
    assert event["note"].startswith(
        f"pod {opted_in}/p: kube-scheduler took back what was allocated on node node-0: "
    )
    assert devices_of(await one_claim(kube, opted_in))[0].startswith(f"{GPU_CLASS}/node-1/")


async def test_an_allocation_on_a_full_node_by_somebody_else_is_made_again_where_there_is_room(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    filler = pod("filler", requests={"cpu": "31"}, nodeName="node-0")
    await kube.create(filler, opted_in)
    await kube.wait_for("pods", "filler", is_running, opted_in, within=WITHIN)
    await kube.create(claim("c", device_request()), opted_in)
    allocated = {"allocation": allocation("node-0", "gpu-3", allocationTimestamp=STAMP)}
    await kube.patch("resourceclaims", "c", {"status": allocated}, opted_in, subresource="status")
    await kube.create(pod("p", claims=("c",), requests={"cpu": "4"}), opted_in)
    assert await node_of(kube, opted_in, "p") == "node-1"
    assert devices_of(await one_claim(kube, opted_in))[0].startswith(f"{GPU_CLASS}/node-1/")


async def test_berth_does_not_choose_a_node_that_is_full(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(pod("filler", requests={"cpu": "31"}, nodeName="node-0"), opted_in)
    await kube.create(template("gpu", device_request()), opted_in)
    await kube.create(pod("p", templates=("gpu",), requests={"cpu": "4"}), opted_in)
    assert await node_of(kube, opted_in, "p") == "node-1"
    assert await kube.events(opted_in, "p", "AllocationTakenBack") == []


async def test_nodes_are_tried_one_after_the_other_until_kube_scheduler_takes_one(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    together = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {"matchLabels": {"come": "together"}},
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    await kube.create(template("gpu", device_request()), opted_in)
    await kube.create(pod("p", templates=("gpu",), affinity=together), opted_in)
    await wait_for_event(kube, opted_in, "p", "AllocatedPodUnschedulable", within=WITHIN)
    attracts = pod("attracts", nodeName="node-3")
    attracts["metadata"]["labels"] = {"come": "together"}
    await kube.create(attracts, opted_in)
    assert await node_of(kube, opted_in, "p") == "node-3"
    refused = [
        line["node"]
        for line in operator.lines()
        if line.get("event") == "allocation taken back" and line["pod"] == f"{opted_in}/p"
    ]
    assert refused == ["node-0", "node-1", "node-2"]


async def test_two_fenced_claims_of_a_pod_are_allocated_together(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(template("two", device_request(count=2)), opted_in)
    await kube.create(template("one", device_request()), opted_in)
    await kube.create(pod("p", templates=("two", "one")), opted_in)
    node = await node_of(kube, opted_in, "p")
    given = [d for each in await kube.list("resourceclaims", opted_in) for d in devices_of(each)]
    assert len(set(given)) == 3
    assert {device.split("/")[1] for device in given} == {node}


async def test_a_shared_claim_serves_two_pods(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("shared", device_request()), opted_in)
    await kube.create_all([pod("a", claims=("shared",)), pod("b", claims=("shared",))], opted_in)
    nodes = {await node_of(kube, opted_in, name) for name in ("a", "b")}
    assert len(nodes) == 1
    assert len((await one_claim(kube, opted_in))["status"]["reservedFor"]) == 2


async def test_nothing_is_written_for_a_pod_with_a_claim_that_is_not_berths(
    kube: Kube, opted_in: str, operator: OperatorProcess, unfenced_class: str
) -> None:
    await kube.create(claim("ours", device_request()), opted_in)
    await kube.create(claim("foreign", device_request(device_class=unfenced_class)), opted_in)
    before = await kube.list("resourceclaims", opted_in)
    await kube.create(pod("p", claims=("ours", "foreign")), opted_in)
    event = await wait_for_event(kube, opted_in, "p", "ClaimAllocationFailed", within=WITHIN)
    assert event["note"] == (
        f"pod {opted_in}/p: claim {opted_in}/foreign is not covered by any AllocationPolicy while "
        "the pod's other claims are: Berth allocates all claims of a pod or none"
    )
    after = await kube.list("resourceclaims", opted_in)
    assert [each["metadata"]["resourceVersion"] for each in after] == [
        each["metadata"]["resourceVersion"] for each in before
    ]


async def test_a_claim_that_kube_scheduler_may_allocate_too_is_left_to_it(
    kube: Kube, opted_in: str, operator: OperatorProcess, unfenced_class: str
) -> None:
    await kube.create(claim("nic", device_request("nic", unfenced_class)), opted_in)
    await kube.create(pod("p", claims=("nic",)), opted_in)
    await node_of(kube, opted_in, "p")
    assert await kube.events(opted_in, "p", "ClaimAllocationFailed") == []


async def test_an_extended_resource_of_a_fenced_class_is_told_and_nothing_is_written(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    name = f"deviceclass.resource.kubernetes.io/{GPU_CLASS}"
    asking = pod("p", requests={name: "1", "cpu": "100m"})
    asking["spec"]["containers"][0]["resources"]["limits"] = {name: "1"}
    await kube.create(asking, opted_in)
    event = await wait_for_event(kube, opted_in, "p", "ClaimAllocationFailed", within=WITHIN)
    assert event["note"] == (
        f"pod {opted_in}/p: extended resource {name} stands for DeviceClass {GPU_CLASS}, and "
        f"devices of driver {GPU_CLASS} are fenced: only kube-scheduler allocates extended "
        "resources, and only Berth fenced devices; hint: ask for the class in a ResourceClaim, or "
        "take the driver out of the fence"
    )
    assert await kube.list("resourceclaims", opted_in) == []


async def test_a_pod_with_a_claim_and_such_an_extended_resource_gets_nothing(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    name = f"deviceclass.resource.kubernetes.io/{GPU_CLASS}"
    await kube.create(claim("c", device_request()), opted_in)
    asking = pod("p", claims=("c",), requests={name: "1"})
    asking["spec"]["containers"][0]["resources"]["limits"] = {name: "1"}
    await kube.create(asking, opted_in)
    await wait_for_event(kube, opted_in, "p", "ClaimAllocationFailed", within=WITHIN)
    assert "allocation" not in (await one_claim(kube, opted_in)).get("status", {})


async def test_an_extended_resource_becomes_a_claim_where_the_chart_converts_it(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    for count in (1, 2):
        await kube.create(template(f"gpu-{count}", device_request(count=count)), opted_in)
    asking = pod("p", requests={"cpu": "100m", EXTENDED: "2"})
    (first,) = asking["spec"]["containers"]
    first["resources"]["limits"] = {EXTENDED: "2"}
    second = {"resources": {"limits": {EXTENDED: "1", "cpu": "1"}}, "image": "example.com/none:1"}
    asking["spec"]["containers"] += [
        {"name": "second", **second},
        {"name": "third", "image": "example.com/none:1"},
    ]
    asking["spec"]["initContainers"] = [{"name": "early", **second}]
    made = await kube.create(asking, opted_in)
    references = {
        each["name"]: each["resourceClaimTemplateName"] for each in made["spec"]["resourceClaims"]
    }
    assert sorted(references.values()) == ["gpu-1", "gpu-1", "gpu-2"]
    used = {
        each["name"]: [references[c["name"]] for c in each.get("resources", {}).get("claims", [])]
        for each in (*made["spec"]["initContainers"], *made["spec"]["containers"])
    }
    assert used == {"early": ["gpu-1"], "main": ["gpu-2"], "second": ["gpu-1"], "third": []}
    asked = {**made["spec"]["containers"][0]["resources"]["requests"]}
    assert asked == {"cpu": "100m"}
    await node_of(kube, opted_in, "p")
    given = [d for each in await kube.list("resourceclaims", opted_in) for d in devices_of(each)]
    assert len(set(given)) == 4


async def test_pods_without_such_a_resource_are_left_as_they_are(kube: Kube, opted_in: str) -> None:
    made = await kube.create(pod("p", requests={"cpu": "1"}), opted_in, dry_run=True)
    assert "resourceClaims" not in made["spec"]


async def test_a_claim_that_was_allocated_without_a_timestamp_is_reserved_and_its_pod_runs(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(claim("trapped", device_request()), opted_in)
    status = {"allocation": allocation("node-2", "gpu-2")}
    await kube.patch(
        "resourceclaims", "trapped", {"status": status}, opted_in, subresource="status"
    )
    await kube.create(pod("p", claims=("trapped",)), opted_in)
    assert await node_of(kube, opted_in, "p") == "node-2"
    seen = await one_claim(kube, opted_in)
    assert "allocationTimestamp" not in seen["status"]["allocation"]


async def test_a_pod_that_fits_nowhere_is_explained_and_served_when_devices_come_free(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    await kube.create(template("all", device_request(count=4)), opted_in)
    names = [f"p{n}" for n in range(4)]
    await kube.create_all([pod(name, templates=("all",)) for name in names], opted_in)
    nodes = [await node_of(kube, opted_in, name) for name in names]
    await kube.create(pod("late", templates=("all",)), opted_in)
    event = await wait_for_event(kube, opted_in, "late", "ClaimAllocationFailed", within=WITHIN)
    assert "gpu" in event["note"]
    await kube.delete("pods", "p2", opted_in)
    assert await node_of(kube, opted_in, "late") == nodes[2]


@pytest.mark.parametrize(
    ("toleration", "admitted"),
    [
        pytest.param({"operator": "Exists"}, False, id="everything"),
        pytest.param({"operator": "Exists", "effect": "NoSchedule"}, False, id="one effect"),
        pytest.param({"operator": "Exists", "effect": "NoExecute"}, True, id="eviction only"),
        pytest.param({"key": "berth.dev/fence", "operator": "Exists"}, False, id="the fence"),
        pytest.param(
            {"key": "berth.dev/fence", "operator": "Equal", "value": "reserved"},
            False,
            id="the fence and its value",
        ),
        pytest.param({"key": "example.com/broken", "operator": "Exists"}, True, id="another key"),
    ],
)
@pytest.mark.parametrize("alternatives", [False, True])
@pytest.mark.parametrize("kind", ["claim", "template"])
async def test_claims_that_would_go_through_the_fence_are_refused(
    kube: Kube, opted_in: str, toleration: Json, *, admitted: bool, alternatives: bool, kind: str
) -> None:
    body = {"deviceClassName": GPU_CLASS, "tolerations": [toleration]}
    request: Json = {"name": "gpu", "exactly": body}
    if alternatives:
        request = {"name": "gpu", "firstAvailable": [{"name": "first", **body}]}
    made = claim("c", request) if kind == "claim" else template("c", request)
    if admitted:
        await kube.create(made, opted_in, dry_run=True)
        return
    with pytest.raises(KubeError, match=TOLERATION_MESSAGE) as caught:
        await kube.create(made, opted_in, dry_run=True)
    assert caught.value.status == 422


async def test_a_claim_is_judged_when_it_is_created_and_never_after(
    kube: Kube, opted_in: str, operator: OperatorProcess
) -> None:
    # As one that is older than the policy: made while the policy is not bound.
    binding = await kube.get("validatingadmissionpolicybindings", "berth-fence-tolerations")
    await kube.delete("validatingadmissionpolicybindings", "berth-fence-tolerations")
    tolerant = claim("old", device_request(tolerations=[{"operator": "Exists"}]))
    try:
        await until_judged(kube, opted_in, tolerant, admitted=True)
        await kube.create(tolerant, opted_in)
    finally:
        metadata = {key: binding["metadata"][key] for key in ("name", "labels", "annotations")}
        await kube.create({**binding, "metadata": metadata})
    newer = claim("newer", device_request(tolerations=[{"operator": "Exists"}]))
    await until_judged(kube, opted_in, newer, admitted=False)
    await kube.create(pod("p", claims=("old",)), opted_in)
    # It goes through the fence, so it is kube-scheduler's.
    await node_of(kube, opted_in, "p")
    await kube.delete("pods", "p", opted_in, grace_seconds=0)
    await kube.delete("resourceclaims", "old", opted_in)
    await kube.wait_gone("resourceclaims", "old", opted_in, within=WITHIN)
