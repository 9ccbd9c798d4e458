# SPDX-License-Identifier: Apache-2.0
"""What a share of a device consumes, and how long there is room for another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from berth.engine.allocated import AllocatedState
from berth.engine.allocator import explain_node
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Allocated, Outcome, Unsatisfiable
from berth.engine.rejections import (
    CapacityMissing,
    CapacityPolicy,
    CapacityShort,
    InUse,
    Rejection,
)
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import ALL, ResourceClaim
from berth.model.devices import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    Device,
    DeviceCapacity,
)
from berth.model.features import Features
from berth.quantity import Quantity
from tests.support.allocations import a_snapshot, attempt, device_id, given
from tests.support.builders import DRIVER, a_claim, a_device, a_node, a_request, a_slice

GPU_0 = device_id(f"{DRIVER}/node-1/gpu-0")


def q(text: str) -> Quantity:
    return Quantity.parse(text)


def ranged(
    least: str, most: str | None = None, step: str | None = None, *, default: str = ""
) -> CapacityRequestPolicy:
    return CapacityRequestPolicy(
        default=q(default or least),
        valid_range=CapacityRequestPolicyRange(
            q(least), None if most is None else q(most), None if step is None else q(step)
        ),
    )


def values(*texts: str) -> CapacityRequestPolicy:
    return CapacityRequestPolicy(q(texts[0]), tuple(q(text) for text in texts))


def shared(value: str, policy: CapacityRequestPolicy | None = None, name: str = "mem") -> Device:
    return a_device(
        capacity={name: DeviceCapacity(q(value), policy)}, allow_multiple_allocations=True
    )


def asking(amount: str | None, name: str = "mem", claim: str = "claim") -> ResourceClaim:
    capacity = None if amount is None else {name: amount}
    return a_claim(a_request(capacity=capacity), name=claim)


def consumed(outcome: Outcome) -> list[Mapping[str, str] | None]:
    assert isinstance(outcome, Allocated)
    return [
        None
        if device.consumed_capacity is None
        else {name: str(amount) for name, amount in device.consumed_capacity.items()}
        for result in outcome.results
        for device in result.devices
    ]


def reasons(snapshot: Snapshot, *claims: ResourceClaim) -> list[Rejection]:
    return [each.rejection for each in explain_node(snapshot, a_node(), claims).rejected]


def with_shares(snapshot: Snapshot, **amounts: str) -> Snapshot:
    return replace(
        snapshot,
        allocated=AllocatedState(
            shared={GPU_0: ("ml/eval",)},
            capacity={GPU_0: {name.replace("__", "/"): q(v) for name, v in amounts.items()}},
        ),
    )


@pytest.mark.parametrize(
    ("policy", "amount", "want"),
    [
        pytest.param(None, None, "10", id="all of it without a policy"),
        pytest.param(None, "3", "3", id="as asked without a policy"),
        pytest.param(CapacityRequestPolicy(q("2")), None, "2", id="the default"),
        pytest.param(CapacityRequestPolicy(q("2")), "3", "3", id="as asked with a default only"),
        pytest.param(values("2", "4"), "3", "4", id="the next valid value"),
        pytest.param(ranged("2"), "1", "2", id="at least the minimum"),
        pytest.param(ranged("2"), "3", "3", id="as asked without a step"),
        pytest.param(ranged("2", "10", "3"), "3", "5", id="up to the next step"),
        pytest.param(ranged("2", "10", "3"), "5", "5", id="on a step"),
        pytest.param(ranged("100m", "1", "100m"), "250m", "300m", id="fractions"),
    ],
)
def test_a_share_consumes_what_the_policy_says(
    policy: CapacityRequestPolicy | None, amount: str | None, want: str
) -> None:
    outcome = attempt(a_snapshot(a_slice([shared("10", policy)])), asking(amount))
    assert consumed(outcome) == [{"mem": want}]


def test_fractions_are_rounded_up_to_whole_units_while_the_feature_is_off() -> None:
    features = Features(fractional_capacity_range=False)
    snapshot = a_snapshot(a_slice([shared("1", ranged("100m", "1", "100m"))]), features=features)
    assert consumed(attempt(snapshot, asking("250m"))) == [{"mem": "1"}]


@pytest.mark.parametrize(
    ("device", "claim", "want"),
    [
        pytest.param(
            shared("10", values("2", "4")),
            asking("5"),
            CapacityPolicy("mem", q("5"), "2 or 4"),
            id="beyond the valid values",
        ),
        pytest.param(
            shared("10", values("1")), asking("2"), CapacityPolicy("mem", q("2"), "1"), id="not one"
        ),
        pytest.param(
            shared("10", values("1", "2", "4")),
            asking("5"),
            CapacityPolicy("mem", q("5"), "1, 2 or 4"),
            id="beyond several valid values",
        ),
        pytest.param(
            shared("10", ranged("2", "4", "2")),
            asking("5"),
            CapacityPolicy("mem", q("6"), "from 2 to 4 in steps of 2"),
            id="beyond the maximum",
        ),
        pytest.param(
            shared("10"), asking("5", "cores"), CapacityMissing("cores"), id="not published"
        ),
        pytest.param(
            shared("10"), asking("11"), CapacityShort("mem", q("11"), q("10")), id="too much"
        ),
        pytest.param(
            a_device(capacity={"mem": "10"}),
            asking("11"),
            CapacityShort("mem", q("11"), q("10")),
            id="too much for a whole device",
        ),
    ],
)
def test_a_device_that_cannot_give_that_much_is_refused(
    device: Device, claim: ResourceClaim, want: Rejection
) -> None:
    snapshot = a_snapshot(a_slice([device]))
    assert isinstance(attempt(snapshot, claim), Unsatisfiable)
    assert reasons(snapshot, claim) == [want]


def test_a_whole_device_is_only_compared() -> None:
    outcome = attempt(a_snapshot(a_slice([a_device(capacity={"mem": "10"})])), asking("3"))
    assert isinstance(outcome, Allocated)
    assert [device.share_id for device in outcome.results[0].devices] == [None]
    assert consumed(outcome) == [None]


def test_shares_go_out_until_the_capacity_is_gone() -> None:
    snapshot = a_snapshot(a_slice([shared("10")]))
    claims = [asking("5", claim=name) for name in ("a", "b", "c")]
    outcome = attempt(snapshot, *claims[:2])
    assert isinstance(outcome, Allocated)
    assert [each.devices[0].share_id for each in outcome.results] == ["share-1", "share-2"]
    assert isinstance(attempt(snapshot, *claims), Unsatisfiable)
    assert reasons(snapshot, *claims) == [CapacityShort("mem", q("5"), q("0"))]


def test_one_request_never_takes_two_shares_of_a_device() -> None:
    snapshot = a_snapshot(a_slice([shared("10")]))
    claim = a_claim(a_request(count=2, capacity={"mem": "1"}))
    assert isinstance(attempt(snapshot, claim), Unsatisfiable)


def test_shares_that_are_out_count() -> None:
    snapshot = with_shares(a_snapshot(a_slice([shared("10")])), mem="6")
    assert given(attempt(snapshot, asking("4"))) == [["gpu=gpu-0"]]
    assert reasons(snapshot, asking("5")) == [CapacityShort("mem", q("5"), q("4"))]


def test_a_device_without_capacity_has_any_number_of_shares() -> None:
    device = a_device(allow_multiple_allocations=True)
    claims = [a_claim(name=f"c{n}") for n in range(5)]
    outcome = attempt(a_snapshot(a_slice([device])), *claims)
    assert consumed(outcome) == [None] * 5


def test_names_with_and_without_the_domain_are_the_same() -> None:
    snapshot = with_shares(a_snapshot(a_slice([shared("10", name=f"{DRIVER}/mem")])), mem="6")
    assert consumed(attempt(snapshot, asking("4"))) == [{f"{DRIVER}/mem": "4"}]
    assert isinstance(attempt(snapshot, asking("5")), Unsatisfiable)


def test_names_with_and_without_the_domain_differ_as_in_release_1_37() -> None:
    features = Features(as_release_1_37=True)
    snapshot = a_snapshot(a_slice([shared("10")]), features=features)
    assert reasons(snapshot, asking("4", f"{DRIVER}/mem")) == [CapacityMissing(f"{DRIVER}/mem")]


def test_all_leaves_out_devices_that_are_too_small_but_not_exhausted_ones() -> None:
    small = replace(shared("2"), name="small")
    claim = a_claim(a_request(mode=ALL, capacity={"mem": "5"}))
    snapshot = a_snapshot(a_slice([shared("10"), small]))
    assert given(attempt(snapshot, claim)) == [["gpu=gpu-0"]]
    assert isinstance(attempt(with_shares(snapshot, mem="6"), claim), Unsatisfiable)


def test_a_device_that_became_exclusive_is_not_given_away_while_shares_are_out() -> None:
    snapshot = with_shares(a_snapshot(a_slice([a_device(capacity={"mem": "10"})])), mem="1")
    assert reasons(snapshot, asking("1")) == [InUse(("ml/eval",))]


@pytest.mark.parametrize(
    ("device", "amount", "detail"),
    [
        (shared("10"), "-5", "capacity `mem`: -5 is negative"),
        (
            shared("10", ranged("2", "10", "2")),
            "18446744073709551616",
            "capacity `mem`: 18446744073709551616 is more than the arithmetic of the device's "
            "range can hold",
        ),
        (
            shared("10", ranged("2", "10", "2")),
            "9223372036854775",
            "capacity `mem`: 9223372036854775, rounded up to the next step, is more than the "
            "arithmetic of the device's range can hold",
        ),
    ],
)
def test_amounts_that_nobody_can_compute_with_end_the_attempt(
    device: Device, amount: str, detail: str
) -> None:
    with pytest.raises(InvalidClaimError) as caught:
        attempt(a_snapshot(a_slice([device])), asking(amount))
    assert caught.value.reason == "CapacityOutOfRange"
    assert caught.value.detail == f"device {GPU_0}: {detail}"


def test_without_the_feature_devices_are_given_away_whole() -> None:
    features = Features(consumable_capacity=False)
    snapshot = a_snapshot(a_slice([shared("10")]), features=features)
    outcome = attempt(snapshot, a_claim())
    assert consumed(outcome) == [None]
    assert isinstance(attempt(snapshot, a_claim(name="a"), a_claim(name="b")), Unsatisfiable)
    assert reasons(with_shares(snapshot, mem="1"), a_claim()) == [InUse(("ml/eval",))]


@pytest.mark.parametrize(
    ("device", "want"),
    [
        (a_device(capacity={"mem": "10"}), False),
        (a_device(capacity={"mem": "0"}), False),
        (a_device(capacity={"mem": "-1n"}), True),
        (a_device(capacity={"mem": DeviceCapacity(q("10"), values("2"))}), True),
        (a_device(allow_multiple_allocations=True), True),
    ],
    ids=["plain", "none", "negative", "with a policy", "shared"],
)
def test_capacity_matters_to_requests_that_ask_for_none_where_it_has_rules(
    device: Device, *, want: bool
) -> None:
    (record,) = Inventory.build([a_slice([device])]).devices
    assert record.has_capacity_rules is want
