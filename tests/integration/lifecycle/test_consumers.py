# SPDX-License-Identifier: Apache-2.0
"""Consumers of claims: as many as there can be, and how they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.kube_access import Json
from tests.support.lifecycle import PATIENCE, Rig
from tests.support.manifests import device_request, gates_of, is_running, pod, template
from tests.support.operators import OperatorProcess

LIMIT = 256


async def one_device(rig: Rig) -> str:
    """Leave the driver with a single device, and return its node."""
    first, second = rig.nodes
    await rig.publish(first, ("a",), generation=2)
    await rig.withdraw(second)
    return first


async def test_the_257th_consumer_is_told_and_waits_until_one_leaves(rig: Rig) -> None:
    await rig.claim("shared")
    made = await rig.allocated("shared", rig.nodes[0], "a")
    others = [
        {"apiGroup": "tests.berth.dev", "resource": "things", "name": f"t{n}", "uid": f"uid-{n}"}
        for n in range(LIMIT - 2)
    ]
    status = {"allocation": made["status"]["allocation"], "reservedFor": others}
    await rig.kube.patch(
        "resourceclaims", "shared", {"status": status}, rig.namespace, subresource="status"
    )
    try:
        for name in ("p255", "p256"):
            await rig.kube.create(pod(name, claims=("shared",)), rig.namespace)
            await rig.running(name)
        await rig.kube.create(pod("p257", claims=("shared",)), rig.namespace)
        assert await rig.event("p257", "ClaimAllocationFailed") == (
            f"pod {rig.namespace}/p257, claim {rig.namespace}/shared: the claim is reserved for "
            "256 consumers, which is the limit"
        )
        await rig.kube.delete("pods", "p255", rig.namespace)
        await rig.running("p257")
        full = await rig.kube.get("resourceclaims", "shared", rig.namespace)
        assert len(full["status"]["reservedFor"]) == LIMIT
    finally:
        await rig.kube.delete_all("pods", rig.namespace)
        await rig.kube.wait_all("pods", lambda items: not items, rig.namespace, within=PATIENCE)
        # Consumers that are no pods are nobody's to remove, not even kube-controller-manager's.
        nobody = {"status": {"allocation": None, "reservedFor": None}}
        await rig.kube.patch(
            "resourceclaims", "shared", nobody, rig.namespace, subresource="status"
        )


async def test_many_pods_that_share_a_claim_do_not_get_in_each_others_way(
    rig: Rig, operator: OperatorProcess
) -> None:
    many = 60
    await rig.claim("shared")
    before = operator.log_path.stat().st_size
    await rig.kube.create_all(
        [pod(f"p{n}", claims=("shared",)) for n in range(many)], rig.namespace
    )
    await rig.kube.wait_all(
        "pods",
        lambda items: len(items) == many and all(is_running(each) for each in items),
        rig.namespace,
        within=PATIENCE,
        what="all pods running",
    )
    shared = await rig.kube.get("resourceclaims", "shared", rig.namespace)
    assert len(shared["status"]["reservedFor"]) == many
    lost = [
        line
        for line in operator.lines(before)
        if line.get("event") in {"claim changed under the write", "write refused"}
    ]
    # One after the other, on the newest version: what is left is kube-scheduler's doing.
    assert len(lost) < many


async def end(rig: Rig, name: str, how: str) -> None:
    if how in {"Succeeded", "Failed"}:
        await rig.kube.patch(
            "pods", name, {"status": {"phase": how}}, rig.namespace, subresource="status"
        )
    else:
        grace = 0 if how == "force-deleted" else None
        await rig.kube.delete("pods", name, rig.namespace, grace_seconds=grace)


@pytest.mark.parametrize("how", ["Succeeded", "Failed", "deleted", "force-deleted"])
async def test_devices_of_a_pod_that_has_ended_go_to_the_next(rig: Rig, how: str) -> None:
    node = await one_device(rig)
    await rig.claim("mine")
    await rig.kube.create(template("t", device_request("gpu", rig.driver)), rig.namespace)
    await rig.kube.create(pod("user", claims=("mine",)), rig.namespace)
    await rig.running("user")
    await rig.kube.create(pod("second", templates=("t",)), rig.namespace)
    await rig.event("second", "ClaimAllocationFailed")
    await end(rig, "user", how)
    assert (await rig.running("second"))["spec"]["nodeName"] == node
    mine = await rig.kube.wait_for(
        "resourceclaims",
        "mine",
        lambda each: "allocation" not in each.get("status", {}),
        rig.namespace,
        within=PATIENCE,
    )
    assert mine.get("status", {}).get("reservedFor", []) == []
    # The same once more, for a claim that was made for the pod.
    await rig.kube.create(pod("third", claims=("mine",)), rig.namespace)
    await rig.event("third", "ClaimAllocationFailed")
    await end(rig, "second", how)
    await rig.running("third")


async def test_a_pod_deleted_while_gated_gives_its_device_back(rig: Rig) -> None:
    node = await one_device(rig)
    await rig.claim("c")
    await rig.claim("next")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", node, "a", pods=[held])
    await rig.kube.create(pod("next", claims=("next",)), rig.namespace)
    await rig.event("next", "ClaimAllocationFailed")
    await rig.kube.delete("pods", "p", rig.namespace)
    await rig.running("next")
    assert await rig.devices("c") == []


async def test_pods_deleted_at_any_moment_of_their_allocation_leave_nothing(rig: Rig) -> None:
    await rig.kube.create(template("t", device_request("gpu", rig.driver)), rig.namespace)

    async def brief_life(number: int) -> None:
        await rig.kube.create(pod(f"p{number}", templates=("t",)), rig.namespace)
        # Spread over the time that an allocation takes, from before it to after it.
        await asyncio.sleep(0.02 * number)
        await rig.kube.delete("pods", f"p{number}", rig.namespace)

    await asyncio.gather(*(brief_life(number) for number in range(16)))
    await rig.kube.wait_all(
        "resourceclaims",
        lambda items: not items,
        rig.namespace,
        within=PATIENCE,
        what="no claims of pods that are gone",
    )
    # The ledger agrees with the API server: every device can be had.
    await rig.claim("all", count=2)
    await rig.claim("rest", count=2)
    for name in ("all", "rest"):
        await rig.kube.create(pod(name, claims=(name,)), rig.namespace)
    pods: Sequence[Json] = [await rig.running(name) for name in ("all", "rest")]
    assert all(gates_of(each) == [] for each in pods)
