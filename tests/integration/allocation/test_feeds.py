# SPDX-License-Identifier: Apache-2.0
"""The same scenario with either feed of claims, and with either way to start the operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kube import Kube
from tests.support.manifests import claim, device_request, devices_of, is_running, pod, template
from tests.support.operators import OperatorProcess


@pytest.mark.parametrize("feed", ["informer", "kopf"])
@pytest.mark.parametrize("command", ["berth run", "kopf run"])
async def test_allocation_release_and_reuse(
    kube: Kube, gated: str, operator_kubeconfig: Path, tmp_path: Path, feed: str, command: str
) -> None:
    operator = OperatorProcess.start(
        operator_kubeconfig,
        tmp_path / "operator.log",
        command=command,
        settings={"BERTH_CLAIMS_FEED": feed},
    )
    try:
        node = min(each["metadata"]["name"] for each in await kube.list("nodes"))
        here = {"kubernetes.io/hostname": node}
        await kube.create(template("eight", device_request(count=8)), gated)
        await kube.create(claim("one", device_request()), gated)
        await kube.create(pod("all", templates=("eight",), nodeSelector=here), gated)
        await kube.wait_for("pods", "all", is_running, gated)
        # The node is full, so this one can only follow once the claims of the first are freed.
        await kube.create(pod("next", claims=("one",), nodeSelector=here), gated)
        await kube.delete("pods", "all", gated)
        await kube.wait_for("pods", "next", is_running, gated)
        made = await kube.get("resourceclaims", "one", gated)
        assert [device.split("/")[1] for device in devices_of(made)] == [node]
    finally:
        assert operator.stop() == 0
