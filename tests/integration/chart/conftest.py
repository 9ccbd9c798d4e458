# SPDX-License-Identifier: Apache-2.0
"""A control plane of its own: the tests here install and uninstall the chart over and over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, install_chart, uninstall_chart
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import GATE_LABEL, gates_of, pod

GATE = "berth.dev/dra"
GATED: dict[str, Any] = {"mode": "gated", "operator": {"deploy": False}}
ANSWERS_WITHIN = 15
"""Seconds; the API server was seen to take one to put an admission policy into force."""


@pytest.fixture(scope="session")
def chart_cluster() -> Iterator[LocalCluster]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with LocalCluster.start(ClusterSpec(name=f"chart-tests-{worker}", nodes=1)) as cluster:
        yield cluster


@pytest.fixture
async def kube(chart_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(chart_cluster.kubeconfig) as client:
        yield client


async def make_namespace(kube: Kube, labels: Json) -> str:
    made = await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"generateName": "test-", "labels": labels},
        }
    )
    return str(made["metadata"]["name"])


async def until_gated(kube: Kube, namespace: str) -> None:
    """Wait until a pod with a claim would be gated in ``namespace``; creates nothing."""
    deadline = asyncio.get_running_loop().time() + ANSWERS_WITHIN
    while True:
        seen = await kube.create(pod("probe", claims=("any",)), namespace, dry_run=True)
        if gates_of(seen) == [GATE]:
            return
        assert asyncio.get_running_loop().time() < deadline, f"no gate in {namespace}: {seen}"
        await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def gated_release(chart_cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The chart in mode gated, its admission policies in force, no operator running."""

    async def settle() -> None:
        async with Kube.from_kubeconfig(chart_cluster.kubeconfig) as kube:
            namespace = await make_namespace(kube, GATE_LABEL)
            await until_gated(kube, namespace)
            await kube.delete("namespaces", namespace)

    install_chart(chart_cluster.kubeconfig, SYSTEM, GATED)
    asyncio.run(settle())
    yield chart_cluster
    uninstall_chart(chart_cluster.kubeconfig, SYSTEM)


async def _namespace(kube: Kube, labels: Json) -> AsyncIterator[str]:
    name = await make_namespace(kube, labels)
    yield name
    await kube.delete_all("pods", name)
    await kube.delete_all("resourceclaims", name)
    await kube.delete("namespaces", name)


@pytest.fixture
async def opted_in(kube: Kube) -> AsyncIterator[str]:
    """A namespace that carries the label of the default values."""
    async for name in _namespace(kube, GATE_LABEL):
        yield name


@pytest.fixture
async def ordinary(kube: Kube) -> AsyncIterator[str]:
    """A namespace without a label of Berth's."""
    async for name in _namespace(kube, {}):
        yield name


async def everything(kube: Kube) -> Sequence[str]:
    """Return every object in the cluster as ``resource.group namespace/name``, in order.

    Without what comes and goes by itself: events, the Leases of Kubernetes' own programs, and the
    namespaces of other tests, which take a while to go.
    """
    groups = (await kube.request("GET", "/apis"))["groups"]
    roots = ["/api/v1"] + [f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups]
    found: set[str] = set()
    for root in roots:
        for resource in (await kube.request("GET", root))["resources"]:
            if "list" not in resource["verbs"] or resource["name"] == "events":
                continue
            items = (await kube.request("GET", f"{root}/{resource['name']}"))["items"]
            for item in items:
                metadata = item["metadata"]
                space = metadata.get("namespace", "")
                if resource["name"] == "leases" and space.startswith("kube-"):
                    continue
                if space.startswith("test-") or f"{resource['name']}/{metadata['name']}".startswith(
                    "namespaces/test-"
                ):
                    continue
                found.add(f"{resource['name']} {root} {space}/{metadata['name']}")
    return sorted(found)
