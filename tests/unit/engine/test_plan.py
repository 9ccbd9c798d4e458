# SPDX-License-Identifier: Apache-2.0
"""Claims that cannot be honoured as written, and in which order mistakes are found."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.outcomes import Unsatisfiable
from berth.engine.rejections import PoolIncomplete
from berth.errors import InvalidClaimError
from berth.model.claims import (
    ALL,
    DerivedAttribute,
    DeviceConstraint,
    DeviceRequest,
    ResourceClaim,
)
from berth.model.devices import PoolID
from berth.model.features import Features
from berth.model.slices import Selector
from tests.support.allocations import DEFAULTS, a_snapshot, attempt, given
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_device,
    a_request,
    a_slice,
    devices,
    distinct,
    first_available,
    matching,
)

FUTURE = Selector(None)


def mistake(claim: ResourceClaim, features: Features = DEFAULTS) -> tuple[str, str]:
    classes = [a_class(), replace(a_class("future"), selectors=(FUTURE,))]
    with pytest.raises(InvalidClaimError) as caught:
        attempt(a_snapshot(a_slice(devices(40)), classes=classes, features=features), claim)
    return caught.value.reason, str(caught.value)


def one(request: DeviceRequest) -> ResourceClaim:
    return a_claim(request)


@pytest.mark.parametrize(
    ("claim", "features", "want_reason", "want_text"),
    [
        pytest.param(
            one(a_request(device_class="nope")),
            DEFAULTS,
            "MissingDeviceClass",
            "claim default/claim, request gpu: DeviceClass nope does not exist",
            id="class missing",
        ),
        pytest.param(
            one(a_request(device_class="")),
            DEFAULTS,
            "MissingDeviceClass",
            "claim default/claim, request gpu: no DeviceClass is named",
            id="class empty",
        ),
        pytest.param(
            one(first_available("gpu", a_body(name="a"), a_body(name="b", device_class="nope"))),
            DEFAULTS,
            "MissingDeviceClass",
            "claim default/claim, request gpu/b: DeviceClass nope does not exist",
            id="class of an alternative that is not needed",
        ),
        pytest.param(
            one(a_request(mode="Some")),
            DEFAULTS,
            "UnsupportedMode",
            "claim default/claim, request gpu: allocation mode `Some` is not supported: "
            "use `ExactCount` or `All`",
            id="mode unknown",
        ),
        pytest.param(
            one(DeviceRequest("gpu")),
            DEFAULTS,
            "UnsupportedMode",
            "claim default/claim, request gpu: neither exactly nor firstAvailable is set: "
            "request types of later releases are not supported",
            id="request type unknown",
        ),
        pytest.param(
            one(DeviceRequest("gpu", replace(a_body(), selectors=(FUTURE,)))),
            DEFAULTS,
            "UnsupportedSelector",
            "claim default/claim, request gpu: selector #0 has a type that is not known: "
            "only cel is supported",
            id="selector type unknown",
        ),
        pytest.param(
            one(a_request(device_class="future")),
            DEFAULTS,
            "UnsupportedSelector",
            "claim default/claim, request gpu: selector #0 of class future has a type that is "
            "not known: only cel is supported",
            id="selector type of a class unknown",
        ),
        pytest.param(
            a_claim(constraints=[DeviceConstraint()]),
            DEFAULTS,
            "UnsupportedConstraint",
            "claim default/claim: constraint #0 has a type that is not known",
            id="constraint type unknown",
        ),
        pytest.param(
            a_claim(constraints=[distinct("a/b")]),
            Features(consumable_capacity=False),
            "UnsupportedConstraint",
            "claim default/claim: constraint #0 is distinctAttribute, which needs feature "
            "DRAConsumableCapacity",
            id="distinctAttribute while its feature is off",
        ),
        pytest.param(
            a_claim(constraints=[matching("numa")]),
            DEFAULTS,
            "UnsupportedConstraint",
            "claim default/claim: constraint #0: attribute `numa` has no domain: write it as "
            "`domain/name`",
            id="attribute without a domain",
        ),
        pytest.param(
            one(first_available("gpu", a_body(name="a"))),
            Features(prioritized_list=False),
            "FeatureDisabled",
            "claim default/claim, request gpu: firstAvailable needs feature DRAPrioritizedList, "
            "which is off",
            id="prioritized list while its feature is off",
        ),
        pytest.param(
            one(a_request(admin_access=False)),
            Features(admin_access=False),
            "FeatureDisabled",
            "claim default/claim, request gpu: adminAccess needs feature DRAAdminAccess, "
            "which is off",
            id="adminAccess while its feature is off, even where it is false",
        ),
        pytest.param(
            one(a_request(capacity={"memory": "1Gi"})),
            Features(consumable_capacity=False),
            "FeatureDisabled",
            "claim default/claim, request gpu: a capacity request needs feature "
            "DRAConsumableCapacity, which is off",
            id="capacity while its feature is off",
        ),
        pytest.param(
            one(
                DeviceRequest(
                    "gpu", replace(a_body(), derived_attributes=(DerivedAttribute("a/b", "1"),))
                )
            ),
            DEFAULTS,
            "FeatureDisabled",
            "claim default/claim, request gpu: derivedAttributes need feature "
            "DRADerivedAttributes, which is off",
            id="derived attributes while their feature is off",
        ),
        pytest.param(
            a_claim(a_request("a", count=30), a_request("b", count=3)),
            DEFAULTS,
            "TooManyDevices",
            "claim default/claim: 33 devices are requested, but the limit of one claim is 32",
            id="more devices than a claim can have",
        ),
        pytest.param(
            one(a_request(mode=ALL)),
            DEFAULTS,
            "TooManyDevices",
            "claim default/claim: 40 devices are requested, but the limit of one claim is 32",
            id="more devices than a claim can have, in mode All",
        ),
    ],
)
def test_a_claim_that_cannot_be_honoured_says_why(
    claim: ResourceClaim, features: Features, want_reason: str, want_text: str
) -> None:
    assert mistake(claim, features) == (want_reason, want_text)


def test_the_first_claim_with_a_mistake_is_named() -> None:
    snapshot = a_snapshot(a_slice(devices(1)))
    with pytest.raises(InvalidClaimError, match="claim default/second, request gpu: Device"):
        attempt(snapshot, a_claim(), a_claim(a_request(device_class="x"), name="second"))


BAD = a_slice(devices(1), driver="net.example.com", pool="switch", count=2, all_nodes=True)


def test_all_beside_an_incomplete_pool_leaves_out_the_node() -> None:
    snapshot = a_snapshot([a_slice(devices(1)), BAD])
    problem = PoolIncomplete(PoolID("net.example.com", "switch"), 1, seen=1, want=2)
    assert attempt(snapshot, one(a_request(mode=ALL))) == Unsatisfiable(0, (problem,))
    assert given(attempt(snapshot, one(a_request()))) == [["gpu=gpu-0"]]


def test_all_beside_an_incomplete_pool_is_fatal_as_in_release_1_37() -> None:
    snapshot = a_snapshot([a_slice(devices(1)), BAD], features=Features(as_release_1_37=True))
    with pytest.raises(InvalidClaimError) as caught:
        attempt(snapshot, one(a_request(mode=ALL)))
    assert caught.value.reason == "BadPool"
    assert str(caught.value) == (
        "claim default/claim, request gpu: all devices are requested, but resource pool "
        "`net.example.com/switch` is currently being updated"
    )


def test_all_cannot_leave_out_a_device_that_a_constraint_refuses() -> None:
    published = a_slice([a_device(f"gpu-{n}", attributes={"numa": n}) for n in range(2)])
    claim = a_claim(a_request(mode=ALL), constraints=[matching(f"{DRIVER}/numa")])
    with pytest.raises(InvalidClaimError) as caught:
        attempt(a_snapshot(published), claim)
    assert caught.value.reason == "AllConstraintConflict"
    assert caught.value.detail == (
        f"device {DRIVER}/node-1/gpu-1 matches, but a constraint of the claim refuses it beside "
        "the others, and mode All cannot leave it out"
    )
