# SPDX-License-Identifier: Apache-2.0
"""Claims that are deleted under their pods, and claims of the same name that come after them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.kube_access import Json
from tests.support.lifecycle import HOLD, PATIENCE, Rig
from tests.support.manifests import device_request, gates_of, pod, template


def names_in(pod: Json) -> list[str]:
    entries = pod.get("status", {}).get("resourceClaimStatuses") or ()
    return [entry["resourceClaimName"] for entry in entries]


async def generated_under_a_held_pod(rig: Rig, *, count: int = 1) -> tuple[Json, list[str]]:
    await rig.kube.create(template("t", device_request("gpu", rig.driver)), rig.namespace)
    manifest = pod("p", templates=("t",) * count, schedulingGates=[{"name": HOLD}])
    await rig.kube.create(manifest, rig.namespace)
    seen = await rig.kube.wait_for(
        "pods", "p", lambda each: len(names_in(each)) == count, rig.namespace, within=PATIENCE
    )
    # kube-controller-manager looks at the pod after each change of it: let it come to rest.
    await rig.at_rest("pods", "p")
    return seen, names_in(seen)


async def test_a_generated_claim_deleted_under_a_gated_pod_is_made_anew(rig: Rig) -> None:
    _, (name,) = await generated_under_a_held_pod(rig)
    await rig.kube.delete("resourceclaims", name, rig.namespace)
    running_before = await rig.kube.wait_for(
        "pods", "p", lambda each: names_in(each) not in ([name], []), rig.namespace, within=PATIENCE
    )
    assert "berth.dev/claim-regenerate" in running_before["metadata"]["annotations"]
    assert await rig.event("p", "ClaimRegenerationRequested") == (
        f"pod {rig.namespace}/p, claim reference t0: claim {rig.namespace}/{name} is gone: asked "
        "for a new one"
    )
    await rig.let_berth("p")
    running = await rig.running("p")
    (made,) = await rig.kube.list("resourceclaims", rig.namespace)
    assert names_in(running) == [made["metadata"]["name"]] != [name]
    assert await rig.devices(made["metadata"]["name"]) == [f"{running['spec']['nodeName']}/a"]


async def test_two_claims_deleted_at_once_are_both_made_anew(rig: Rig) -> None:
    _, names = await generated_under_a_held_pod(rig, count=2)
    for name in names:
        await rig.kube.delete("resourceclaims", name, rig.namespace)
    again = await rig.kube.wait_for(
        "pods",
        "p",
        lambda each: len(names_in(each)) == 2 and not set(names_in(each)) & set(names),
        rig.namespace,
        within=PATIENCE,
    )
    # The second deletion mostly makes kube-controller-manager see the first one by itself.
    asked = again["metadata"].get("annotations", {}).get("berth.dev/claim-regenerate", "/1")
    assert asked.endswith("/1")
    await rig.let_berth("p")
    assert set(names_in(await rig.running("p"))) == set(names_in(again))


async def test_an_allocated_claim_deleted_under_a_gated_pod_is_freed_and_made_anew(
    rig: Rig,
) -> None:
    held, (name,) = await generated_under_a_held_pod(rig)
    await rig.allocated(name, rig.nodes[0], "a", pods=[held])
    await rig.kube.delete("resourceclaims", name, rig.namespace)
    stuck = await rig.kube.get("resourceclaims", name, rig.namespace)
    assert stuck["metadata"]["deletionTimestamp"]
    await rig.let_berth("p")
    running = await rig.running("p")
    assert name not in names_in(running)
    assert await rig.event("p", "ClaimReleased") == (
        f"claim {rig.namespace}/{name}: the allocation was taken back, to decide anew: the claim "
        "is being deleted"
    )


async def test_a_claim_made_anew_under_its_name_is_decided_anew(rig: Rig) -> None:
    first, second = rig.nodes
    old = await rig.claim("c")
    held = await rig.held_pod("p", "c")
    await rig.allocated("c", second, "b", pods=[held])
    # As an administrator does it who is in a hurry.
    await rig.kube.patch("resourceclaims", "c", {"metadata": {"finalizers": None}}, rig.namespace)
    await rig.kube.delete("resourceclaims", "c", rig.namespace)
    new = await rig.claim("c", count=2)
    await rig.let_berth("p")
    running = await rig.running("p")
    made = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert made["metadata"]["uid"] == new["metadata"]["uid"] != old["metadata"]["uid"]
    assert await rig.devices("c") == [f"{first}/a", f"{first}/b"]
    assert running["spec"]["nodeName"] == first


async def test_a_waiting_pod_takes_the_second_claim_of_the_name(rig: Rig) -> None:
    await rig.claim("c", count=3)
    await rig.held_pod("p", "c")
    await rig.let_berth("p")
    await rig.event("p", "ClaimAllocationFailed")
    await rig.kube.delete("resourceclaims", "c", rig.namespace)
    # It has a finalizer from the beginning, which Kubernetes takes off first.
    await rig.kube.wait_gone("resourceclaims", "c", rig.namespace)
    new = await rig.claim("c", count=2)
    running = await rig.running("p")
    made = await rig.kube.get("resourceclaims", "c", rig.namespace)
    assert made["metadata"]["uid"] == new["metadata"]["uid"]
    assert gates_of(running) == []


async def test_a_claim_that_is_really_gone_and_named_by_the_pod_is_waited_for(rig: Rig) -> None:
    await rig.held_pod("p", "c")
    await rig.let_berth("p")
    assert await rig.event("p", "ClaimAllocationFailed") == (
        f"pod {rig.namespace}/p, claim reference c0: ResourceClaim {rig.namespace}/c does not exist"
    )
    await rig.claim("c")
    await rig.running("p")
    claims: Sequence[Json] = await rig.kube.list("resourceclaims", rig.namespace)
    assert len(claims) == 1
