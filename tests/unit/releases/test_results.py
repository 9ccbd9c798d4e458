# SPDX-License-Identifier: Apache-2.0
"""The table of releases says what the tests said."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from berth.localcluster import paths, programs
from tests.releases import results
from tests.releases.run import PAGE, RESULTS
from tests.support.releases import BASIC, FEATURES, RELEASES, lack

RULES = "taint rules"
REASON = "taint rules: on by default since Kubernetes 1.37"


def line(test: str, outcome: str, *features: str, reason: str = "") -> dict[str, Any]:
    return {
        "test": test,
        "outcome": outcome,
        "reason": reason,
        "features": list(features) or [BASIC],
    }


def test_a_test_counts_once_and_by_its_worst_end() -> None:
    found = results.summary(
        "v1.36.3",
        [
            line("a", "passed"),
            line("b", "passed"),
            # It passed, and could not be cleaned up after.
            line("b", "failed"),
            line("c", "skipped", RULES, reason=REASON),
            line("d", "passed", "prioritized list", RULES),
        ],
    )
    assert found == {
        "version": "v1.36.3",
        "passed": 2,
        "failed": 1,
        "skipped": 1,
        "skips": {REASON: 1},
        "failures": ["b"],
        "features": {
            BASIC: {"failed": 1, "passed": 1},
            "prioritized list": {"passed": 1},
            RULES: {"passed": 1, "skipped": 1},
        },
    }
    assert results.report("1.36", found) == (
        "Kubernetes 1.36 (v1.36.3): 2 passed, 1 failed, 1 skipped\n"
        f"  skipped 1: {REASON}\n"
        "  failed: b"
    )


@pytest.mark.parametrize(
    ("counts", "want"),
    [
        ({"passed": 3}, "yes (3)"),
        ({"passed": 3, "skipped": 1}, "yes (3)"),
        ({"passed": 3, "failed": 1}, "**1 of 4 fail**"),
        ({"skipped": 2}, "not by default"),
        ({}, "not by default"),
    ],
)
def test_a_cell_is_the_outcome_of_its_tests(counts: dict[str, int], want: str) -> None:
    assert results.cell(RULES, "1.36", {"features": {RULES: counts}}) == want


def test_a_feature_without_a_test_where_there_should_be_one_is_said_to_have_none() -> None:
    assert results.cell(RULES, "1.37", {"features": {}}) == "not tested"


def test_a_release_lacks_what_came_later() -> None:
    assert [each for each in RELEASES if lack(RULES, each)] == ["1.34", "1.35", "1.36"]
    assert lack(RULES, "1.36") == REASON
    assert all(lack(name, "1.37") == "" for name in FEATURES)


def test_the_releases_are_those_that_are_pinned() -> None:
    assert programs.releases(paths.tools_root()) == RELEASES


def test_the_page_is_what_the_results_say() -> None:
    recorded = json.loads(RESULTS.read_text())
    made = results.page(recorded)
    if os.environ.get("BERTH_GOLDEN") == "write":
        PAGE.write_text(made)
    assert PAGE.read_text() == made, "`make golden` writes it anew"
    assert [each for each in RELEASES if each in recorded["releases"]] == [*recorded["releases"]]
