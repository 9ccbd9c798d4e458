# SPDX-License-Identifier: Apache-2.0
"""Four hundred pods on fifty nodes with eight devices each, beside the stock scheduler."""

from __future__ import annotations

import pytest

from tests.support.fleet import PODS, assert_all_right, delete_pods, numbered, wait_all_run
from tests.support.kube import Kube
from tests.support.manifests import device_request, template
from tests.support.operators import OperatorProcess


@pytest.mark.timeout(400)
async def test_every_device_of_fifty_nodes_is_given_once(
    kube: Kube, gated: str, operator: OperatorProcess
) -> None:
    await kube.create(template("one", device_request()), gated)
    await kube.create_all(numbered(0, PODS), gated)
    await wait_all_run(kube, gated, PODS, within=150)
    await assert_all_right(kube, gated, PODS)

    await delete_pods(kube, gated, [f"p{i:04}" for i in range(0, PODS, 2)])
    await kube.create_all(numbered(1000, PODS // 2), gated)
    await wait_all_run(kube, gated, PODS, within=150)
    await assert_all_right(kube, gated, PODS)
