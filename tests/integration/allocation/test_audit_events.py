# SPDX-License-Identifier: Apache-2.0
"""Beside allocation the audit speaks in events, and changes nothing of what it finds."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import claim, device_request, is_running, pod
from tests.support.operators import OperatorProcess

pytestmark = pytest.mark.timeout(300)
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


async def test_the_loop_of_a_finished_pod_is_found_and_ends_with_the_pod(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    # Upstream's, not Berth's: kube-controller-manager adds and removes the finished pod for ever.
    await kube.create(claim("shared", device_request()), gated)
    await kube.create_all([pod(name, claims=("shared",)) for name in ("done", "goes-on")], gated)
    for name in ("done", "goes-on"):
        await kube.wait_for("pods", name, is_running, gated, within=60)
    began = operator.log_path.stat().st_size
    await kube.patch(
        "pods", "done", {"status": {"phase": "Succeeded"}}, gated, subresource="status"
    )

    event = await wait_for_event(kube, gated, "done", "FinishedPodLoop", within=120)
    assert event["note"].startswith(
        f"claim {gated}/shared: 1 finished pod with a node refers to it and it stays allocated for "
        f"pod {gated}/goes-on: "
    )
    assert event["note"].endswith("; delete the finished pods")

    await kube.delete("pods", "done", gated)
    await asyncio.to_thread(
        operator.wait_for_log, "fault found by the audit is gone", after=began, within=120
    )
    made = await kube.get("resourceclaims", "shared", gated)
    assert [each["name"] for each in made["status"]["reservedFor"]] == ["goes-on"]
