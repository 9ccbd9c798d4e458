# SPDX-License-Identifier: Apache-2.0
"""Devices that have to be made ready for a pod (KEP-5007): waited for, failed, and too late."""

from __future__ import annotations

from collections.abc import Sequence

from berth.model.pods import SCHEDULING_GATE
from tests.support.kube_access import Json
from tests.support.lifecycle import HOLD, PATIENCE, Rig
from tests.support.manifests import devices_of, gates_of

READY, FAILED = "tests.example.com/ready", "tests.example.com/failed"


def slow(name: str) -> Json:
    return {
        "name": name,
        "bindsToNode": True,
        "bindingConditions": [READY],
        "bindingFailureConditions": [FAILED],
    }


async def slow_devices(rig: Rig, names: Sequence[str]) -> str:
    """Leave the driver with devices that have to be made ready, on one node."""
    first, second = rig.nodes
    await rig.withdraw(second)
    await rig.publish(first, [slow(name) for name in names], generation=2)
    return first


async def report(rig: Rig, claim: str, condition: str) -> None:
    """Write the condition of the claim's device, as its driver would."""
    made = await rig.kube.get("resourceclaims", claim, rig.namespace)
    (result,) = made["status"]["allocation"]["devices"]["results"]
    status = {
        "driver": result["driver"],
        "pool": result["pool"],
        "device": result["device"],
        "conditions": [
            {
                "type": condition,
                "status": "True",
                "reason": "Tested",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    await rig.kube.patch(
        "resourceclaims",
        claim,
        {"status": {"devices": [status]}},
        rig.namespace,
        subresource="status",
    )


async def given(rig: Rig, claim: str, but: str = "") -> str:
    """Wait until the claim has a device, another one than ``but``; return it."""
    made = await rig.kube.wait_for(
        "resourceclaims",
        claim,
        lambda each: devices_of(each) and devices_of(each)[0].rpartition("/")[2] != but,
        rig.namespace,
        within=PATIENCE,
        what="a device",
    )
    return devices_of(made)[0].rpartition("/")[2]


async def test_a_pod_waits_behind_its_gate_until_its_device_is_ready(rig: Rig) -> None:
    node = await slow_devices(rig, ("a", "b"))
    await rig.claim("c")
    await rig.held_pod("p", "c")
    await rig.let_berth("p")
    assert await given(rig, "c") == "a"
    made = await rig.kube.get("resourceclaims", "c", rig.namespace)
    (result,) = made["status"]["allocation"]["devices"]["results"]
    assert result["bindingConditions"] == [READY]
    assert result["bindingFailureConditions"] == [FAILED]
    assert await rig.event("p", "WaitingForDeviceBinding") == (
        f"pod {rig.namespace}/p: waiting for its devices to be ready: claim {rig.namespace}/c: "
        f"`{READY}` of device {rig.driver}/{node}/a is not True"
    )
    waiting = await rig.at_rest("pods", "p", 2)
    assert gates_of(waiting) == [SCHEDULING_GATE]
    await report(rig, "c", READY)
    assert (await rig.running("p"))["spec"]["nodeName"] == node
    assert await rig.devices("c") == [f"{node}/a"]


async def test_a_device_that_fails_is_given_up_for_another_one(rig: Rig) -> None:
    node = await slow_devices(rig, ("a", "b"))
    await rig.claim("c")
    await rig.held_pod("p", "c")
    await rig.let_berth("p")
    assert await given(rig, "c") == "a"
    await report(rig, "c", FAILED)
    assert await given(rig, "c", but="a") == "b"
    assert await rig.event("p", "ClaimReleased") == (
        f"claim {rig.namespace}/c: the allocation was taken back, to decide anew: binding device "
        f"{rig.driver}/{node}/a failed: `{FAILED}` is True"
    )
    await report(rig, "c", READY)
    await rig.running("p")
    assert await rig.devices("c") == [f"{node}/b"]


async def test_a_device_that_is_not_ready_in_time_is_given_up_for_another_one(rig: Rig) -> None:
    node = await slow_devices(rig, ("a", "b"))
    await rig.claim("c")
    await rig.held_pod("p", "c")
    await rig.let_berth("p")
    assert await given(rig, "c") == "a"
    assert await given(rig, "c", but="a") == "b"
    note = await rig.event("p", "ClaimReleased")
    assert note.endswith(
        f" s of the allocation: `{READY}` of device {rig.driver}/{node}/a is not True"
    )
    await report(rig, "c", READY)
    await rig.running("p")


async def test_what_kube_scheduler_gives_up_for_a_pod_without_a_gate_is_said(rig: Rig) -> None:
    node = await slow_devices(rig, ("a", "b"))
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    made = await rig.allocated("c", node, "a", pods=[held])
    (result,) = made["status"]["allocation"]["devices"]["results"]
    assert "bindingConditions" not in result
    # Once more, with the conditions and a time that kube-scheduler has not given up yet.
    nobody = {"status": {"allocation": None, "reservedFor": None}}
    await rig.kube.patch("resourceclaims", "c", nobody, rig.namespace, subresource="status")
    conditions = {"bindingConditions": [READY], "bindingFailureConditions": [FAILED]}
    allocation = {
        **made["status"]["allocation"],
        "devices": {"results": [{**result, **conditions}]},
        "allocationTimestamp": "2099-01-01T00:00:00Z",
    }
    status = {"allocation": allocation, "reservedFor": made["status"]["reservedFor"]}
    await rig.kube.patch(
        "resourceclaims", "c", {"status": status}, rig.namespace, subresource="status"
    )
    gates = [{"name": each, "$patch": "delete"} for each in (HOLD, SCHEDULING_GATE)]
    await rig.kube.patch(
        "pods", "p", {"spec": {"schedulingGates": gates}}, rig.namespace, kind="strategic"
    )
    await report(rig, "c", FAILED)
    assert await rig.event("p", "DeviceBindingFailed") == (
        f"claim {rig.namespace}/c: binding device {rig.driver}/{node}/a failed: `{FAILED}` is "
        "True; the device is avoided for 300 s"
    )
    # kube-scheduler takes it back itself, and gives the pod a device of its own choice.
    await rig.kube.wait_for(
        "resourceclaims",
        "c",
        lambda each: (
            each.get("status", {}).get("allocation", {}).get("allocationTimestamp")
            != "2099-01-01T00:00:00Z"
        ),
        rig.namespace,
        within=PATIENCE,
    )
