# SPDX-License-Identifier: Apache-2.0
"""A control plane with the chart installed, and the operator under the chart's ServiceAccount.

Fifty nodes with eight devices each. The operator runs outside, as with `berth run` or `kopf run`,
but with exactly the rights that the chart gives it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube, emptied_namespace
from tests.support.kube_access import Json
from tests.support.manifests import GATE_LABEL, GPU_CLASS
from tests.support.operators import OperatorProcess

VALUES: dict[str, Any] = {
    "mode": "gated",
    "operator": {"deploy": False},
    "defaultPolicy": {"create": False},
}
POLICY_LABEL = "tests.berth.dev/policy"


def policy(name: str, **spec: Any) -> Json:
    """An AllocationPolicy for the namespaces that carry its name in a label."""
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "AllocationPolicy",
        "metadata": {"name": name},
        "spec": {"namespaceSelector": {"matchLabels": {POLICY_LABEL: name}}, **spec},
    }


async def prepare(kubeconfig: Path, folder: Path) -> Path:
    """Create the policies and return a kubeconfig of the chart's ServiceAccount."""
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        await kube.create(policy("only-gpus", deviceClasses=[GPU_CLASS]))
        await kube.create(policy("everything"))
        # The API server takes about a second to put a new admission policy into force.
        await asyncio.sleep(2)
    return await chart_account(kubeconfig, folder)


@pytest.fixture(scope="session")
def berth_cluster() -> Iterator[LocalCluster]:
    with LocalCluster.start(
        ClusterSpec(name=f"allocation-{os.getpid()}", nodes=50, devices=8)
    ) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, VALUES)
        yield cluster


@pytest.fixture(scope="session")
def operator_kubeconfig(
    berth_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("operator")
    return asyncio.run(prepare(berth_cluster.kubeconfig, folder))


@pytest.fixture(scope="module")
def operator(
    operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with OperatorProcess.running(operator_kubeconfig, log) as running:
        yield running


@pytest.fixture
async def kube(berth_cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(berth_cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def gated(kube: Kube, operator_kubeconfig: Path) -> AsyncIterator[str]:
    """A namespace whose pods are gated; claims of the GPU class alone are Berth's."""
    async with emptied_namespace(kube, {**GATE_LABEL, POLICY_LABEL: "only-gpus"}) as name:
        yield name


@pytest.fixture
async def gated_everything(kube: Kube, operator_kubeconfig: Path) -> AsyncIterator[str]:
    """A namespace whose pods are gated; every claim is Berth's."""
    async with emptied_namespace(kube, {**GATE_LABEL, POLICY_LABEL: "everything"}) as name:
        yield name


@pytest.fixture
async def devices(kube: Kube) -> list[str]:
    """Every published GPU, as ``driver/pool/device``, in the order in which Berth tries them."""
    slices = sorted(
        await kube.list("resourceslices"), key=lambda each: str(each["spec"]["pool"]["name"])
    )
    return [
        f"{each['spec']['driver']}/{each['spec']['pool']['name']}/{device['name']}"
        for each in slices
        if each["spec"]["driver"] == GPU_CLASS
        for device in each["spec"]["devices"]
    ]


@pytest.fixture
async def documentation_node(kube: Kube) -> AsyncIterator[str]:
    """The node, class and slice of the documentation's page, the class and slice unmodified."""
    manifests = Path(__file__).parent.parent / "kubernetes-docs"
    name = "cluster-1-node-1"
    (like, *_) = await kube.list("nodes")
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        }
    )
    status = {key: like["status"][key] for key in ("allocatable", "capacity", "conditions")}
    await kube.patch("nodes", name, {"status": status}, subresource="status")
    # A new node is tainted until kube-controller-manager has seen that it is ready.
    await kube.wait_for("nodes", name, lambda node: not node["spec"].get("taints"), within=30)
    objects = [
        each
        for file in ("deviceclass.yaml", "resourceslice.yaml")
        for each in kube.load((manifests / file).read_text())
    ]
    for each in objects:
        await kube.create(each)
    yield name
    await kube.delete("resourceslices", objects[1]["metadata"]["name"])
    await kube.delete("deviceclasses", objects[0]["metadata"]["name"])
    await kube.delete("nodes", name)


@pytest.fixture
def store(berth_cluster: LocalCluster) -> Iterator[Callable[[str, Json], None]]:
    """Put an object that the API server would refuse into etcd beside it, under a registry key.

    As an object would be that an older release accepted.
    """
    stored: list[str] = []

    def put(key: str, manifest: Json) -> None:
        metadata = {
            "uid": f"6f1f1d0e-0000-4000-8000-{len(stored):012}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "generation": 1,
            **manifest["metadata"],
        }
        stored.append(f"/registry/{key}")
        _etcd(
            berth_cluster,
            "put",
            key=stored[-1],
            value=json.dumps({**manifest, "metadata": metadata}),
        )

    yield put
    for key in stored:
        _etcd(berth_cluster, "deleterange", key=key)


def _etcd(cluster: LocalCluster, verb: str, **fields: str) -> None:
    body = {name: base64.b64encode(text.encode()).decode() for name, text in fields.items()}
    request = urllib.request.Request(
        f"{cluster.etcd_url}/v3/kv/{verb}", json.dumps(body).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


@pytest.fixture(scope="module")
def cluster_without_generator() -> Iterator[LocalCluster]:
    spec = ClusterSpec(
        name=f"generate-{os.getpid()}",
        nodes=2,
        devices=8,
        without=frozenset({"resourceclaim-controller"}),
    )
    with LocalCluster.start(spec) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, {**VALUES, "generateClaims": True})
        yield cluster


@pytest.fixture(scope="module")
def generating_operator(
    cluster_without_generator: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    folder = tmp_path_factory.mktemp("generating")
    kubeconfig = asyncio.run(prepare(cluster_without_generator.kubeconfig, folder))
    with OperatorProcess.running(
        kubeconfig, folder / "operator.log", settings={"BERTH_GENERATE_CLAIMS": "true"}
    ) as running:
        yield running


@pytest.fixture
async def kube_without_generator(cluster_without_generator: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(cluster_without_generator.kubeconfig) as client:
        yield client


@pytest.fixture
async def alone(kube_without_generator: Kube) -> AsyncIterator[str]:
    """A gated namespace of the cluster in which nobody but Berth generates claims."""
    labels = {**GATE_LABEL, POLICY_LABEL: "only-gpus"}
    async with emptied_namespace(kube_without_generator, labels) as name:
        yield name
