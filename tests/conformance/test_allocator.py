# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of the upstream allocator, release 1.37.2: every case agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.allocator_vectors import Report, deliberate_differences, run_allocator_cases

VECTORS = Path(__file__).parent / "vectors"

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def cases() -> Report:
    return run_allocator_cases(VECTORS / "allocator-cases.jsonl")


@pytest.fixture(scope="module")
def generated() -> Report:
    return run_allocator_cases(VECTORS / "allocator-random.jsonl")


def test_every_case_agrees(cases: Report) -> None:
    assert [str(each) for each in cases.disagreements] == []
    assert (cases.total, cases.agree.total()) == (210, 210)


def test_every_generated_case_agrees(generated: Report) -> None:
    assert [str(each) for each in generated.disagreements] == []
    assert (generated.total, generated.agree.total()) == (334, 334)


def test_counting_proofs_save_steps_and_change_no_answer(cases: Report, generated: Report) -> None:
    assert cases.fewer_steps >= 10
    assert generated.fewer_steps >= 40


def test_no_recorded_call_differs_on_purpose(cases: Report, generated: Report) -> None:
    assert (cases.deliberate, generated.deliberate, list(deliberate_differences())) == ([], [], [])


def test_a_call_that_the_table_names_is_deliberate(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "| what | recorded calls that differ |\n|---|---|\n| `a` | `one`, `two` |\n| b | none |\n",
        encoding="utf-8",
    )

    assert deliberate_differences(page) == {"one", "two"}
