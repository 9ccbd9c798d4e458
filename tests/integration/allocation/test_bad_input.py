# SPDX-License-Identifier: Apache-2.0
"""Bad input: each mistake is said in one event on the pod, with exactly this text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import GPU_CLASS, claim, device_request, gates_of, pod, template

pytestmark = pytest.mark.usefixtures("operator")
FAILED = "ClaimAllocationFailed"


def device_class(name: str, *selectors: str) -> Json:
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": name},
        "spec": {"selectors": [{"cel": {"expression": text}} for text in selectors]},
    }


async def note_for(
    kube: Kube, namespace: str, *objects: Json, reference: Json | None = None
) -> str:
    """Create the objects and a pod of claim ``c``; return the text of its failure event."""
    for each in objects:
        await kube.create(each, namespace)
    await kube.create(reference or pod("p", claims=("c",)), namespace)
    event = await wait_for_event(kube, namespace, "p", FAILED)
    assert event["type"] == "Warning"
    seen = await kube.get("pods", "p", namespace)
    assert gates_of(seen) == ["berth.dev/dra"]
    for each in await kube.list("resourceclaims", namespace):
        assert "allocation" not in each.get("status", {})
    return str(event["note"])


async def test_missing_device_class(kube: Kube, gated_everything: str) -> None:
    namespace = gated_everything
    note = await note_for(kube, namespace, claim("c", device_request(device_class="nosuch")))
    assert note == f"claim {namespace}/c, request gpu: DeviceClass nosuch does not exist"


async def test_a_class_that_appears_later_cures_it(kube: Kube, gated_everything: str) -> None:
    namespace = gated_everything
    name = f"late-{namespace}"
    await note_for(kube, namespace, claim("c", device_request(device_class=name)))
    await kube.create(device_class(name, f'device.driver == "{GPU_CLASS}"'))
    try:
        await kube.wait_for(
            "pods", "p", lambda each: each["status"]["phase"] == "Running", namespace
        )
    finally:
        await kube.delete("deviceclasses", name)


async def test_cel_that_fails_on_one_device(kube: Kube, gated: str, devices: list[str]) -> None:
    expression = 'device.attributes["gpu.example.com"].nosuch == 1'
    note = await note_for(kube, gated, claim("c", device_request(selectors=[expression])))
    assert note == (
        f"claim {gated}/c, request gpu, selector #0 on device {devices[0]}: "
        'CEL failed: no such key: nosuch: `device.attributes["gpu.example.com"].nosuch`; '
        'hint: put `has(device.attributes["gpu.example.com"].nosuch) &&` before the selector'
    )


async def test_cel_that_does_not_compile(
    kube: Kube, gated_everything: str, store: Callable[[str, Json], None]
) -> None:
    namespace, name = gated_everything, "uncompilable.example.com"
    store(f"deviceclasses/{name}", device_class(name, "device.nosuch == 1"))
    note = await note_for(kube, namespace, claim("c", device_request(device_class=name)))
    assert note == (
        f"claim {namespace}/c, request gpu, class {name}, selector #0: "
        "CEL does not compile: undefined field `nosuch` of `device`"
    )


async def test_a_policy_with_a_bad_selector(kube: Kube, store: Callable[[str, Json], None]) -> None:
    selector = {"matchExpressions": [{"key": "team", "operator": "Equals", "values": ["a"]}]}
    store(
        "berth.dev/allocationpolicies/bad",
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "AllocationPolicy",
            "metadata": {"name": "bad"},
            "spec": {"namespaceSelector": selector},
        },
    )
    event = await wait_for_event(kube, "default", "bad", "InvalidAllocationPolicy")
    cause = (
        "spec.namespaceSelector.matchExpressions[0].operator: "
        "`Equals` is not an operator: use In, NotIn, Exists or DoesNotExist"
    )
    assert event["note"] == f"allocationpolicy bad: {cause}"
    refused = await kube.wait_for(
        "allocationpolicies", "bad", lambda each: each.get("status", {}).get("conditions")
    )
    (condition,) = refused["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"], condition["message"]) == (
        "Accepted",
        "False",
        "InvalidSelector",
        f"{cause}; the policy is not used until this is corrected",
    )


async def test_count_above_what_exists(kube: Kube, gated: str) -> None:
    note = await note_for(kube, gated, claim("c", device_request(count=9)))
    assert note.startswith(f"claim {gated}/c, request gpu needs 9 devices of class {GPU_CLASS}")
    assert "8" in note


async def test_unknown_driver(kube: Kube, gated_everything: str) -> None:
    namespace = gated_everything
    name = f"unknown-driver-{namespace}"
    await kube.create(device_class(name, 'device.driver == "nobody.example.com"'))
    try:
        note = await note_for(kube, namespace, claim("c", device_request(device_class=name)))
    finally:
        await kube.delete("deviceclasses", name)
    assert f"class {name}" in note
    assert "gpu.example.com" in note


async def test_a_claim_without_requests_is_allocated_empty(kube: Kube, gated: str) -> None:
    await kube.create(claim("c"), gated)
    await kube.create(pod("p", claims=("c",)), gated)
    await kube.wait_for("pods", "p", lambda each: each["status"]["phase"] == "Running", gated)
    made = await kube.get("resourceclaims", "c", gated)
    event = await wait_for_event(kube, gated, "p", "ClaimsAllocated")
    assert made["status"]["allocation"].get("devices", {}).get("results") is None
    assert event["note"].endswith(": claim c: no devices asked")


async def test_missing_template(kube: Kube, gated: str) -> None:
    note = await note_for(kube, gated, reference=pod("p", templates=("nosuch",)))
    assert note == (
        f"pod {gated}/p, claim reference t0: ResourceClaimTemplate {gated}/nosuch does not exist"
    )
    await kube.create(template("nosuch", device_request()), gated)
    await kube.wait_for("pods", "p", lambda each: each["status"]["phase"] == "Running", gated)


async def test_missing_claim(kube: Kube, gated: str) -> None:
    note = await note_for(kube, gated)
    assert note == f"pod {gated}/p, claim reference c0: ResourceClaim {gated}/c does not exist"
    await kube.create(claim("c", device_request()), gated)
    await kube.wait_for("pods", "p", lambda each: each["status"]["phase"] == "Running", gated)


async def test_the_event_changes_only_when_the_cause_changes(kube: Kube, gated: str) -> None:
    await note_for(kube, gated, claim("c", device_request(count=9)))
    # An event of another kind makes Berth decide again; the cause is the same.
    await kube.create(device_class(f"irrelevant-{gated}", "false"))
    await kube.delete("deviceclasses", f"irrelevant-{gated}")
    await kube.create(claim("d", device_request(count=9)), gated)
    await kube.create(pod("q", claims=("d",)), gated)
    await wait_for_event(kube, gated, "q", FAILED)
    assert len(await kube.events(gated, "p", FAILED)) == 1
