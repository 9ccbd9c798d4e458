# SPDX-License-Identifier: Apache-2.0
"""The livelock of kube-controller-manager on finished pods: not set off by Berth, and found.

kubernetes issue 141274: a claim that stays allocated beside a finished pod.
"""

from __future__ import annotations

import pytest

from tests.support.lifecycle import PATIENCE, Rig
from tests.support.manifests import device_request, pod, template


async def finish(rig: Rig, name: str, phase: str) -> None:
    await rig.kube.patch(
        "pods", name, {"status": {"phase": phase}}, rig.namespace, subresource="status"
    )


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_claim_of_berths_comes_to_rest_when_its_pod_has_finished(
    rig: Rig, phase: str
) -> None:
    await rig.claim("c")
    await rig.kube.create(template("t", device_request("gpu", rig.driver)), rig.namespace)
    await rig.kube.create(pod("p", claims=("c",), templates=("t",)), rig.namespace)
    await rig.running("p")
    await finish(rig, "p", phase)
    await rig.kube.wait_for(
        "resourceclaims",
        "c",
        lambda each: "allocation" not in each.get("status", {}),
        rig.namespace,
        within=PATIENCE,
        what="the device given back",
    )
    await rig.at_rest("resourceclaims", "c", 5)
    (left,) = await rig.kube.list("resourceclaims", rig.namespace)
    assert left["metadata"]["name"] == "c"


async def test_a_claim_whose_consumer_leaves_and_joins_without_end_is_told_of(rig: Rig) -> None:
    await rig.claim("c")
    await rig.kube.create_all([pod("a", claims=("c",)), pod("b", claims=("c",))], rig.namespace)
    for name in ("a", "b"):
        await rig.running(name)
    # The claim stays allocated for the other pod: that is what sets it off upstream.
    await finish(rig, "a", "Succeeded")
    note = await rig.event("c", "ClaimConsumersFlapping")
    assert note.startswith(
        f"claim {rig.namespace}/c: a consumer leaves and joins again without end: "
    )
    await rig.kube.delete("pods", "a", rig.namespace)
    quiet = await rig.at_rest("resourceclaims", "c", 3)
    assert [each["name"] for each in quiet["status"]["reservedFor"]] == ["b"]
