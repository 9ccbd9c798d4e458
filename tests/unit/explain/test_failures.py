# SPDX-License-Identifier: Apache-2.0
"""What a user reads of each kind of failure; the texts are written anew by ``make golden``."""

from __future__ import annotations

import json

import pytest

from berth.explain.data import as_json
from berth.explain.line import one_line
from berth.explain.tree import tree
from tests.support.failures import FAILURES
from tests.unit.explain.test_golden import check_golden


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_reads_as_its_golden_text(name: str) -> None:
    conflict = FAILURES[name]()

    check_golden(f"{name}.txt", f"{one_line(conflict)}\n\n---\n\n{tree(conflict)}\n")


def test_a_failure_as_json_is_its_golden_data() -> None:
    text = json.dumps(as_json(FAILURES["failure-in-use"]()), indent=2, ensure_ascii=False)

    check_golden("failure-in-use.json", f"{text}\n")


def test_a_hint_as_data_has_its_kind_its_fields_and_its_sentence() -> None:
    hints = as_json(FAILURES["failure-node"]())["hints"]

    assert hints == [
        {
            "type": "MendNode",
            "node": "gpu-2",
            "reason": {"type": "ResourceShort", "resource": "cpu", "want": 4000, "free": 1500},
            "message": "it fits on node gpu-2 if 2500m more cpu were free",
        },
        {
            "type": "ReleaseClaim",
            "claim": "team-a/train-7",
            "message": "it fits if claim team-a/train-7 were released",
        },
    ]
