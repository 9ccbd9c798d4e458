# SPDX-License-Identifier: Apache-2.0
"""Every kind of failure has its text; ``make golden`` writes the texts anew."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from berth.explain.data import as_json
from berth.explain.line import one_line
from berth.explain.tree import tree
from tests.support.conflicts import CASES
from tests.support.failures import FAILURES

GOLDEN = Path(__file__).parents[2] / "golden" / "explain"


def check_golden(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("BERTH_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("case", CASES)
def test_a_conflict_reads_as_its_golden_text(case: str) -> None:
    conflict = CASES[case]()

    check_golden(f"{case}.txt", f"{one_line(conflict)}\n\n---\n\n{tree(conflict)}\n")


@pytest.mark.parametrize("case", ["many-nodes", "all-was-allocated", "incomplete-pool"])
def test_a_conflict_as_json_is_its_golden_data(case: str) -> None:
    text = json.dumps(as_json(CASES[case]()), indent=2, ensure_ascii=False)

    check_golden(f"{case}.json", f"{text}\n")


def test_no_golden_file_is_without_its_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES, *FAILURES}
