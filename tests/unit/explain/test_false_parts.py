# SPDX-License-Identifier: Apache-2.0
"""Which part of a selector is false on a device, with the values that it read, and in words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from berth.cel import CelDevice
from berth.explain.conflict import FalsePart
from berth.explain.false_parts import false_parts
from berth.explain.selector_words import false_sentence
from tests.support.builders import DRIVER, a_device, a_version
from tests.support.failures import a_cluster, fleet

A = f'device.attributes["{DRIVER}"]'
C = f'device.capacity["{DRIVER}"]'


def a_cel_device() -> CelDevice:
    published = a_device(
        "gpu-0",
        attributes={
            "model": "a100",
            "healthy": False,
            "n": 3,
            "firmware": a_version("1.2.3"),
            "beta": a_version("1.2.3-rc.1"),
            "modes": ["a", "b"],
        },
        capacity={"memory": "40Gi", "slots": "3"},
    )
    (record,) = a_cluster(fleet([published], ["gpu-1"])).inventory.devices
    return record.cel


DEVICE = a_cel_device()


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        (f'{A}.model == "h100"', 'attribute model is "a100", selector wants "h100"'),
        (f'{A}["model"] != "a100"', 'attribute model is "a100", selector wants `!= "a100"`'),
        (f"{A}.healthy", "attribute healthy is false, selector wants true"),
        (f"{A}.?healthy.orValue(false)", "attribute healthy is false, selector wants true"),
        (f"{A}.?ecc.orValue(false)", "attribute ecc is false, selector wants true"),
        (f"!({A}.n < 5)", f"attribute n is 3, selector wants `!({A}.n < 5)`"),
        (f"{A}.n in [1, 2]", "attribute n is 3, selector wants `in [1, 2]`"),
        (
            f'{C}.memory.compareTo(quantity("80Gi")) >= 0',
            "capacity memory is 40Gi, selector wants >= 80Gi",
        ),
        (
            f'{C}.memory.isGreaterThan(quantity("80Gi"))',
            'capacity memory is 40Gi, selector wants `isGreaterThan(quantity("80Gi"))`',
        ),
        (
            f'{C}.slots.compareTo(quantity("4")) == 0',
            "capacity slots is 3, selector wants == 4",
        ),
        (
            f'{A}.firmware.compareTo(semver("2.0.0")) >= 0',
            "attribute firmware is 1.2.3, selector wants >= 2.0.0",
        ),
        (
            f'{A}.beta.isGreaterThan(semver("2.0.0"))',
            'attribute beta is 1.2.3-rc.1, selector wants `isGreaterThan(semver("2.0.0"))`',
        ),
        (f'"c" in {A}.modes', f'attribute modes is ["a", "b"], selector wants `"c" in {A}.modes`'),
        (f"has({A}.ecc)", f"`has({A}.ecc)` is false"),
        (f"!has({A}.n)", f"`!has({A}.n)` is false"),
        (f'{A}[?"ecc"].hasValue()', "attribute ecc is absent, selector wants `hasValue()`"),
        ('device.driver == "x"', f'driver is "{DRIVER}", selector wants "x"'),
        (
            f"[1, 2].exists(x, x == {A}.n)",
            f"attribute n is 3, selector wants `[1, 2].exists(x, x == {A}.n)`",
        ),
        (
            f"{A}.modes.exists(x, x == 'c')",
            """attribute modes is ["a", "b"], selector wants `exists(x, x == 'c')`""",
        ),
        (f"cel.bind(x, {A}.n, x > 3)", "attribute n is 3, selector wants `x > 3`"),
        ("false", "`false` is false"),
    ],
)
def test_a_false_part_says_what_the_device_has_and_what_is_wanted(
    expression: str, want: str
) -> None:
    assert false_sentence(false_parts(expression, DEVICE)) == want


def texts(expression: str) -> list[str]:
    return [part.text for part in false_parts(expression, DEVICE)]


def test_only_the_false_terms_of_a_conjunction_are_told() -> None:
    assert texts(f'{A}.n == 3 && ({A}.model == "t4") && {A}.healthy') == [
        f'{A}.model == "t4"',
        f"{A}.healthy",
    ]


def test_all_terms_of_a_disjunction_are_told() -> None:
    assert texts(f'{A}.model == "t4" || {A}.n > 5') == [f'{A}.model == "t4"', f"{A}.n > 5"]


def test_a_term_that_fails_beside_a_false_one_is_not_told() -> None:
    assert texts(f'{A}.none == 1 && {A}.model == "t4"') == [f'{A}.model == "t4"']


def test_of_a_choice_the_chosen_branch_is_told() -> None:
    assert texts(f"{A}.n == 3 ? {A}.n > 5 : {A}.n > 6") == [f"{A}.n > 5"]
    assert texts(f"{A}.n == 4 ? {A}.n > 5 : {A}.n > 6") == [f"{A}.n > 6"]


def test_the_span_of_a_part_holds_its_text() -> None:
    expression = f'{A}.n == 3 &&\n  !(has({A}.n)) && {A}.model == "t4"'

    parts = false_parts(expression, DEVICE)

    assert [expression[slice(*part.span)] for part in parts] == [
        f"!(has({A}.n))",
        f'{A}.model == "t4"',
    ]
    assert all(first.span[1] < second.span[0] for first, second in pairwise(parts))


def test_what_is_read_twice_is_told_once() -> None:
    (part,) = false_parts(f"{A}.n == {A}.n + 1", DEVICE)

    assert part.values == ((f"{A}.n", ("3",)),)


@pytest.mark.parametrize("expression", ["true", f"{A}.none == 1"])
def test_nothing_is_told_of_a_selector_that_is_not_false(expression: str) -> None:
    assert false_parts(expression, DEVICE) == ()


def test_a_part_that_reads_nothing_has_no_values() -> None:
    assert false_parts("1 > 2", DEVICE) == (FalsePart((0, 5), "1 > 2"),)
