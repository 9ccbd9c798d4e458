# SPDX-License-Identifier: Apache-2.0
"""The operator is killed in the middle of four hundred pods; its successor finishes the work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.fleet import PODS, assert_all_right, numbered, wait_all_run
from tests.support.kube import Kube
from tests.support.manifests import device_request, devices_of, template
from tests.support.operators import OperatorProcess


@pytest.mark.timeout(400)
async def test_a_killed_operator_leaves_nothing_wrong_behind(
    kube: Kube, gated: str, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    await kube.create(template("one", device_request()), gated)
    first = OperatorProcess.start(operator_kubeconfig, tmp_path / "first.log")
    creating = asyncio.ensure_future(kube.create_all(numbered(0, PODS), gated))
    try:
        await kube.wait_all(
            "resourceclaims",
            lambda items: sum(bool(devices_of(each)) for each in items) >= PODS // 4,
            gated,
            within=60,
            what="a quarter of the claims allocated",
        )
    finally:
        first.kill()
    await creating
    halfway = sum(bool(devices_of(each)) for each in await kube.list("resourceclaims", gated))
    assert PODS // 4 <= halfway < PODS

    second = OperatorProcess.start(operator_kubeconfig, tmp_path / "second.log")
    try:
        await wait_all_run(kube, gated, PODS, within=150)
        await assert_all_right(kube, gated, PODS)
    finally:
        assert second.stop() == 0
