# SPDX-License-Identifier: Apache-2.0
"""Clusters that serve ``resource.k8s.io`` in an older version only.

Without kube-scheduler and Kubernetes' own generator of claims: those of today speak v1 alone.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from berth.cli.cluster_source import from_cluster
from berth.localcluster import ClusterSpec, LocalCluster
from berth.localcluster.spec import default_release
from tests.integration.releases.conftest import GATE, WITHIN, opted_in, until_gated
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube
from tests.support.kube_access import Json, Resource
from tests.support.manifests import (
    GPU_CLASS,
    claim,
    device_request,
    devices_of,
    gates_of,
    is_running,
    pod,
)
from tests.support.operators import OperatorProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.needs("older API versions"),
]

GROUP = "resource.k8s.io"
VALUES: dict[str, Any] = {
    "mode": "gated",
    "operator": {"deploy": False},
    "generateClaims": True,
}


def request_of(version: str, count: int) -> Json:
    wants = {"deviceClassName": GPU_CLASS, "count": count}
    return {"name": "gpu", **(wants if version == "v1beta1" else {"exactly": wants})}


def template_of(version: str, name: str, count: int) -> Json:
    devices = {"requests": [request_of(version, count)]}
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name},
        "spec": {"spec": {"devices": devices}},
    }


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
async def test_a_pod_is_let_go_and_pinned_where_v1_is_not_served(
    version: str, tmp_path: Path
) -> None:
    spec = ClusterSpec(
        name=f"{version}-{os.getpid()}",
        nodes=2,
        devices=2,
        without=frozenset({"kube-scheduler", "resourceclaim-controller"}),
        apis={f"{GROUP}/v1": False, f"{GROUP}/{version}": True},
    )
    with await asyncio.to_thread(LocalCluster.start, spec) as cluster:
        await asyncio.to_thread(install_chart, cluster.kubeconfig, SYSTEM, VALUES)
        kubeconfig = await chart_account(cluster.kubeconfig, tmp_path)
        log = tmp_path / "operator.log"
        running = await asyncio.to_thread(
            OperatorProcess.start,
            kubeconfig,
            log,
            settings={"BERTH_GENERATE_CLAIMS": "true"},
            within=WITHIN,
        )
        try:
            async with Kube.from_kubeconfig(cluster.kubeconfig) as kube:
                await from_template_to_node(kube, version)
            source = await asyncio.to_thread(from_cluster, str(cluster.kubeconfig), None)
            seen = source.loaded.cluster
            assert len(seen.slices) == 2
            (allocation,) = (each.allocation for each in seen.claims.values() if each.allocation)
            assert [each.device for each in allocation.devices] == ["gpu-0", "gpu-1"]
            said = [str(each.get("reason")) for each in running.lines()]
            assert any(f"{version} is read and written in its place" in each for each in said)
            assert running.process.poll() is None, log.read_text()[-3000:]
        finally:
            running.kill()


async def from_template_to_node(kube: Kube, version: str) -> None:
    claims = Resource("resourceclaims", "ResourceClaim", f"{GROUP}/{version}")
    namespace = await opted_in(kube)
    await until_gated(kube, namespace)
    await kube.create(template_of(version, "two", 2), namespace)
    await kube.create(template_of(version, "three", 3), namespace)
    made = await kube.create(pod("fits", templates=("two",)), namespace)
    assert gates_of(made) == [GATE]
    await kube.create(pod("waits", templates=("three",)), namespace)
    free = await kube.wait_for(
        "pods", "fits", lambda item: not gates_of(item), namespace, within=WITHIN, what="let go"
    )
    node = free["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"][0]["matchFields"][0]["values"]
    (reference,) = free["status"]["resourceClaimStatuses"]
    found = await kube.get(claims, reference["resourceClaimName"], namespace)
    assert found["spec"]["devices"]["requests"][0] == {
        "name": "gpu",
        **flattened(version, {"deviceClassName": GPU_CLASS, "allocationMode": "ExactCount"}, 2),
    }
    assert devices_of(found) == [f"{GPU_CLASS}/{node[0]}/gpu-{index}" for index in range(2)]
    assert [each["name"] for each in found["status"]["reservedFor"]] == ["fits"]
    assert "resource.kubernetes.io/delete-protection" in found["metadata"]["finalizers"]
    waits = await kube.get("pods", "waits", namespace)
    assert gates_of(waits) == [GATE]


def flattened(version: str, exactly: Json, count: int) -> Json:
    body = {**exactly, "count": count}
    return body if version == "v1beta1" else {"exactly": body}


RULES_IN = {"1.35": "v1alpha3", "1.36": "v1beta2"}
"""Where releases before 1.37 have DeviceTaintRules, once they are switched on."""


@pytest.mark.skipif(
    default_release() not in RULES_IN,
    reason="DeviceTaintRules cannot be, or need not be, switched on",
)
async def test_taint_rules_are_honoured_where_they_are_switched_on(tmp_path: Path) -> None:
    version = RULES_IN[default_release()]
    spec = ClusterSpec(
        name=f"rules-{os.getpid()}",
        nodes=1,
        devices=2,
        apis={f"{GROUP}/{version}": True},
        feature_gates={"DRADeviceTaints": True, "DRADeviceTaintRules": True},
    )
    with await asyncio.to_thread(LocalCluster.start, spec) as cluster:
        values = {"mode": "gated", "operator": {"deploy": False}}
        await asyncio.to_thread(install_chart, cluster.kubeconfig, SYSTEM, values)
        kubeconfig = await chart_account(cluster.kubeconfig, tmp_path)
        running = await asyncio.to_thread(
            OperatorProcess.start, kubeconfig, tmp_path / "operator.log", within=WITHIN
        )
        try:
            async with Kube.from_kubeconfig(cluster.kubeconfig) as kube:
                namespace = await opted_in(kube)
                await until_gated(kube, namespace)
                await kube.create(rule_of(version, "gpu-0"))
                await kube.create(claim("one", device_request()), namespace)
                await kube.create(pod("one", claims=("one",)), namespace)
                await kube.wait_for("pods", "one", is_running, namespace, within=WITHIN)
                found = await kube.get("resourceclaims", "one", namespace)
                assert devices_of(found) == [f"{GPU_CLASS}/node-0/gpu-1"]
        finally:
            running.kill()


def rule_of(version: str, device: str) -> Json:
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "DeviceTaintRule",
        "metadata": {"name": "broken"},
        "spec": {
            "deviceSelector": {"driver": GPU_CLASS, "pool": "node-0", "device": device},
            "taint": {"key": "example.com/broken", "effect": "NoSchedule"},
        },
    }
