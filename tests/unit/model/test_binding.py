# SPDX-License-Identifier: Apache-2.0
"""Which devices of a claim are ready, and which have failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from berth.codec.claims import decode_claim
from berth.model.binding import Broken, Unready, broken_devices, unready_devices
from berth.model.claims import DeviceConditions, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.results import AllocationResult, DeviceResult
from tests.support.builders import a_claim

GPU = DeviceID("gpu.example.com", "node-1", "gpu-0")
RESULT = DeviceResult(
    "gpu",
    *GPU,
    binding_conditions=("Attached", "Powered"),
    binding_failure_conditions=("AttachFailed",),
)


def claim_with(*true: str, result: DeviceResult = RESULT, **who: Any) -> ResourceClaim:
    conditions = replace(DeviceConditions(*GPU, share_id=None, true=frozenset(true)), **who)
    return replace(
        a_claim(), allocation=AllocationResult((result,)), device_conditions=(conditions,)
    )


def test_a_device_is_ready_when_all_its_binding_conditions_hold() -> None:
    assert unready_devices(claim_with("Attached", "Powered", "Other")) == ()
    assert unready_devices(claim_with("Attached")) == (Unready(GPU, ("Powered",)),)
    assert unready_devices(claim_with()) == (Unready(GPU, ("Attached", "Powered")),)


def test_a_device_without_binding_conditions_is_ready() -> None:
    plain = DeviceResult("gpu", *GPU)
    assert unready_devices(claim_with(result=plain)) == ()
    assert unready_devices(a_claim()) == ()


@pytest.mark.parametrize("who", [{"device": "gpu-1"}, {"pool": "other"}, {"share_id": "s"}])
def test_conditions_of_another_device_or_share_do_not_count(who: dict[str, Any]) -> None:
    claim = claim_with("Attached", "Powered", "AttachFailed", **who)
    assert unready_devices(claim) == (Unready(GPU, ("Attached", "Powered")),)
    assert broken_devices(claim) == ()


def test_a_device_has_failed_when_one_failure_condition_holds() -> None:
    assert broken_devices(claim_with("Attached")) == ()
    assert broken_devices(claim_with("Attached", "AttachFailed")) == (Broken(GPU, "AttachFailed"),)


def test_the_words() -> None:
    assert str(Unready(GPU, ("A",))) == "`A` of device gpu.example.com/node-1/gpu-0 is not True"
    assert str(Unready(GPU, ("A", "B"))).endswith("gpu-0 are not True")
    assert str(Broken(GPU, "F")) == (
        "binding device gpu.example.com/node-1/gpu-0 failed: `F` is True"
    )


def test_conditions_are_read_from_the_status() -> None:
    device = {"driver": GPU.driver, "pool": GPU.pool, "device": GPU.device}
    raw = {
        "metadata": {"namespace": "default", "name": "c"},
        "spec": {},
        "status": {
            "devices": [
                {
                    **device,
                    "shareID": "s",
                    "conditions": [
                        {"type": "Attached", "status": "True"},
                        {"type": "Powered", "status": "False"},
                    ],
                    "data": {"any": "thing"},
                },
                {**device, "conditions": [{"type": "Attached", "status": "Unknown"}]},
                device,
            ]
        },
    }
    assert decode_claim(raw).device_conditions == (
        DeviceConditions(*GPU, share_id="s", true=frozenset({"Attached"})),
    )
