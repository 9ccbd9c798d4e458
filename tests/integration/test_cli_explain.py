# SPDX-License-Identifier: Apache-2.0
"""``berth explain`` on a live cluster where Berth allocates nothing: stock scheduler, no chart."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.localcluster import ClusterSpec, LocalCluster
from berth.localcluster.profiles import node
from tests.support.kube import Kube

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
DOCS = Path(__file__).parent / "kubernetes-docs"
CLAIM = "resourceclaim.yaml"
JOB = "dra-example-job.yaml"
NAMESPACE = "default"


@pytest.fixture(scope="module")
def stock() -> Iterator[LocalCluster]:
    """A cluster without anything of Berth, and without nodes but those of the test."""
    with LocalCluster.start(
        ClusterSpec(name=f"explain-{os.getpid()}", nodes=0, devices=0)
    ) as cluster:
        yield cluster


@pytest.fixture
async def kube(stock: LocalCluster) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(stock.kubeconfig) as client:
        yield client


def documents(name: str) -> Sequence[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((DOCS / name).read_text()) if each]


async def run(stock: LocalCluster, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and messages of ``berth``."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "berth", *arguments, "--kubeconfig", str(stock.kubeconfig)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def says_unschedulable(pod: dict[str, Any]) -> bool:
    return any(
        condition.get("reason") == "Unschedulable"
        for condition in pod.get("status", {}).get("conditions", ())
    )


async def test_the_job_of_the_documentation_is_explained_and_the_hint_works(
    stock: LocalCluster, kube: Kube
) -> None:
    await kube.create(node("cluster-1-node-1", 0, ready=True))
    for name in ("deviceclass.yaml", "resourceslice.yaml"):
        await kube.create_all(documents(name))
    for name in ("resourceclaimtemplate.yaml", CLAIM, JOB):
        await kube.create_all(documents(name), NAMESPACE)
    pods = await kube.wait_all(
        "pods",
        lambda items: len(items) == 2 and all(says_unschedulable(each) for each in items),
        NAMESPACE,
        what="two pods that kube-scheduler cannot place",
    )
    name = pods[0]["metadata"]["name"]
    (generated,) = (
        each["resourceClaimName"]
        for each in pods[0]["status"]["resourceClaimStatuses"]
        if each["name"] == "separate-gpu-claim"
    )

    code, tree, messages = await run(stock, "explain", f"pod/{name}")

    assert (code, messages) == (1, "")
    assert "claim default/example-resource-claim, request single-gpu-claim asks for All" in tree
    assert f"claim default/{generated}, request gpu-claim needs 1 more of the same" in tree
    assert "hint: it fits with ExactCount 1 instead of All" in tree

    code, text, _ = await run(stock, "explain", "claim/example-resource-claim", "-o", "json")

    data = json.loads(text)
    assert code == 1
    assert data["fits"] is False
    assert len(data["conflict"]["claims"]) == 2

    # What the hint says, applied: now kube-scheduler itself finds room for one of the two.
    (job,) = documents(JOB)
    (claim,) = documents(CLAIM)
    await kube.delete("jobs", job["metadata"]["name"], NAMESPACE)
    await kube.delete_all("pods", NAMESPACE)
    await kube.wait_all("pods", lambda items: not items, NAMESPACE, what="no pods")
    await kube.delete("resourceclaims", claim["metadata"]["name"], NAMESPACE)
    await kube.wait_all("resourceclaims", lambda items: not items, NAMESPACE, what="no claims")
    exactly = claim["spec"]["devices"]["requests"][0]["exactly"]
    exactly |= {"allocationMode": "ExactCount", "count": 1}
    await kube.create_all([claim, job], NAMESPACE)
    pods = await kube.wait_all(
        "pods",
        lambda items: any(each["spec"].get("nodeName") for each in items),
        NAMESPACE,
        what="a pod on a node",
    )
    name = next(each["metadata"]["name"] for each in pods if each["spec"].get("nodeName"))

    code, text, _ = await run(stock, "explain", f"pod/{name}")

    assert code == 0
    assert text.splitlines()[0] == f"pod default/{name} is on node cluster-1-node-1"


async def test_simulate_and_lint_read_the_live_cluster(stock: LocalCluster, kube: Kube) -> None:
    if await kube.find("deviceclasses", "example-device-class") is None:
        await kube.create(node("cluster-1-node-1", 0, ready=True))
        for name in ("deviceclass.yaml", "resourceslice.yaml"):
            await kube.create_all(documents(name))

    simulated = await run(stock, "simulate", str(DOCS / "dra-device-metadata-pod.yaml"))
    linted = await run(stock, "lint", "--live")

    # The documentation's class is there, the one that this manifest asks for is not.
    assert simulated[0] == 1
    assert "gpu.example.com" in simulated[1]
    assert linted[0] == 0
    assert "deviceclass example-device-class, selector #0: matches 2 of 2 devices" in linted[1]
