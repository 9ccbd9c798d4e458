# SPDX-License-Identifier: Apache-2.0
"""A control plane whose devices are fenced, and the operator in mode fenced.

Four nodes with four GPUs each. The operator runs outside, with the rights that the chart gives it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import install_chart
from tests.support.kube import Kube
from tests.support.manifests import GATE_LABEL, GPU_CLASS
from tests.support.operators import OperatorProcess

SYSTEM = "berth-system"
FENCE: dict[str, Any] = {"drivers": [GPU_CLASS]}
FENCED: dict[str, Any] = {
    "mode": "fenced",
    "fence": FENCE,
    "extendedResources": {"convert": [{"resource": "example.com/gpu", "template": "gpu"}]},
    "operator": {"deploy": False},
    "defaultPolicy": {"deviceClasses": [GPU_CLASS]},
}


async def operator_access(kubeconfig: Path, folder: Path) -> Path:
    """Return a kubeconfig of the chart's ServiceAccount."""
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        token = await kube.token(SYSTEM, "berth", seconds=7200)
        return kube.write_kubeconfig(folder / "operator.kubeconfig", token=token)


@pytest.fixture(scope="module")
def fenced_cluster() -> Iterator[LocalCluster]:
    with LocalCluster.start(
        ClusterSpec(name=f"fence-{os.getpid()}", nodes=4, devices=4)
    ) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, FENCED)
        yield cluster


@pytest.fixture(scope="module")
def operator(
    fenced_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("fence")
    access = asyncio.run(operator_access(fenced_cluster.kubeconfig, folder))
    running = OperatorProcess.start(
        access, folder / "operator.log", settings={"BERTH_MODE": "fenced"}, within=60
    )
    yield running
    # An operator that ended before its time has failed the test, whatever else passed.
    assert running.process.poll() is None, running.log_path.read_text()[-3000:]
    assert running.stop() == 0


@pytest.fixture
async def kube(fenced_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(fenced_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def opted_in(kube: Kube) -> AsyncIterator[str]:
    """A namespace whose claims of the GPU class are Berth's, emptied afterwards."""
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"generateName": "test-", "labels": GATE_LABEL},
    }
    name = (await kube.create(manifest))["metadata"]["name"]
    yield name
    await kube.delete_all("pods", name)
    await kube.wait_all("pods", lambda items: not items, name, within=60)
    await kube.delete_all("resourceclaims", name)
    await kube.wait_all("resourceclaims", lambda items: not items, name, within=60)
    await kube.delete("namespaces", name)
