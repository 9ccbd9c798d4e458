# SPDX-License-Identifier: Apache-2.0
"""Allocations that do not stand any more, of pods that have not started: undone, decided anew."""

from __future__ import annotations

import pytest

from tests.support.lifecycle import FINALIZER, Rig
from tests.support.manifests import gates_of

TAKEN_BACK = "the allocation was taken back, to decide anew"


async def taint(rig: Rig, name: str, effect: str, device: str = "a") -> None:
    await rig.kube.create(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceTaintRule",
            "metadata": {"name": name},
            "spec": {
                "deviceSelector": {"driver": rig.driver, "pool": rig.nodes[0], "device": device},
                "taint": {"key": "broken", "effect": effect},
            },
        }
    )


@pytest.mark.needs("taint rules")
async def test_a_tainted_device_is_given_up_and_another_one_taken(rig: Rig) -> None:
    first = rig.nodes[0]
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", first, "a", pods=[held])
    rule = f"{rig.namespace}-broken"
    await taint(rig, rule, "NoSchedule")
    try:
        # What Berth knows of rules cannot be seen from outside; it hears of one within moments.
        await rig.at_rest("resourceclaims", "c")
        await rig.let_berth("p")
        running = await rig.running("p")
        assert running["spec"]["nodeName"] == first
        assert await rig.devices("c") == [f"{first}/b"]
        message = (
            f"claim {rig.namespace}/c: {TAKEN_BACK}: device {rig.driver}/{first}/a is tainted "
            f"broken:NoSchedule by DeviceTaintRule {rule}"
        )
        assert await rig.event("p", "ClaimReleased") == message
        assert await rig.event("c", "ClaimReleased") == message
        made = await rig.kube.get("resourceclaims", "c", rig.namespace)
        assert [each["uid"] for each in made["status"]["reservedFor"]] == [held["metadata"]["uid"]]
        assert FINALIZER in made["metadata"]["finalizers"]
    finally:
        await rig.kube.delete("devicetaintrules", rule)


async def test_a_device_that_is_not_published_any_more_is_given_up(rig: Rig) -> None:
    first, second = rig.nodes
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", first, "a", pods=[held])
    await rig.publish(first, (), generation=2)
    await rig.let_berth("p")
    running = await rig.running("p")
    assert running["spec"]["nodeName"] == second
    assert await rig.event("p", "ClaimReleased") == (
        f"claim {rig.namespace}/c: {TAKEN_BACK}: device {rig.driver}/{first}/a is not published "
        "any more"
    )


async def test_a_withdrawn_pool_is_given_up(rig: Rig) -> None:
    first, second = rig.nodes
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", first, "a", pods=[held])
    await rig.withdraw(first)
    await rig.let_berth("p")
    assert (await rig.running("p"))["spec"]["nodeName"] == second


async def test_an_incomplete_pool_is_no_reason_to_give_up_its_devices(rig: Rig) -> None:
    first = rig.nodes[0]
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    before = await rig.allocated("c", first, "a", pods=[held])
    await rig.publish(first, (), generation=2, slices=2)
    await rig.let_berth("p")
    assert (await rig.running("p"))["spec"]["nodeName"] == first
    after = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert after["status"] == before["status"]


async def test_devices_of_a_node_that_is_gone_are_given_up(rig: Rig) -> None:
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", "nowhere", "a", pods=[held])
    await rig.let_berth("p")
    assert (await rig.running("p"))["spec"]["nodeName"] == rig.nodes[0]
    assert await rig.event("p", "ClaimReleased") == (
        f"claim {rig.namespace}/c: {TAKEN_BACK}: no node has these devices any more: "
        "node nowhere is gone"
    )


async def test_a_claim_on_a_node_that_takes_no_pods_any_more_is_given_up(rig: Rig) -> None:
    first, second = rig.nodes
    await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", first, "a", pods=[held])
    await rig.kube.patch("nodes", first, {"spec": {"unschedulable": True}})
    try:
        await rig.let_berth("p")
        assert (await rig.running("p"))["spec"]["nodeName"] == second
        note = await rig.event("p", "ClaimReleased")
        assert note.startswith(
            f"claim {rig.namespace}/c: {TAKEN_BACK}: the pod cannot start with it: "
        )
        assert "unschedulable" in note
    finally:
        await rig.kube.patch("nodes", first, {"spec": {"unschedulable": None}})


async def test_the_first_of_two_claims_is_given_up_when_its_node_has_nothing_for_the_second(
    rig: Rig,
) -> None:
    first, second = rig.nodes
    await rig.publish(second, ("a", "b", "c"), generation=2)
    for name, count in (("one", 1), ("two", 2), ("other", 1)):
        await rig.claim(name, count=count)
    held = await rig.held_pod("p", "one", "two")
    other = await rig.held_pod("other", "other")
    await rig.allocated("one", first, "a", pods=[held])
    await rig.allocated("other", first, "b", pods=[other])
    await rig.let_berth("p")
    assert (await rig.running("p"))["spec"]["nodeName"] == second
    assert sorted(await rig.devices("one") + await rig.devices("two")) == [
        f"{second}/{each}" for each in ("a", "b", "c")
    ]
    assert (await rig.event("one", "ClaimReleased")).startswith(
        f"claim {rig.namespace}/one: {TAKEN_BACK}: the pod cannot start with it: "
    )


async def test_a_claim_that_a_running_pod_uses_is_left_alone(rig: Rig) -> None:
    first = rig.nodes[0]
    await rig.claim("c")
    await rig.held_pod("user", "c")
    await rig.let_berth("user")
    await rig.running("user")
    before = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert await rig.devices("c") == [f"{first}/a"]
    await rig.publish(first, ("b",), generation=2)
    await rig.held_pod("late", "c")
    await rig.let_berth("late")
    await rig.running("late")
    after = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert after["status"]["allocation"] == before["status"]["allocation"]
    assert len(after["status"]["reservedFor"]) == 2


@pytest.mark.needs("binding conditions")
async def test_an_allocation_without_a_timestamp_is_made_anew(rig: Rig) -> None:
    await rig.claim("c")
    await rig.held_pod("p", "c")
    await rig.allocated("c", rig.nodes[1], "a", allocationTimestamp=None)
    await rig.let_berth("p")
    assert gates_of(await rig.running("p")) == []
    made = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert made["status"]["allocation"]["allocationTimestamp"].endswith("Z")
    assert await rig.event("c", "ClaimReleased") == (
        f"claim {rig.namespace}/c: {TAKEN_BACK}: the allocation has no `allocationTimestamp`, so "
        "kube-scheduler can reserve it for nobody"
    )
