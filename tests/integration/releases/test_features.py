# SPDX-License-Identifier: Apache-2.0
"""Each feature of DRA once, from a pod to its node, on the release under test at its defaults.

A feature that the release has not switched on is skipped, and counted as that.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.releases.conftest import WITHIN, opted_in, until_gated
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import DRA, claim, device_request, devices_of, is_running, pod

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

NODE = "node-0"
DENY = {"key": "example.com/broken", "effect": "NoSchedule"}


async def publish(kube: Kube, name: str, *devices: Json, **spec: Any) -> str:
    """Publish a pool of devices on one node, with a class for them; return the driver."""
    driver = f"{name}.example.com"
    parts = [{"devices": list(devices)}]
    if spec:
        parts.insert(0, spec)
    for number, part in enumerate(parts):
        pool = {"name": NODE, "generation": 1, "resourceSliceCount": len(parts)}
        await kube.create(
            {
                "apiVersion": DRA,
                "kind": "ResourceSlice",
                "metadata": {"name": f"{name}-{number}"},
                "spec": {"driver": driver, "nodeName": NODE, "pool": pool, **part},
            }
        )
    await kube.create(
        {
            "apiVersion": DRA,
            "kind": "DeviceClass",
            "metadata": {"name": driver},
            "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{driver}'"}}]},
        }
    )
    return driver


async def ask(kube: Kube, namespace: str, name: str, *requests: Json) -> None:
    await kube.create(claim(name, *requests), namespace)
    await kube.create(pod(name, claims=(name,)), namespace)


async def allocated(kube: Kube, namespace: str, name: str) -> Json:
    """Wait until the pod of the same name runs, and return its claim."""
    await kube.wait_for("pods", name, is_running, namespace, within=WITHIN, what="running")
    return await kube.get("resourceclaims", name, namespace)


async def refused(kube: Kube, namespace: str, name: str) -> str:
    """Wait for Berth's word that the pod cannot have its devices, and return it."""
    await kube.wait_all(
        "events",
        lambda events: any(
            each["reason"] == "ClaimAllocationFailed" and each["regarding"]["name"] == name
            for each in events
        ),
        namespace,
        within=WITHIN,
        what=f"a refusal of {name}",
    )
    found = await kube.get("resourceclaims", name, namespace)
    assert "allocation" not in found.get("status", {})
    (event, *_) = await kube.events(namespace, name, "ClaimAllocationFailed")
    return str(event["note"])


@pytest.mark.needs("prioritized list")
async def test_the_first_alternative_that_fits_is_taken(kube: Kube, gated: str) -> None:
    driver = await publish(kube, "either", {"name": "d0"})
    two = {"name": "two", "deviceClassName": driver, "count": 2}
    one = {"name": "one", "deviceClassName": driver}
    await ask(kube, gated, "either", {"name": "r", "firstAvailable": [two, one]})
    found = await allocated(kube, gated, "either")
    (result,) = found["status"]["allocation"]["devices"]["results"]
    assert (result["request"], result["device"]) == ("r/one", "d0")


@pytest.mark.needs("admin access")
async def test_an_administrator_reaches_a_device_that_is_in_use(kube: Kube) -> None:
    namespace = await opted_in(kube, **{"resource.kubernetes.io/admin-access": "true"})
    await until_gated(kube, namespace)
    driver = await publish(kube, "admin", {"name": "d0"})
    await ask(kube, namespace, "user", device_request(device_class=driver))
    await allocated(kube, namespace, "user")
    await ask(kube, namespace, "admin", device_request(device_class=driver, adminAccess=True))
    found = await allocated(kube, namespace, "admin")
    (result,) = found["status"]["allocation"]["devices"]["results"]
    assert (result["device"], result["adminAccess"]) == ("d0", True)


@pytest.mark.needs("device taints")
async def test_a_tainted_device_is_for_those_who_tolerate_it(kube: Kube, gated: str) -> None:
    driver = await publish(kube, "tainted", {"name": "d0", "taints": [DENY]}, {"name": "d1"})
    await ask(kube, gated, "plain", device_request(device_class=driver))
    assert devices_of(await allocated(kube, gated, "plain")) == [f"{driver}/{NODE}/d1"]
    tolerant = device_request(
        device_class=driver, tolerations=[{"key": DENY["key"], "operator": "Exists"}]
    )
    await ask(kube, gated, "tolerant", tolerant)
    assert devices_of(await allocated(kube, gated, "tolerant")) == [f"{driver}/{NODE}/d0"]


@pytest.mark.needs("taint rules")
async def test_a_rule_taints_a_device_that_is_published_without(kube: Kube, gated: str) -> None:
    driver = await publish(kube, "ruled", {"name": "d0"}, {"name": "d1"})
    await kube.create(
        {
            "apiVersion": DRA,
            "kind": "DeviceTaintRule",
            "metadata": {"name": "broken"},
            "spec": {
                "deviceSelector": {"driver": driver, "pool": NODE, "device": "d0"},
                "taint": DENY,
            },
        }
    )
    await ask(kube, gated, "ruled", device_request(device_class=driver))
    assert devices_of(await allocated(kube, gated, "ruled")) == [f"{driver}/{NODE}/d1"]


@pytest.mark.needs("partitionable devices")
async def test_partitions_share_the_counters_of_their_device(kube: Kube, gated: str) -> None:
    def part(name: str, amount: str) -> Json:
        memory = {"memory": {"value": amount}}
        return {"name": name, "consumesCounters": [{"counterSet": "card", "counters": memory}]}

    driver = await publish(
        kube,
        "parts",
        part("half-0", "5Gi"),
        part("half-1", "5Gi"),
        part("whole", "10Gi"),
        sharedCounters=[{"name": "card", "counters": {"memory": {"value": "10Gi"}}}],
    )
    for name, device in (("first", "half-0"), ("second", "half-1")):
        await ask(kube, gated, name, device_request(device_class=driver))
        assert devices_of(await allocated(kube, gated, name)) == [f"{driver}/{NODE}/{device}"]
    await ask(kube, gated, "third", device_request(device_class=driver))
    assert "memory" in await refused(kube, gated, "third")


@pytest.mark.needs("consumable capacity")
async def test_a_shared_device_is_full_when_its_capacity_is(kube: Kube, gated: str) -> None:
    shared = {
        "name": "d0",
        "allowMultipleAllocations": True,
        "capacity": {"memory": {"value": "10Gi"}},
    }
    driver = await publish(kube, "shared", shared)
    wants = device_request(device_class=driver, capacity={"requests": {"memory": "4Gi"}})
    shares = set()
    for name in ("first", "second"):
        await ask(kube, gated, name, wants)
        found = await allocated(kube, gated, name)
        (result,) = found["status"]["allocation"]["devices"]["results"]
        assert (result["device"], result["consumedCapacity"]) == ("d0", {"memory": "4Gi"})
        shares.add(result["shareID"])
    assert len(shares) == 2
    await ask(kube, gated, "third", wants)
    assert "memory" in await refused(kube, gated, "third")


@pytest.mark.needs("binding conditions")
async def test_a_device_that_is_ready_later_holds_its_pod_back(kube: Kube, gated: str) -> None:
    fabric = {
        "name": "d0",
        "bindsToNode": True,
        "bindingConditions": ["example.com/attached"],
        "bindingFailureConditions": ["example.com/failed"],
    }
    driver = await publish(kube, "fabric", fabric)
    await ask(kube, gated, "fabric", device_request(device_class=driver))
    found = await kube.wait_for(
        "resourceclaims",
        "fabric",
        lambda item: item.get("status", {}).get("allocation"),
        gated,
        within=WITHIN,
    )
    (result,) = found["status"]["allocation"]["devices"]["results"]
    assert result["bindingConditions"] == fabric["bindingConditions"]
    assert result["bindingFailureConditions"] == fabric["bindingFailureConditions"]
    attached = {
        "type": "example.com/attached",
        "status": "True",
        "reason": "Attached",
        "message": "",
        "lastTransitionTime": found["status"]["allocation"]["allocationTimestamp"],
    }
    status = {"driver": driver, "pool": NODE, "device": "d0", "conditions": [attached]}
    await kube.patch(
        "resourceclaims", "fabric", {"status": {"devices": [status]}}, gated, subresource="status"
    )
    await allocated(kube, gated, "fabric")


@pytest.mark.needs("extended resources")
async def test_an_extended_resource_is_left_to_kube_scheduler(kube: Kube, gated: str) -> None:
    driver = await publish(kube, "extended", {"name": "d0"})
    name = "example.com/card"
    await kube.patch("deviceclasses", driver, {"spec": {"extendedResourceName": name}})
    manifest = pod("extended", requests={name: "1"})
    manifest["spec"]["containers"][0]["resources"]["limits"] = {name: "1"}
    await kube.create(manifest, gated)
    await kube.wait_for("pods", "extended", is_running, gated, within=WITHIN, what="running")
    (made,) = await kube.list("resourceclaims", gated)
    assert devices_of(made) == [f"{driver}/{NODE}/d0"]
    assert made["metadata"]["annotations"] == {
        "resource.kubernetes.io/extended-resource-claim": "true"
    }
