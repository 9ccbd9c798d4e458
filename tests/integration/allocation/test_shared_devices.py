# SPDX-License-Identifier: Apache-2.0
"""Devices that several claims share (KEP-5075), and devices that share counters (KEP-4815)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import claim, device_request, devices_of, is_running, pod

pytestmark = pytest.mark.usefixtures("operator")
SHARED = "shared.example.com"
PARTED = "parted.example.com"


def device_class(driver: str) -> Json:
    expression = f'device.driver == "{driver}"'
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": driver},
        "spec": {"selectors": [{"cel": {"expression": expression}}]},
    }


def resource_slice(name: str, driver: str, node: str, count: int, **content: object) -> Json:
    pool = {"name": "pool", "generation": 1, "resourceSliceCount": count}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": name},
        "spec": {"driver": driver, "nodeName": node, "pool": pool, **content},
    }


@pytest.fixture
async def published(kube: Kube) -> AsyncIterator[str]:
    """One node with a device of 80Gi that can be shared, and one that is published in parts."""
    node = min(each["metadata"]["name"] for each in await kube.list("nodes"))
    memory = {"memory": {"value": "80Gi", "requestPolicy": {"default": "10Gi"}}}
    parts = [("half-0", "40Gi"), ("half-1", "40Gi"), ("whole", "80Gi")]
    objects = [
        device_class(SHARED),
        device_class(PARTED),
        resource_slice(
            "shared",
            SHARED,
            node,
            1,
            devices=[{"name": "card", "allowMultipleAllocations": True, "capacity": memory}],
        ),
        resource_slice(
            "parted-counters",
            PARTED,
            node,
            2,
            sharedCounters=[{"name": "card", "counters": {"memory": {"value": "80Gi"}}}],
        ),
        resource_slice(
            "parted-devices",
            PARTED,
            node,
            2,
            devices=[
                {
                    "name": name,
                    "consumesCounters": [
                        {"counterSet": "card", "counters": {"memory": {"value": amount}}}
                    ],
                }
                for name, amount in parts
            ],
        ),
    ]
    for each in objects:
        await kube.create(each)
    yield node
    for each in objects:
        plural = "deviceclasses" if each["kind"] == "DeviceClass" else "resourceslices"
        await kube.delete(plural, each["metadata"]["name"])


async def test_claims_share_a_device_until_its_capacity_is_used_up(
    kube: Kube, gated_everything: str, published: str
) -> None:
    namespace = gated_everything
    request = device_request(device_class=SHARED, capacity={"requests": {"memory": "30Gi"}})
    for name in ("a", "b"):
        await kube.create(claim(name, request), namespace)
        await kube.create(pod(name, claims=(name,)), namespace)
        await kube.wait_for("pods", name, is_running, namespace)
    await kube.create(claim("c", request), namespace)
    await kube.create(pod("c", claims=("c",)), namespace)
    event = await wait_for_event(kube, namespace, "c", "ClaimAllocationFailed")
    results = [
        (await kube.get("resourceclaims", name, namespace))["status"]["allocation"]["devices"][
            "results"
        ][0]
        for name in ("a", "b")
    ]
    assert [each["consumedCapacity"] for each in results] == [{"memory": "30Gi"}] * 2
    assert len({each["shareID"] for each in results}) == 2
    assert "30Gi" in event["note"]
    assert "20Gi" in event["note"]
    await kube.delete("pods", "a", namespace)
    await kube.wait_for("pods", "c", is_running, namespace)


async def test_partitions_are_given_until_the_counter_is_used_up(
    kube: Kube, gated_everything: str, published: str
) -> None:
    namespace = gated_everything
    request = device_request(device_class=PARTED)
    for name in ("a", "b", "c"):
        await kube.create(claim(name, request), namespace)
        await kube.create(pod(name, claims=(name,)), namespace)
        if name != "c":
            await kube.wait_for("pods", name, is_running, namespace)
    event = await wait_for_event(kube, namespace, "c", "ClaimAllocationFailed")
    given = [devices_of(await kube.get("resourceclaims", name, namespace)) for name in "abc"]
    assert given == [[f"{PARTED}/pool/half-0"], [f"{PARTED}/pool/half-1"], []]
    assert "counter" in event["note"]
