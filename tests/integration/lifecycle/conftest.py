# SPDX-License-Identifier: Apache-2.0
"""A small control plane with the chart and the operator, and devices of each test's own.

A pod is caught between allocation and start by a second scheduling gate: Berth waits for it to go,
and meanwhile the test writes the claim's status as an earlier Berth would have left it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, install_chart
from tests.support.kube import Kube
from tests.support.lifecycle import VALUES, Rig, give_rights, rig_in
from tests.support.operators import OperatorProcess


@pytest.fixture(scope="session")
def lifecycle_cluster() -> Iterator[LocalCluster]:
    spec = ClusterSpec(name=f"lifecycle-{os.getpid()}", nodes=3, devices=1)
    with LocalCluster.start(spec) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, VALUES)
        yield cluster


@pytest.fixture(scope="session")
def operator_kubeconfig(
    lifecycle_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    return asyncio.run(give_rights(lifecycle_cluster.kubeconfig, folder))


@pytest.fixture(scope="module")
def operator(
    operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    settings = {"BERTH_BINDING_SECONDS": "15"}
    with OperatorProcess.running(operator_kubeconfig, log, settings=settings) as running:
        yield running


@pytest.fixture
async def kube(lifecycle_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(lifecycle_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def rig(kube: Kube, operator: OperatorProcess) -> AsyncIterator[Rig]:
    """A gated namespace with a driver of its own: two devices on each of two nodes."""
    async with rig_in(kube) as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the first test the time that a control plane takes to start on a busy computer."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))
