# SPDX-License-Identifier: Apache-2.0
"""The manifests of the Kubernetes documentation, applied as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import devices_of, gates_of, is_running, pod

pytestmark = pytest.mark.usefixtures("operator")
MANIFESTS = Path(__file__).parent.parent / "kubernetes-docs"
NODE = "cluster-1-node-1"


def manifests(name: str) -> list[Json]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text()))


async def test_simple_pods_get_the_template_claim_and_the_direct_claim(
    kube: Kube, gated_everything: str, documentation_node: str
) -> None:
    namespace = gated_everything
    for name in ("resourceclaimtemplate.yaml", "resourceclaim.yaml"):
        for each in manifests(name):
            await kube.create(each, namespace)
    await kube.create(pod("own", templates=("example-resource-claim-template",)), namespace)
    await kube.wait_for("pods", "own", is_running, namespace)
    await kube.delete("pods", "own", namespace)
    await kube.wait_gone("pods", "own", namespace)
    await kube.create(pod("direct", claims=("example-resource-claim",)), namespace)
    await kube.wait_for("pods", "direct", is_running, namespace)
    made = await kube.get("resourceclaims", "example-resource-claim", namespace)
    assert devices_of(made) == [
        f"driver.example.com/cluster-1-device-pool-1-r1gc/{device}" for device in ("gpu-0", "gpu-1")
    ]


async def test_the_job_stays_pending_and_the_event_says_why(
    kube: Kube, gated_everything: str, documentation_node: str
) -> None:
    namespace = gated_everything
    for name in ("resourceclaimtemplate.yaml", "resourceclaim.yaml", "dra-example-job.yaml"):
        for each in manifests(name):
            await kube.create(each, namespace)
    pods = await kube.wait_all("pods", lambda items: len(items) == 2, namespace)
    for each in pods:
        event = await wait_for_event(
            kube, namespace, each["metadata"]["name"], "ClaimAllocationFailed"
        )
        assert "request single-gpu-claim asks for All 2 matching devices" in event["note"]
        assert "request gpu-claim needs 1 more of the same" in event["note"]
    for each in await kube.list("pods", namespace):
        assert gates_of(each) == ["berth.dev/dra"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("dra-device-metadata-pod.yaml", "gpu-metadata-reader"),
        ("dra-device-metadata-template-pod.yaml", "gpu-metadata-template-reader"),
    ],
)
async def test_the_metadata_pods_get_their_devices(
    kube: Kube, gated: str, file: str, name: str
) -> None:
    for each in manifests(file):
        await kube.create(each, gated)
    running = await kube.wait_for("pods", name, is_running, gated)
    (made,) = await kube.list("resourceclaims", gated)
    (device,) = devices_of(made)
    assert device.split("/")[1] == running["spec"]["nodeName"]
