# SPDX-License-Identifier: Apache-2.0
"""What the allocations of claims leave for others, as the allocator reads it."""

from __future__ import annotations

from berth.engine.allocated import AllocatedState
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID
from berth.model.results import AllocationResult, DeviceResult
from berth.quantity import Quantity
from berth.state.devices_in_use import DevicesInUse

GPU = DeviceID("gpu.example.com", "pool", "gpu-0")
ONE, TWO = ClaimKey("ml", "one"), ClaimKey("ml", "two")


def share(amount: str, *, admin: bool = False) -> AllocationResult:
    return AllocationResult(
        (
            DeviceResult(
                "r",
                *GPU,
                admin_access=admin,
                share_id="id",
                consumed_capacity={"mem": Quantity.parse(amount)},
            ),
        )
    )


def test_shares_are_summed_up_and_taken_back() -> None:
    ledger = DevicesInUse()
    ledger.hold(ONE, share("10"))
    ledger.hold(TWO, share("5"))
    assert ledger.view == AllocatedState(
        shared={GPU: ("ml/one", "ml/two")}, capacity={GPU: {"mem": Quantity.of(15)}}
    )

    assert ledger.hold(ONE, None)
    assert ledger.view == AllocatedState(
        shared={GPU: ("ml/two",)}, capacity={GPU: {"mem": Quantity.of(5)}}
    )


def test_a_share_with_admin_access_takes_nothing() -> None:
    ledger = DevicesInUse()
    ledger.hold(ONE, share("10", admin=True))
    assert ledger.view == AllocatedState()

    ledger.hold(ONE, None)
    assert ledger.view == AllocatedState()
