# SPDX-License-Identifier: Apache-2.0
"""The chart on a real API server: valid objects, an upgrade in place, and nothing left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from berth.localcluster import LocalCluster
from berth.localcluster.helm import HelmError, run_helm
from tests.integration.chart.conftest import GATE, GATED, everything, until_gated
from tests.support.helm import SYSTEM, install_chart, render_chart, uninstall_chart, upgrade_chart
from tests.support.kube import Kube
from tests.support.kube_access import Json, Resource
from tests.support.manifests import GPU_CLASS, device_request, gates_of, is_running, pod, template

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

FULL: dict[str, Any] = {"mode": "gated", "generateClaims": True}
DEFINITION = "customresourcedefinitions /apis/apiextensions.k8s.io/v1 /allocationpolicies.berth.dev"
RELEASE_PATCH = {"spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}
"""What docs/guides/emergency.md tells people to send."""


async def system_namespace(kube: Kube) -> None:
    """Make the release's namespace, with all that Kubernetes puts into one."""
    if await kube.find("namespaces", SYSTEM) is None:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    await kube.wait_for("serviceaccounts", "default", lambda _: True, SYSTEM)
    await kube.wait_for("configmaps", "kube-root-ca.crt", lambda _: True, SYSTEM)


def resource_of(manifest: Json, plural: str) -> Resource:
    namespaced = "namespace" in manifest["metadata"]
    return Resource(plural, manifest["kind"], manifest["apiVersion"], namespaced=namespaced)


async def plurals(kube: Kube, api_version: str) -> dict[str, str]:
    root = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
    resources = (await kube.request("GET", root))["resources"]
    return {each["kind"]: each["name"] for each in resources if "/" not in each["name"]}


@pytest.mark.needs("gate by policy")
async def test_every_object_of_the_chart_passes_strict_validation(kube: Kube) -> None:
    await system_namespace(kube)
    checked = []
    for manifest in Kube.load(render_chart(FULL)):
        if manifest["apiVersion"] == "berth.dev/v1alpha1":
            continue  # Its definition is not there; the next test creates it for real.
        plural = (await plurals(kube, manifest["apiVersion"]))[manifest["kind"]]
        path = resource_of(manifest, plural).path(manifest["metadata"].get("namespace"))
        params = {"fieldValidation": "Strict", "dryRun": "All"}
        await kube.request("POST", path, manifest, params)
        checked.append(manifest["kind"])
    assert sorted(checked) == [
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "Deployment",
        "Job",
        "Lease",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicyBinding",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    ]


@pytest.mark.parametrize(
    ("values", "want_added"),
    [
        pytest.param(
            {"operator": {"deploy": False}},
            {
                "allocationpolicies /apis/berth.dev/v1alpha1 /default",
                "clusterrolebindings /apis/rbac.authorization.k8s.io/v1 /berth",
                "clusterroles /apis/rbac.authorization.k8s.io/v1 /berth",
                DEFINITION,
                f"serviceaccounts /api/v1 {SYSTEM}/berth",
            },
            id="observe, operator outside",
        ),
        pytest.param(
            GATED,
            {
                "allocationpolicies /apis/berth.dev/v1alpha1 /default",
                "clusterrolebindings /apis/rbac.authorization.k8s.io/v1 /berth",
                "clusterroles /apis/rbac.authorization.k8s.io/v1 /berth",
                DEFINITION,
                f"leases /apis/coordination.k8s.io/v1 {SYSTEM}/berth",
                *(
                    f"mutatingadmissionpolic{plural} /apis/admissionregistration.k8s.io/v1 /{name}"
                    for plural in ("ies", "ybindings")
                    for name in ("berth-gate", "berth-claim-finalizer")
                ),
                f"rolebindings /apis/rbac.authorization.k8s.io/v1 {SYSTEM}/berth",
                f"roles /apis/rbac.authorization.k8s.io/v1 {SYSTEM}/berth",
                f"serviceaccounts /api/v1 {SYSTEM}/berth",
            },
            id="gated, operator outside",
            marks=pytest.mark.needs("gate by policy"),
        ),
    ],
)
async def test_uninstalling_leaves_the_cluster_as_it_was(
    kube: Kube, chart_cluster: LocalCluster, values: dict[str, Any], want_added: set[str]
) -> None:
    await system_namespace(kube)
    before = set(await everything(kube))
    install_chart(chart_cluster.kubeconfig, SYSTEM, values)
    added = set(await everything(kube)) - before
    uninstall_chart(chart_cluster.kubeconfig, SYSTEM)
    assert added == want_added | {
        # Helm keeps what it knows of a release in a Secret of the release's namespace.
        f"secrets /api/v1 {SYSTEM}/sh.helm.release.v1.berth.v1",
        # Kubernetes registers the API of a definition by itself.
        "apiservices /apis/apiregistration.k8s.io/v1 /v1alpha1.berth.dev",
    }
    await becomes(kube, before)


async def test_uninstalling_the_deployed_operator_leaves_the_cluster_as_it_was(
    kube: Kube, chart_cluster: LocalCluster
) -> None:
    await system_namespace(kube)
    before = set(await everything(kube))
    install_chart(chart_cluster.kubeconfig, SYSTEM, FULL)
    # Its image is not looked at here: the node is a simulated one.
    await kube.wait_all(
        "pods", lambda items: len(items) == 2 and all(map(is_running, items)), SYSTEM
    )
    uninstall_chart(chart_cluster.kubeconfig, SYSTEM)
    await becomes(kube, before)


async def becomes(kube: Kube, want: set[str]) -> None:
    """Wait until the cluster holds ``want`` and nothing else."""
    for _ in range(100):
        left = set(await everything(kube))
        if left == want:
            return
        # Kubernetes removes pods, endpoints and ReplicaSets a little later than their owners.
        await asyncio.sleep(0.2)
    assert left == want


async def test_an_upgrade_changes_the_default_policy_in_place(
    kube: Kube, chart_cluster: LocalCluster
) -> None:
    install_chart(chart_cluster.kubeconfig, SYSTEM, {"operator": {"deploy": False}})
    try:
        before = await kube.get("allocationpolicies", "default")
        upgrade_chart(
            chart_cluster.kubeconfig, SYSTEM, {**GATED, "defaultPolicy": {"placement": "Pack"}}
        )
        packed = await kube.get("allocationpolicies", "default")
        upgrade_chart(
            chart_cluster.kubeconfig, SYSTEM, {**GATED, "defaultPolicy": {"create": False}}
        )
        after = await kube.find("allocationpolicies", "default")
    finally:
        uninstall_chart(chart_cluster.kubeconfig, SYSTEM)
    assert before["spec"]["placement"] == "FirstFit"
    assert packed["spec"] == {**before["spec"], "placement": "Pack"}
    # The same object: one made anew would have let go of every waiting pod in between.
    assert packed["metadata"]["uid"] == before["metadata"]["uid"]
    assert after is None


async def test_an_upgrade_leaves_the_holder_of_the_lease_alone(
    kube: Kube, chart_cluster: LocalCluster
) -> None:
    install_chart(chart_cluster.kubeconfig, SYSTEM, GATED)
    try:
        held = {"holderIdentity": "somebody", "leaseDurationSeconds": 15}
        await kube.patch("leases", "berth", {"spec": held}, SYSTEM)
        upgrade_chart(chart_cluster.kubeconfig, SYSTEM, {**GATED, "generateClaims": True})
        lease = await kube.get("leases", "berth", SYSTEM)
    finally:
        uninstall_chart(chart_cluster.kubeconfig, SYSTEM)
    assert lease["spec"] == held


async def test_a_second_release_is_refused(kube: Kube, chart_cluster: LocalCluster) -> None:
    await system_namespace(kube)
    install_chart(chart_cluster.kubeconfig, SYSTEM, {"operator": {"deploy": False}})
    try:
        with pytest.raises(HelmError, match="cannot be imported into the current release"):
            run_helm(
                *("install", "other", "charts/berth", "--namespace", "default"),
                kubeconfig=chart_cluster.kubeconfig,
            )
    finally:
        uninstall_chart(chart_cluster.kubeconfig, SYSTEM)


async def test_pods_that_wait_when_berth_goes_are_released_by_the_documented_patch(
    kube: Kube, chart_cluster: LocalCluster, opted_in: str
) -> None:
    install_chart(chart_cluster.kubeconfig, SYSTEM, GATED)
    try:
        await until_gated(kube, opted_in)
        await kube.create(template("gpu", device_request(device_class=GPU_CLASS)), opted_in)
        other = {"name": "example.com/quota"}
        await kube.create(pod("waiting", templates=("gpu",)), opted_in)
        await kube.create(pod("twice", templates=("gpu",), schedulingGates=[other]), opted_in)
    finally:
        uninstall_chart(chart_cluster.kubeconfig, SYSTEM)
    assert gates_of(await kube.get("pods", "waiting", opted_in)) == [GATE]
    for name in ("waiting", "twice"):
        await kube.patch("pods", name, RELEASE_PATCH, opted_in, kind="strategic")
    await kube.wait_for("pods", "waiting", is_running, opted_in)
    assert gates_of(await kube.get("pods", "twice", opted_in)) == ["example.com/quota"]


def test_the_chart_passes_helms_own_checks() -> None:
    for mode in ("observe", "gated"):
        assert "0 chart(s) failed" in run_helm(
            "lint", "--strict", "charts/berth", f"--set=mode={mode}"
        )
