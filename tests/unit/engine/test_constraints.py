# SPDX-License-Identifier: Apache-2.0
"""matchAttribute and distinctAttribute (KEP-4381, KEP-5075, KEP-5491)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from berth.engine.constraints import Constraint, ValueSet, value_set
from berth.engine.records import DeviceRecord
from berth.engine.rejections import AttributeMissing, ConstraintRefused
from berth.model.features import Features
from tests.support.builders import (
    DRIVER,
    Plain,
    a_device,
    a_slice,
    a_version,
    distinct,
    matching,
)

NAME = f"{DRIVER}/numa"
LISTS = Features(list_type_attributes=True)


def a_record(name: str, value: Plain | None, key: str = "numa") -> DeviceRecord:
    device = a_device(name, attributes={} if value is None else {key: value})
    return DeviceRecord(device, a_slice([device], pool="p"), ())


def accepted(constraint: Constraint, values: Sequence[Plain | None]) -> list[bool]:
    return [
        constraint.try_add(a_record(f"d{number}", value)) for number, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "want_match", "want_distinct"),
    [
        ([0, 0, 1], [True, True, False], [True, False, True]),
        (["a", "b", "a"], [True, False, True], [True, True, False]),
        ([True, True], [True, True], [True, False]),
        ([1, True, "1"], [True, False, False], [True, True, True]),
        ([None, 0], [False, True], [False, True]),
        ([a_version("1.2.3"), a_version("1.2.3+build")], [True, True], [True, False]),
        ([a_version("1.2.3"), a_version("1.2.3-rc.1")], [True, False], [True, True]),
        ([a_version("1.2"), 0], [False, True], [False, True]),
        ([["a", "b"], "a"], [False, True], [False, True]),
    ],
    ids=[
        "integers",
        "strings",
        "booleans",
        "types are never equal",
        "a missing attribute is refused",
        "build metadata does not count",
        "a pre-release does",
        "a version that is none is refused",
        "lists are refused while their feature is off",
    ],
)
def test_values_are_compared(
    values: Sequence[Plain | None], want_match: list[bool], want_distinct: list[bool]
) -> None:
    assert accepted(Constraint(matching(NAME), Features()), values) == want_match
    assert accepted(Constraint(distinct(NAME), Features()), values) == want_distinct


@pytest.mark.parametrize(
    ("values", "want_match", "want_distinct"),
    [
        ([["a", "b"], ["b", "c"], ["a"]], [True, True, False], [True, False, False]),
        ([["a", "b"], "b", "a"], [True, True, False], [True, False, False]),
        ([["a"], [1]], [True, False], [True, True]),
        ([a_version("1.0.0"), a_version("1.0.0+x")], [True, False], [True, True]),
    ],
    ids=["sets narrow", "a scalar is a set of one", "types never meet", "versions by their text"],
)
def test_lists_are_sets(
    values: Sequence[Plain | None], want_match: list[bool], want_distinct: list[bool]
) -> None:
    assert accepted(Constraint(matching(NAME), LISTS), values) == want_match
    assert accepted(Constraint(distinct(NAME), LISTS), values) == want_distinct


def test_in_release_1_37_a_list_can_be_alone_while_lists_are_off() -> None:
    features = Features(as_release_1_37=True)
    assert accepted(Constraint(matching(NAME), features), [["a"], ["a"], "a"]) == [
        True,
        False,
        False,
    ]
    assert accepted(Constraint(distinct(NAME), features), [["a"]]) == [False]


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (1, ValueSet("int", frozenset({1}))),
        (True, ValueSet("bool", frozenset({True}))),
        ("a", ValueSet("string", frozenset({"a"}))),
        ([1, 2], ValueSet("int", frozenset({1, 2}))),
        ([True], ValueSet("bool", frozenset({True}))),
        (["a", "b"], ValueSet("string", frozenset({"a", "b"}))),
        (a_version("1.0.0"), ValueSet("version", frozenset({"1.0.0"}))),
    ],
    # Not the text of the values: that of a set is another one in every process.
    ids=["int", "bool", "string", "ints", "bools", "strings", "version"],
)
def test_a_scalar_and_a_list_of_it_have_one_type(value: Plain, want: ValueSet) -> None:
    (attribute,) = a_device(attributes={"numa": value}).attributes.values()

    assert value_set(attribute, lists=True) == want


def test_undo_widens_the_common_values_again() -> None:
    constraint = Constraint(matching(NAME), LISTS)
    narrow = a_record("narrow", ["a"])
    assert constraint.try_add(a_record("wide", ["a", "b"]))
    before = constraint.state()
    assert constraint.try_add(narrow)
    assert not constraint.try_add(a_record("other", ["b"]))
    constraint.undo_add(narrow)
    assert constraint.state() == before
    assert constraint.try_add(a_record("other", ["b"]))


def test_undoing_another_device_than_the_last_one_is_a_bug() -> None:
    constraint = Constraint(matching(NAME), Features())
    constraint.try_add(a_record("a", 1))
    with pytest.raises(AssertionError, match=r"undo of <device .*/b>, but <device .*/a> was"):
        constraint.undo_add(a_record("b", 1))


def test_a_bare_name_belongs_to_the_domain_of_the_driver() -> None:
    foreign = Constraint(matching("other.example.com/numa"), Features())
    assert accepted(foreign, [0]) == [False]
    assert foreign.try_add(a_record("d", 0, key="other.example.com/numa"))
    both = a_device("both", attributes={"numa": 1, NAME: 0})
    own = Constraint(matching(NAME), Features())
    assert own.try_add(a_record("d", 0))
    assert own.try_add(DeviceRecord(both, a_slice([both]), ())), "the qualified name wins"


def test_a_refusal_names_the_device_that_it_is_against() -> None:
    match = Constraint(matching(NAME), Features())
    match.try_add(a_record("first", 0))
    other = a_record("second", 1)
    assert match.refusal(other) == ConstraintRefused(
        "matchAttribute", NAME, "1", a_record("first", 0).id, "0"
    )
    assert match.refusal(a_record("third", None)) == AttributeMissing("matchAttribute", NAME)
    differ = Constraint(distinct(NAME), Features())
    differ.try_add(a_record("first", 0))
    differ.try_add(a_record("second", 1))
    assert differ.refusal(a_record("third", 0)) == ConstraintRefused(
        "distinctAttribute", NAME, "0", a_record("first", 0).id, "0"
    )
