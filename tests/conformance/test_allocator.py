# SPDX-License-Identifier: Apache-2.0
"""Recorded answers of the upstream allocator, release 1.37.2: every supported case agrees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.allocator_vectors import Report, run_allocator_cases

VECTORS = Path(__file__).parent / "vectors"

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def cases() -> Report:
    return run_allocator_cases(VECTORS / "allocator-cases.jsonl", only_supported=True)


@pytest.fixture(scope="module")
def generated() -> Report:
    return run_allocator_cases(VECTORS / "allocator-random.jsonl", only_supported=True)


def test_every_supported_case_agrees(cases: Report) -> None:
    print(cases)  # noqa: T201 - the counts are what the reader of a conformance run wants
    assert [str(each) for each in cases.disagreements] == []
    assert (cases.agree.total(), cases.left.total()) == (126, 84)


def test_every_generated_case_agrees(generated: Report) -> None:
    print(generated)  # noqa: T201 - as above
    assert [str(each) for each in generated.disagreements] == []
    assert (generated.agree.total(), generated.left.total()) == (300, 0)


def test_counting_proofs_save_steps_and_change_no_answer(cases: Report, generated: Report) -> None:
    assert cases.fewer_steps >= 10
    assert generated.fewer_steps >= 40
