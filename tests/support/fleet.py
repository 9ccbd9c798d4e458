# SPDX-License-Identifier: Apache-2.0
"""Many pods of one device each: making them, waiting for them, and checking all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import devices_of, gates_of, is_running, pod

PODS = 400


def numbered(first: int, count: int) -> list[Json]:
    return [pod(f"p{i:04}", templates=("one",)) for i in range(first, first + count)]


async def assert_all_right(kube: Kube, namespace: str, count: int) -> None:
    """Every pod runs, without a gate, on the node of its own device, which is nobody else's."""
    pods = await kube.list("pods", namespace)
    claims = {
        owner["uid"]: each
        for each in await kube.list("resourceclaims", namespace)
        for owner in each["metadata"]["ownerReferences"]
    }
    devices = [devices_of(claims[each["metadata"]["uid"]]) for each in pods]
    assert len(pods) == count
    assert all(is_running(each) for each in pods)
    assert [each["metadata"]["name"] for each in pods if gates_of(each)] == []
    assert all(len(each) == 1 for each in devices)
    assert len({each[0] for each in devices}) == count
    for each, (device,) in zip(pods, devices, strict=True):
        assert device.split("/")[1] == each["spec"]["nodeName"]


async def wait_all_run(kube: Kube, namespace: str, count: int, within: float) -> None:
    await kube.wait_all(
        "pods",
        lambda items: len(items) == count and all(is_running(each) for each in items),
        namespace,
        within=within,
        what=f"{count} running pods",
    )


async def delete_pods(kube: Kube, namespace: str, names: Sequence[str]) -> None:
    await asyncio.gather(*(kube.delete("pods", name, namespace) for name in names))
