# SPDX-License-Identifier: Apache-2.0
"""What becomes of a decision before it is written."""

from __future__ import annotations

from berth.controller.decide import with_share_ids
from berth.model.placement import Placed
from berth.model.results import AllocationResult, DeviceResult


def result(*shares: str | None) -> AllocationResult:
    return AllocationResult(
        tuple(
            DeviceResult("gpu", "gpu.example.com", "pool", f"gpu-{n}", share_id=share)
            for n, share in enumerate(shares)
        )
    )


def test_each_share_gets_an_identity_and_whole_devices_none() -> None:
    ids = iter(["id-a", "id-b", "id-c"])
    placed = Placed("node-1", (result("share-1", None), result("share-2")), steps=3, pin=True)

    assert with_share_ids(placed, lambda: next(ids)) == Placed(
        "node-1", (result("id-a", None), result("id-b")), steps=3, pin=True
    )
    assert next(ids) == "id-c"
