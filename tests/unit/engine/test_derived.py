# SPDX-License-Identifier: Apache-2.0
"""Attributes that a request derives, as its constraints see them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.allocator import explain_node
from berth.engine.derived import DerivedAttributeTable
from berth.engine.inventory import Inventory
from berth.engine.rejections import AttributeMissing, ConstraintRefused
from berth.errors import InvalidClaimError
from berth.model.claims import DerivedAttribute, DeviceRequest, ResourceClaim
from berth.model.devices import AttributeValue, DeviceID
from berth.model.features import Features
from tests.support.allocations import a_snapshot, attempt, given
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_node,
    a_slice,
    devices,
    matching,
)

ON = replace(Features(), derived_attributes=True)
PARITY = f'device.attributes["{DRIVER}"].index % 2'


def deriving(expression: str, count: int = 2, name: str = "derived/parity") -> ResourceClaim:
    body = replace(a_body(count=count), derived_attributes=(DerivedAttribute(name, expression),))
    return a_claim(DeviceRequest("gpu", exactly=body), constraints=[matching(name)])


def test_a_constraint_uses_what_the_request_derives() -> None:
    snapshot = a_snapshot(a_slice(devices(3)), features=ON)
    assert given(attempt(snapshot, deriving(PARITY))) == [["gpu=gpu-0", "gpu=gpu-2"]]


def test_a_derived_attribute_hides_a_published_one() -> None:
    claim = deriving(PARITY, name=f"{DRIVER}/index")
    snapshot = a_snapshot(a_slice(devices(3)), features=ON)
    assert given(attempt(snapshot, claim)) == [["gpu=gpu-0", "gpu=gpu-2"]]


def test_a_refusal_tells_the_derived_values() -> None:
    snapshot = a_snapshot(a_slice(devices(2)), features=ON)
    explained = explain_node(snapshot, a_node(), [deriving(PARITY)])
    assert [each.rejection for each in explained.rejected] == [
        ConstraintRefused(
            "matchAttribute", "derived/parity", "1", DeviceID(DRIVER, "node-1", "gpu-0"), "0"
        )
    ]


def test_an_empty_list_is_of_no_use() -> None:
    snapshot = a_snapshot(a_slice(devices(1)), features=ON)
    explained = explain_node(snapshot, a_node(), [deriving("[]", count=1)])
    assert [each.rejection for each in explained.rejected] == [
        AttributeMissing("matchAttribute", "derived/parity")
    ]


@pytest.mark.parametrize(
    ("expression", "detail"),
    [
        ("device.driver +", "CEL does not compile"),
        (f'device.attributes["{DRIVER}"].missing', "CEL failed: no such key"),
        ("1.5", "CEL failed: the result of the expression must be a bool, an int"),
        (
            "[dyn(1), dyn('a')]",
            "CEL failed: the result of the expression is a list of different types",
        ),
    ],
)
def test_one_that_fails_ends_the_attempt(expression: str, detail: str) -> None:
    with pytest.raises(InvalidClaimError) as caught:
        attempt(a_snapshot(a_slice(devices(2)), features=ON), deriving(expression))
    assert caught.value.reason == "DerivedAttributeFailed"
    where = f"derived attribute `derived/parity` on device {DRIVER}/node-1/gpu-0: "
    assert caught.value.detail.startswith(where + detail)


def test_one_that_no_constraint_asks_for_is_not_evaluated() -> None:
    claim = deriving("nonsense +", count=1)
    claim = replace(claim, spec=replace(claim.spec, constraints=()))
    assert given(attempt(a_snapshot(a_slice(devices(1)), features=ON), claim)) == [["gpu=gpu-0"]]


def test_an_error_is_not_hidden_by_a_counting_proof() -> None:
    only_first = f'device.attributes["{DRIVER}"].index == 0 ? 1 : 1 / 0'
    with pytest.raises(InvalidClaimError):
        attempt(a_snapshot(a_slice(devices(3)), features=ON), deriving(only_first, count=9))


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        ("true", AttributeValue(bool_value=True)),
        ("3", AttributeValue(int_value=3)),
        ("'a'", AttributeValue(string_value="a")),
        ("semver('1.2.3-rc.1+build')", AttributeValue(version_value="1.2.3-rc.1")),
        ("semver('1.2.3')", AttributeValue(version_value="1.2.3")),
        ("[1, 2]", AttributeValue(ints=(1, 2))),
        ("[true]", AttributeValue(bools=(True,))),
        ("['a', 'b']", AttributeValue(strings=("a", "b"))),
        ("[semver('1.0.0')]", AttributeValue(versions=("1.0.0",))),
    ],
)
def test_values_become_attributes(expression: str, want: AttributeValue) -> None:
    record = Inventory.build([a_slice(devices(1))]).devices[0]
    assert DerivedAttributeTable(expression).value(record) == want
