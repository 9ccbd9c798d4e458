# SPDX-License-Identifier: Apache-2.0
"""A small cluster of the release under test, with the chart and the operator at its defaults."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube
from tests.support.manifests import GATE_LABEL, gates_of, pod
from tests.support.operators import OperatorProcess

GATE = "berth.dev/dra"
WITHIN = 60


async def until_gated(kube: Kube, namespace: str) -> None:
    """Wait until a pod with a claim would be gated; creates nothing."""
    deadline = asyncio.get_running_loop().time() + WITHIN
    seen: object = None
    while asyncio.get_running_loop().time() < deadline:
        try:
            seen = await kube.create(pod("probe", claims=("any",)), namespace, dry_run=True)
        except Exception as error:  # noqa: BLE001 - a webhook that is not there yet
            seen = error
        else:
            if gates_of(seen) == [GATE]:
                return
        await asyncio.sleep(0.2)
    raise AssertionError(f"no gate in {namespace} within {WITHIN} s: {seen}")


async def opted_in(kube: Kube, **labels: str) -> str:
    """Make a namespace whose pods are gated; its cluster does not outlive the tests."""
    metadata = {"generateName": "test-", "labels": {**GATE_LABEL, **labels}}
    made = await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    return str(made["metadata"]["name"])


@pytest.fixture(scope="module")
def release_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster.start(ClusterSpec(name=f"release-{os.getpid()}", nodes=2)) as cluster:
        values = {"mode": "gated", "operator": {"deploy": False}}
        install_chart(cluster.kubeconfig, SYSTEM, values)
        folder = tmp_path_factory.mktemp("release")
        kubeconfig = asyncio.run(chart_account(cluster.kubeconfig, folder))
        with OperatorProcess.running(kubeconfig, folder / "operator.log", within=WITHIN):
            yield cluster


@pytest.fixture
async def kube(release_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(release_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def gated(kube: Kube) -> str:
    """A namespace whose pods are gated and whose claims are Berth's."""
    name = await opted_in(kube)
    await until_gated(kube, name)
    return name
