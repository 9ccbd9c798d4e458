# SPDX-License-Identifier: Apache-2.0
"""A control plane whose devices are fenced, and the operator in mode fenced.

Four nodes with four GPUs each. The operator runs outside, with the rights that the chart gives it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube, emptied_namespace
from tests.support.manifests import GATE_LABEL, GPU_CLASS
from tests.support.operators import OperatorProcess

FENCE: dict[str, Any] = {"drivers": [GPU_CLASS]}
FENCED: dict[str, Any] = {
    "mode": "fenced",
    "fence": FENCE,
    "extendedResources": {"convert": [{"resource": "example.com/gpu", "template": "gpu"}]},
    "operator": {"deploy": False},
    "defaultPolicy": {"deviceClasses": [GPU_CLASS]},
}


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
    access = asyncio.run(chart_account(fenced_cluster.kubeconfig, folder))
    with OperatorProcess.running(
        access, folder / "operator.log", settings={"BERTH_MODE": "fenced"}, within=60
    ) as running:
        yield running


@pytest.fixture
async def kube(fenced_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(fenced_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def opted_in(kube: Kube) -> AsyncIterator[str]:
    """A namespace whose claims of the GPU class are Berth's, emptied afterwards."""
    async with emptied_namespace(kube, GATE_LABEL) as name:
        yield name
