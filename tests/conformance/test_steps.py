# SPDX-License-Identifier: Apache-2.0
"""A search that became slower shows in its steps: each recorded call takes as many as before.

Steps depend on nothing but the input, so that this needs no clock. `make golden` writes the counts
anew; more of them in a diff are worth a reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.allocator_vectors import read_cases, steps_of

VECTORS = Path(__file__).parent / "vectors"
STEPS = VECTORS / "steps.json"
FILES = ("allocator-cases.jsonl", "allocator-random.jsonl")

pytestmark = pytest.mark.conformance


def counted(name: str) -> Mapping[str, int]:
    return {case["name"]: steps_of(case) for case in read_cases(VECTORS / name)}


@pytest.mark.parametrize("name", FILES)
def test_every_recorded_call_takes_its_golden_number_of_steps(name: str) -> None:
    now = counted(name)
    known = json.loads(STEPS.read_text(encoding="utf-8")) if STEPS.is_file() else {}
    if os.environ.get("BERTH_GOLDEN") == "write":
        known[name] = now
        STEPS.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")

    changed = {
        case: (known[name].get(case), steps)
        for case, steps in now.items()
        if known[name].get(case) != steps
    }
    assert changed == {}, "`make golden` writes the counts anew"
    assert list(known[name]) == list(now)


def test_the_golden_numbers_are_never_more_than_upstream_took() -> None:
    known = json.loads(STEPS.read_text(encoding="utf-8"))

    assert list(known) == sorted(FILES)
    for name in FILES:
        for case in read_cases(VECTORS / name):
            assert known[name][case["name"]] <= case["steps"], case["name"]
