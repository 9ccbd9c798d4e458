# SPDX-License-Identifier: Apache-2.0
"""The last look before an allocation is sent sees what others have taken meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.codec.claims import decode_claim
from berth.controller.overtaken import overtaken
from berth.model.claims import ClaimKey
from berth.model.pods import PodKey
from berth.model.results import AllocationResult, DeviceResult
from berth.state.cluster import Cluster

OURS, OTHER = ClaimKey("ml", "ours"), ClaimKey("ml", "other")
WHOLE = DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-0")
SHARE = replace(WHOLE, share_id="6f1f1d0e-0000-4000-8000-000000000001")
ADMIN = replace(WHOLE, admin_access=True)


def claim(key: ClaimKey, *results: DeviceResult) -> object:
    metadata = {"namespace": key.namespace, "name": key.name, "uid": key.name}
    raw = decode_claim({"metadata": {**metadata, "resourceVersion": "1"}, "spec": {}})
    return replace(raw, allocation=AllocationResult(devices=results) if results else None)


def assumed(ours: DeviceResult, *others: DeviceResult) -> Cluster:
    cluster = Cluster()
    cluster.apply_claim(claim(OURS))  # type: ignore[arg-type] # a claim
    cluster.assume(PodKey("ml", "pod"), None, {OURS: AllocationResult(devices=(ours,))})
    if others:
        cluster.apply_claim(claim(OTHER, *others))  # type: ignore[arg-type] # a claim
    return cluster


@pytest.mark.parametrize(
    ("ours", "others"),
    [
        (WHOLE, ()),
        (WHOLE, (ADMIN,)),
        (WHOLE, (replace(WHOLE, device="gpu-1"),)),
        (SHARE, (replace(SHARE, share_id="6f1f1d0e-0000-4000-8000-000000000002"),)),
        (ADMIN, (WHOLE,)),
    ],
    ids=["alone", "beside admin access", "beside another", "beside a share", "with admin access"],
)
def test_an_allocation_that_fits_beside_all_others_is_not_overtaken(
    ours: DeviceResult, others: tuple[DeviceResult, ...]
) -> None:
    cluster = assumed(ours, *others)
    assert overtaken(cluster, OURS, AllocationResult(devices=(ours,))) is None


@pytest.mark.parametrize(
    ("ours", "other"),
    [(WHOLE, WHOLE), (WHOLE, SHARE), (SHARE, WHOLE)],
    ids=["both whole", "ours whole", "ours a share"],
)
def test_an_allocation_whose_device_another_claim_has_got_is_overtaken(
    ours: DeviceResult, other: DeviceResult
) -> None:
    cluster = assumed(ours, other)
    assert overtaken(cluster, OURS, AllocationResult(devices=(ours,))) == WHOLE.device_id
