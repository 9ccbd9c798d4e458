# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of cel-go: every case agrees, and costs the same."""

from __future__ import annotations

import pytest

from berth.cel import compile_selector
from berth.errors import InvalidSelectorError
from tests.support.cel_vectors import CASES, VECTORS, Report, cases, fixture, run_cel_cases

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def table() -> Report:
    return run_cel_cases(CASES)


@pytest.fixture(scope="module")
def generated() -> Report:
    return run_cel_cases(VECTORS / "cel-random.jsonl")


def test_every_case_of_the_table_agrees_with_cel_go(table: Report) -> None:
    assert table.total == 470
    assert table.disagreements == ()


def test_every_generated_expression_agrees_with_cel_go(generated: Report) -> None:
    assert generated.total == 1000
    assert generated.disagreements == ()


def test_no_case_is_left_out(table: Report, generated: Report) -> None:
    assert (*table.deliberate, *generated.deliberate) == ()
    assert (table.agree, generated.agree) == (470, 1000)


def test_mistakes_that_a_checker_finds_have_a_place_in_the_expression() -> None:
    static = [case for case in cases(CASES) if case.get("static")]
    assert len(static) > 30
    for case in static:
        with pytest.raises(InvalidSelectorError) as caught:
            compile_selector(case["expr"])
        assert caught.value.span is not None, case["id"]
        start, end = caught.value.span
        assert 0 <= start < end <= len(case["expr"]), case["id"]


@pytest.mark.parametrize(
    ("file", "estimates", "costs"), [("cel-cases.yaml", 420, 417), ("cel-random.jsonl", 870, 870)]
)
def test_estimates_and_costs_equal_those_of_upstream(file: str, estimates: int, costs: int) -> None:
    compared = [0, 0]
    for case in cases(VECTORS / file):
        if "max_cost" not in case:
            continue
        selector = compile_selector(case["expr"])
        assert selector.max_cost == case["max_cost"], case["id"]
        compared[0] += 1
        if "cost" in case:
            measured = selector.measure(fixture(case["device"]))
            assert measured.cost == case["cost"], case["id"]
            compared[1] += 1
    assert compared == [estimates, costs]


@pytest.mark.parametrize("file", ["cel-cases.yaml", "cel-random.jsonl"])
def test_the_metered_form_gives_the_same_answers(file: str) -> None:
    compared = 0
    for case in cases(VECTORS / file):
        if case["want"] == "compile_error":
            continue
        measured = compile_selector(case["expr"]).measure(fixture(case["device"]))
        bad = measured.error is not None or type(measured.value) is not bool
        assert case["want"] == ("runtime_error" if bad else str(measured.value).lower()), case["id"]
        compared += 1
    assert compared > 400
