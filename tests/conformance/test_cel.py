# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of cel-go: every case agrees, or is listed as not supported."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth.cel import compile_selector
from berth.cel.cost import least_cost
from berth.errors import CelRuntimeError, InvalidSelectorError
from tests.support.cel_vectors import CASES, VECTORS, Report, cases, fixture, run_cel_cases

PENDING = Path(__file__).parent / "cel_pending.txt"

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def table() -> Report:
    return run_cel_cases(CASES)


@pytest.fixture(scope="module")
def generated() -> Report:
    return run_cel_cases(VECTORS / "cel-random.jsonl")


def _pending() -> set[str]:
    lines = PENDING.read_text(encoding="utf-8").splitlines()
    return {line.split()[0] for line in lines if line and not line.startswith("#")}


def test_every_case_of_the_table_agrees_with_cel_go(table: Report) -> None:
    assert table.total == 470
    assert table.disagreements == ()


def test_every_generated_expression_agrees_with_cel_go(generated: Report) -> None:
    assert generated.total == 1000
    assert generated.disagreements == ()


def test_exactly_the_listed_cases_are_unsupported(table: Report, generated: Report) -> None:
    unsupported = {case.id for case in (*table.deliberate, *generated.deliberate)}
    assert unsupported == _pending()
    agreeing = table.agree + generated.agree
    assert agreeing == table.total + generated.total - len(_pending())


def test_mistakes_that_a_checker_finds_have_a_place_in_the_expression() -> None:
    static = [case for case in cases(CASES) if case.get("static")]
    assert len(static) > 30
    for case in static:
        with pytest.raises(InvalidSelectorError) as caught:
            compile_selector(case["expr"])
        assert caught.value.span is not None, case["id"]
        start, end = caught.value.span
        assert 0 <= start < end <= len(case["expr"]), case["id"]


@pytest.mark.parametrize("file", ["cel-cases.yaml", "cel-random.jsonl"])
def test_what_is_charged_never_exceeds_the_cost_that_upstream_counts(file: str) -> None:
    devices = {
        name: fixture(name) for name in ("gpu", "bare", "shared", "exclusive", "anon", "long")
    }
    compared = 0
    for case in cases(VECTORS / file):
        if "cost" not in case or case["id"] == "ts-tz":
            continue
        selector = compile_selector(case["expr"])
        assert least_cost(selector.checked.root) <= case["cost"], case["id"]
        try:
            _, charge = selector.charged(devices[case["device"]])
        except CelRuntimeError:
            continue
        compared += 1
        assert charge <= case["cost"], case["id"]
    assert compared > 300
