# SPDX-License-Identifier: Apache-2.0
"""A cluster in which nobody repairs: no scheduler, no resourceclaim controller; Berth observes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import claim, device_request
from tests.support.operators import OperatorProcess

VALUES: dict[str, Any] = {
    "mode": "observe",
    "operator": {"deploy": False},
    "defaultPolicy": {"create": False},
}
FINALIZER = "resource.kubernetes.io/delete-protection"


@pytest.fixture(scope="session")
def unrepaired() -> Iterator[LocalCluster]:
    spec = ClusterSpec(
        name=f"audit-{os.getpid()}",
        nodes=2,
        devices=8,
        without=frozenset({"kube-scheduler", "resourceclaim-controller"}),
    )
    with LocalCluster.start(spec) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, VALUES)
        yield cluster


@pytest.fixture
async def kube(unrepaired: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(unrepaired.kubeconfig) as client:
        yield client


@pytest.fixture
def observer(unrepaired: LocalCluster, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Berth in mode observe, with the rights that the chart gives it there."""
    kubeconfig = asyncio.run(chart_account(unrepaired.kubeconfig, tmp_path))
    with OperatorProcess.running(
        kubeconfig,
        tmp_path / "operator.log",
        settings={"BERTH_MODE": "observe"},
        within=90,
        stops_within=60,
    ) as running:
        yield running


class Maker:
    """Writes claims as another allocator might, into one namespace."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace

    async def pod(self, manifest: Json) -> str:
        made = await self.kube.create(manifest, self.namespace)
        return str(made["metadata"]["uid"])

    async def claim(
        self,
        name: str,
        *devices: str,
        node: str = "node-0",
        pods: dict[str, str] | None = None,
        protected: bool = True,
        at: str | None = "2026-11-24T10:00:00Z",
    ) -> None:
        """Make a claim that holds ``devices`` of ``node`` for ``pods``, by name and uid."""
        body = claim(name, device_request(count=max(1, len(devices))))
        if protected:
            body["metadata"]["finalizers"] = [FINALIZER]
        await self.kube.create(body, self.namespace)
        if devices:
            await self.kube.patch(
                "resourceclaims",
                name,
                {"status": held(*devices, node=node, pods=pods or {}, at=at)},
                self.namespace,
                subresource="status",
            )


def held(*devices: str, node: str, pods: dict[str, str], at: str | None) -> Json:
    """Return the status of a claim that holds ``devices``."""
    driver = "gpu.example.com"
    allocation: Json = {
        "devices": {
            "results": [
                {"request": "gpu", "driver": driver, "pool": node, "device": device}
                for device in devices
            ]
        },
        "nodeSelector": {
            "nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            ]
        },
    }
    if at is not None:
        allocation["allocationTimestamp"] = at
    reserved = [{"resource": "pods", "name": name, "uid": uid} for name, uid in pods.items()]
    return {"allocation": allocation, "reservedFor": reserved}


@pytest.fixture
async def maker(kube: Kube) -> AsyncIterator[Maker]:
    made = await kube.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "wrong-"}}
    )
    name = made["metadata"]["name"]
    yield Maker(kube, name)
    await kube.delete_all("pods", name)
    # Nobody else frees them here.
    for each in await kube.list("resourceclaims", name):
        await kube.patch(
            "resourceclaims",
            each["metadata"]["name"],
            {"metadata": {"finalizers": None}},
            name,
        )
    await kube.delete_all("resourceclaims", name)
    await kube.wait_all("resourceclaims", lambda items: not items, name, within=60)
    await kube.delete("namespaces", name)
