# SPDX-License-Identifier: Apache-2.0
"""The chart's admission policies and roles on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.chart.conftest import GATE
from tests.support.helm import SYSTEM
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import GATE_LABEL, claim, device_request, gates_of, pod, template

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("gated_release"),
]

FINALIZER = "resource.kubernetes.io/delete-protection"
QUOTA = {"name": "example.com/quota"}


def with_claim(**spec: Any) -> Json:
    return pod("one", claims=("any",), **spec)


@pytest.mark.parametrize(
    ("manifest", "want_gates"),
    [
        pytest.param(with_claim(), [GATE], id="a pod with a claim is gated"),
        pytest.param(
            pod("one", templates=("any",)), [GATE], id="a pod with a claim from a template is gated"
        ),
        pytest.param(pod("one"), [], id="a pod without claims is not"),
        pytest.param(with_claim(nodeName="node-0"), [], id="a pod that has a node is not"),
        pytest.param(
            with_claim(schedulingGates=[QUOTA]),
            ["example.com/quota", GATE],
            id="another gate stays, and comes first",
        ),
        pytest.param(
            with_claim(schedulingGates=[{"name": GATE}, QUOTA]),
            [GATE, "example.com/quota"],
            id="a gate that is there is not added twice",
        ),
    ],
)
async def test_pods_of_a_namespace_that_opted_in(
    kube: Kube, opted_in: str, manifest: Json, want_gates: list[str]
) -> None:
    assert gates_of(await kube.create(manifest, opted_in, dry_run=True)) == want_gates


async def test_pods_of_other_namespaces_are_not_gated(kube: Kube, ordinary: str) -> None:
    assert gates_of(await kube.create(with_claim(), ordinary, dry_run=True)) == []


@pytest.mark.parametrize("namespace", ["kube-system", SYSTEM])
async def test_the_systems_own_namespaces_are_not_gated_whatever_their_labels(
    kube: Kube, namespace: str
) -> None:
    await kube.patch("namespaces", namespace, {"metadata": {"labels": GATE_LABEL}})
    try:
        assert gates_of(await kube.create(with_claim(), namespace, dry_run=True)) == []
    finally:
        labels = dict.fromkeys(GATE_LABEL)
        await kube.patch("namespaces", namespace, {"metadata": {"labels": labels}})


async def test_claims_are_protected_from_the_start(kube: Kube, opted_in: str) -> None:
    plain = await kube.create(claim("plain", device_request()), opted_in)
    assert plain["metadata"]["finalizers"] == [FINALIZER]
    own = claim("own", device_request())
    own["metadata"]["finalizers"] = ["example.com/mine"]
    made = await kube.create(own, opted_in)
    assert made["metadata"]["finalizers"] == ["example.com/mine", FINALIZER]
    # The finalizer does not keep a claim that was never allocated.
    await kube.delete("resourceclaims", "plain", opted_in)
    await kube.wait_gone("resourceclaims", "plain", opted_in)
    await kube.patch("resourceclaims", "own", {"metadata": {"finalizers": None}}, opted_in)


async def test_claims_that_kubernetes_makes_from_templates_are_protected(
    kube: Kube, opted_in: str
) -> None:
    await kube.create(template("gpu", device_request()), opted_in)
    await kube.create(pod("one", templates=("gpu",)), opted_in)
    (made,) = await kube.wait_all("resourceclaims", lambda items: len(items) == 1, opted_in)
    assert made["metadata"]["finalizers"] == [FINALIZER]
    await kube.delete("pods", "one", opted_in)
    await kube.wait_gone("resourceclaims", made["metadata"]["name"], opted_in)


async def test_claims_of_other_namespaces_are_left_alone(kube: Kube, ordinary: str) -> None:
    made = await kube.create(claim("plain", device_request()), ordinary)
    assert "finalizers" not in made["metadata"]


async def test_the_service_account_may_do_what_it_needs_and_no_more(
    kube: Kube,
) -> None:
    asked = {
        "patch pods": ("", "pods", "", "patch"),
        "patch claims": ("resource.k8s.io", "resourceclaims", "", "patch"),
        "patch claim status": ("resource.k8s.io", "resourceclaims", "status", "patch"),
        "patch claim binding": ("resource.k8s.io", "resourceclaims", "binding", "patch"),
        "patch policy status": ("berth.dev", "allocationpolicies", "status", "patch"),
        "create events": ("events.k8s.io", "events", "", "create"),
        "watch slices": ("resource.k8s.io", "resourceslices", "", "watch"),
        "create claims": ("resource.k8s.io", "resourceclaims", "", "create"),
        "delete claims": ("resource.k8s.io", "resourceclaims", "", "delete"),
        "update claims": ("resource.k8s.io", "resourceclaims", "", "update"),
        "patch pod status": ("", "pods", "status", "patch"),
        "delete pods": ("", "pods", "", "delete"),
        "bind pods": ("", "pods", "binding", "create"),
        "patch policies": ("berth.dev", "allocationpolicies", "", "patch"),
        "patch slices": ("resource.k8s.io", "resourceslices", "", "patch"),
        "patch taint rules": ("resource.k8s.io", "devicetaintrules", "", "patch"),
        "read secrets": ("", "secrets", "", "get"),
        "create leases": ("coordination.k8s.io", "leases", "", "create"),
    }
    account = kube.as_token(await kube.token(SYSTEM, "berth"))
    try:
        allowed = {name for name, what in asked.items() if await may(account, *what)}
    finally:
        await account.close()
    assert allowed == {
        "patch pods",
        "patch claims",
        "patch claim status",
        "patch claim binding",
        "patch policy status",
        "create events",
        "watch slices",
    }


async def may(kube: Kube, group: str, resource: str, subresource: str, verb: str) -> bool:
    attributes = {
        "group": group,
        "resource": resource,
        "subresource": subresource,
        "verb": verb,
    }
    answer = await kube.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool(answer["status"]["allowed"])
