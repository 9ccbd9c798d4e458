# SPDX-License-Identifier: Apache-2.0
"""The life of claims where Berth does the work of the resourceclaim controller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support.helm import SYSTEM, install_chart
from tests.support.kube import Kube
from tests.support.lifecycle import HOLD, PATIENCE, VALUES, Rig, give_rights, rig_in
from tests.support.manifests import device_request, pod, template
from tests.support.operators import OperatorProcess

SETTINGS = {"BERTH_GENERATE_CLAIMS": "true"}


@pytest.fixture(scope="module")
def alone() -> Iterator[LocalCluster]:
    spec = ClusterSpec(
        name=f"life-alone-{os.getpid()}",
        nodes=2,
        devices=1,
        without=frozenset({"resourceclaim-controller"}),
    )
    with LocalCluster.start(spec) as cluster:
        install_chart(cluster.kubeconfig, SYSTEM, {**VALUES, "generateClaims": True})
        yield cluster


@pytest.fixture(scope="module")
def rights(alone: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asyncio.run(give_rights(alone.kubeconfig, tmp_path_factory.mktemp("alone")))


@pytest.fixture
def generating(rights: Path, tmp_path: Path) -> Iterator[OperatorProcess]:
    with OperatorProcess.running(rights, tmp_path / "operator.log", settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def rig(alone: LocalCluster, generating: OperatorProcess) -> AsyncIterator[Rig]:
    async with Kube.from_kubeconfig(alone.kubeconfig) as kube, rig_in(kube) as made:
        yield made


async def consumers(rig: Rig, *names: str) -> None:
    """Wait until exactly these pods are the claim's consumers."""
    await rig.kube.wait_for(
        "resourceclaims",
        "c",
        lambda each: (
            sorted(one["name"] for one in each.get("status", {}).get("reservedFor", ()))
            == sorted(names)
        ),
        rig.namespace,
        within=PATIENCE,
        what=f"consumers {names}",
    )


async def test_consumers_of_a_shared_claim_leave_one_by_one(rig: Rig) -> None:
    await rig.claim("c")
    await rig.kube.create_all(
        [pod(name, claims=("c",)) for name in ("done", "gone", "last")], rig.namespace
    )
    for name in ("done", "gone", "last"):
        await rig.running(name)
    done = {"status": {"phase": "Succeeded"}}
    await rig.kube.patch("pods", "done", done, rig.namespace, subresource="status")
    await consumers(rig, "gone", "last")
    await rig.kube.delete("pods", "gone", rig.namespace, grace_seconds=0)
    await consumers(rig, "last")
    assert await rig.devices("c") != []
    await rig.kube.delete("pods", "last", rig.namespace)
    await consumers(rig)
    assert await rig.devices("c") == []


async def test_a_consumer_that_went_while_berth_was_away_is_dropped(
    rig: Rig, generating: OperatorProcess, rights: Path, tmp_path: Path
) -> None:
    await rig.claim("c")
    await rig.kube.create(pod("p", claims=("c",)), rig.namespace)
    await rig.running("p")
    generating.kill()
    await rig.kube.delete("pods", "p", rig.namespace, grace_seconds=0)
    await rig.kube.wait_gone("pods", "p", rig.namespace, within=PATIENCE)
    await consumers(rig, "p")
    again = OperatorProcess.start(rights, tmp_path / "operator.log", settings=SETTINGS)
    generating.process = again.process
    await consumers(rig)
    assert await rig.devices("c") == []


async def test_a_claim_deleted_under_a_gated_pod_is_made_anew_without_a_touch(rig: Rig) -> None:
    await rig.kube.create(template("t", device_request("gpu", rig.driver)), rig.namespace)
    gates = [{"name": HOLD}]
    await rig.kube.create(pod("p", templates=("t",), schedulingGates=gates), rig.namespace)
    (made,) = await rig.kube.wait_all(
        "resourceclaims", lambda items: len(items) == 1, rig.namespace, within=PATIENCE
    )
    name = made["metadata"]["name"]
    await rig.at_rest("pods", "p")
    await rig.kube.delete("resourceclaims", name, rig.namespace)
    await rig.kube.wait_all(
        "resourceclaims",
        lambda items: [each["metadata"]["name"] for each in items] not in ([], [name]),
        rig.namespace,
        within=PATIENCE,
        what="a new claim",
    )
    await rig.let_berth("p")
    running = await rig.running("p")
    assert "berth.dev/claim-regenerate" not in running["metadata"].get("annotations", {})


async def test_a_claim_that_nobody_uses_goes_when_it_is_deleted(rig: Rig) -> None:
    await rig.claim("c")
    await rig.kube.create(pod("p", claims=("c",)), rig.namespace)
    await rig.running("p")
    await rig.kube.delete("resourceclaims", "c", rig.namespace)
    # In use, it waits for its pod.
    waiting = await rig.at_rest("resourceclaims", "c")
    assert waiting["metadata"]["deletionTimestamp"]
    await rig.kube.delete("pods", "p", rig.namespace)
    await rig.kube.wait_gone("resourceclaims", "c", rig.namespace, within=PATIENCE)
    await rig.claim("unused")
    await rig.allocated("unused", rig.nodes[0], "a")
    await rig.kube.delete("resourceclaims", "unused", rig.namespace)
    await rig.kube.wait_gone("resourceclaims", "unused", rig.namespace, within=PATIENCE)
