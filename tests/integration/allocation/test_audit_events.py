# SPDX-License-Identifier: Apache-2.0
"""Beside allocation the audit speaks in events, and changes nothing of what it finds."""

from __future__ import annotations

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import claim, device_request
from tests.support.operators import OperatorProcess

FINALIZER = "resource.kubernetes.io/delete-protection"


def taken(device: str) -> Json:
    """The status of a claim that another allocator has given ``device``."""
    driver, pool, name = device.split("/")
    result = {"request": "gpu", "driver": driver, "pool": pool, "device": name}
    return {
        "status": {
            "allocation": {
                "devices": {"results": [result]},
                "allocationTimestamp": "2026-11-24T10:00:00Z",
            }
        }
    }


async def test_two_claims_that_others_gave_one_device_each_get_an_event(
    kube: Kube, gated: str, operator: OperatorProcess, devices: list[str]
) -> None:
    device = devices[-1]
    for name in ("first", "second"):
        body = claim(name, device_request())
        body["metadata"]["finalizers"] = [FINALIZER]
        await kube.create(body, gated)
        await kube.patch("resourceclaims", name, taken(device), gated, subresource="status")
    written = await kube.list("resourceclaims", gated)

    for name in ("first", "second"):
        event = await wait_for_event(kube, gated, name, "DeviceHeldTwice", within=60)
        assert (event["type"], event["regarding"]["kind"]) == ("Warning", "ResourceClaim")
        assert event["note"].startswith(
            f"device {device}: held by 2 claims: {gated}/first, {gated}/second; delete the pods"
        )

    assert await kube.list("resourceclaims", gated) == written
