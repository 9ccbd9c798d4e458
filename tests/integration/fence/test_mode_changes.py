# SPDX-License-Identifier: Apache-2.0
"""Changing the mode, and uninstalling, while pods come and go: nothing lost, nothing stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.integration.fence.conftest import FENCED
from tests.integration.fence.load import under_load
from tests.support.helm import SYSTEM, chart_account, install_chart, uninstall_chart, upgrade_chart
from tests.support.kube import Kube
from tests.support.manifests import (
    GATE_LABEL,
    device_request,
    gates_of,
    is_running,
    pod,
    template,
)
from tests.support.operators import OperatorProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    pytest.mark.needs("taint rules"),
]

GATED: dict[str, Any] = {key: value for key, value in FENCED.items() if key != "fence"} | {
    "mode": "gated"
}
GATED_BEHIND_FENCE = {**FENCED, "mode": "gated"}
OBSERVE = {**GATED, "mode": "observe"}
GATE = "berth.dev/dra"
RELEASE_PATCH = {"spec": {"schedulingGates": [{"name": GATE, "$patch": "delete"}]}}
SOME = 6
WITHIN = 120


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """A control plane of the test's own: what it leaves behind is looked at."""
    name = f"modes-{tmp_path.name[-20:].replace('_', '-').lower().strip('-')}"
    with LocalCluster.start(ClusterSpec(name=name, nodes=3, devices=4)) as started:
        yield started


@pytest.fixture
async def kube(cluster: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kube: Kube) -> str:
    name = "load"
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": GATE_LABEL},
    }
    await kube.create(manifest)
    await kube.wait_for("serviceaccounts", "default", lambda _: True, name)
    await kube.create(template("gpu", device_request()), name)
    return name


class Installation:
    """The release, and one operator beside it that runs in the release's mode."""

    def __init__(self, cluster: LocalCluster, folder: Path) -> None:
        self._kubeconfig = cluster.kubeconfig
        self._folder = folder
        self._operator: OperatorProcess | None = None

    async def install(self, values: Mapping[str, Any]) -> None:
        await asyncio.to_thread(install_chart, self._kubeconfig, SYSTEM, values)
        await self.start(values["mode"])

    async def change(self, values: Mapping[str, Any]) -> None:
        """Upgrade the release, then let the operator follow, as its Deployment would."""
        await asyncio.to_thread(upgrade_chart, self._kubeconfig, SYSTEM, values)
        await self.stop()
        await self.start(values["mode"])

    async def uninstall(self) -> None:
        await asyncio.to_thread(uninstall_chart, self._kubeconfig, SYSTEM)

    async def start(self, mode: str) -> None:
        access = await chart_account(self._kubeconfig, self._folder)
        self._operator = await asyncio.to_thread(
            OperatorProcess.start,
            access,
            self._folder / "operator.log",
            settings={"BERTH_MODE": mode},
            within=60,
        )

    async def stop(self) -> None:
        if self._operator is not None:
            assert await asyncio.to_thread(self._operator.stop) == 0
            self._operator = None

    def kill(self) -> None:
        if self._operator is not None:
            self._operator.kill()


@pytest.fixture
async def installation(cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[Installation]:
    made = Installation(cluster, tmp_path)
    yield made
    made.kill()


async def nothing_of_ours(kube: Kube) -> None:
    """Check that no object that Berth brought is left."""
    left = [
        f"{resource} {each['metadata']['name']}"
        for resource in (
            "devicetaintrules",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
            "clusterroles",
            "clusterrolebindings",
            "leases",
        )
        for each in await kube.list(resource)
        if each["metadata"]["name"].startswith("berth")
    ]
    assert left == []
    gated = [each for each in await kube.list("pods") if GATE in gates_of(each)]
    assert gated == []


async def test_from_gated_to_fenced_and_back_under_load(
    kube: Kube, namespace: str, installation: Installation
) -> None:
    await installation.install(GATED)
    async with under_load(kube, namespace, "gpu") as load:
        await load.until_more_ran(SOME, WITHIN)
        for values in (FENCED, GATED_BEHIND_FENCE, GATED, FENCED):
            await installation.change(values)
            await load.until_more_ran(SOME, WITHIN)
    await load.until_all_run(WITHIN)
    assert load.overlaps == set()
    rules = await kube.list("devicetaintrules")
    assert [each["metadata"]["name"] for each in rules] == ["berth-fence-gpu.example.com"]


async def release_gated(kube: Kube, namespace: str) -> None:
    for each in await kube.list("pods", namespace):
        if GATE in gates_of(each):
            await kube.patch(
                "pods", each["metadata"]["name"], RELEASE_PATCH, namespace, kind="strategic"
            )


async def test_uninstalling_from_fenced_under_load(
    kube: Kube, namespace: str, installation: Installation
) -> None:
    await installation.install(FENCED)
    async with under_load(kube, namespace, "gpu") as load:
        await load.until_more_ran(SOME, WITHIN)
        await installation.uninstall()
        installation.kill()
        await load.until_more_ran(SOME, WITHIN)
    await load.until_all_run(WITHIN)
    await nothing_of_ours(kube)


async def test_uninstalling_by_the_documented_steps_under_load(
    kube: Kube, namespace: str, installation: Installation
) -> None:
    await installation.install(FENCED)
    async with under_load(kube, namespace, "gpu") as load:
        await load.until_more_ran(SOME, WITHIN)
        await installation.change(GATED_BEHIND_FENCE)
        await load.until_more_ran(SOME, WITHIN)
        await installation.change(OBSERVE)
        await until_not_gating(kube, namespace)
        await release_gated(kube, namespace)
        await installation.stop()
        await installation.uninstall()
        await load.until_more_ran(SOME, WITHIN)
    await load.until_all_run(WITHIN)
    assert load.overlaps == set()
    await nothing_of_ours(kube)


async def until_not_gating(kube: Kube, namespace: str) -> None:
    """Wait until the admission policy is out of force; creates nothing."""
    deadline = asyncio.get_running_loop().time() + 30
    while gates_of(await kube.create(pod("probe", templates=("gpu",)), namespace, dry_run=True)):
        assert asyncio.get_running_loop().time() < deadline, "pods are gated still"
        await asyncio.sleep(0.1)


async def test_a_pod_that_waits_for_devices_is_served_across_all_changes(
    kube: Kube, namespace: str, installation: Installation
) -> None:
    await installation.install(GATED)
    await kube.create(template("node", device_request(count=4)), namespace)
    holders = [pod(f"holder{n}", templates=("node",)) for n in range(3)]
    await kube.create_all(holders, namespace)
    for each in holders:
        await kube.wait_for("pods", each["metadata"]["name"], is_running, namespace, within=60)
    await kube.create(pod("gated", templates=("gpu",)), namespace)
    await installation.change(FENCED)
    await kube.create(pod("fenced", templates=("gpu",)), namespace)
    seen = {each["metadata"]["name"]: gates_of(each) for each in await kube.list("pods", namespace)}
    assert seen["gated"] == [GATE]
    await installation.change(GATED_BEHIND_FENCE)
    await kube.delete("pods", "holder0", namespace)
    for name in ("gated", "fenced"):
        running = await kube.wait_for("pods", name, is_running, namespace, within=60)
        assert gates_of(running) == []
