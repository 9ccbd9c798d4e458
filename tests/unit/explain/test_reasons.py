# SPDX-License-Identifier: Apache-2.0
"""Every reason of the closed sets has a sentence, a case and a line in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from berth.engine.rejections import LimitReached, NodeProblem, Rejection
from berth.explain.data import as_json
from berth.model.placement import NodeReason
from tests.support.conflicts import CASES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "rejection-reasons.md"
REASONS = tuple(
    kind.__name__
    for kind in (*get_args(Rejection), *get_args(NodeProblem), *get_args(NodeReason), LimitReached)
)


def types_in(data: object) -> Iterator[str]:
    """Yield the ``type`` of every reason somewhere inside JSON data."""
    if isinstance(data, dict):
        if isinstance(data.get("type"), str):
            yield data["type"]
        if data.get("limit") is not None:
            yield LimitReached.__name__
        for value in data.values():
            yield from types_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from types_in(value)


def test_the_reasons_are_those_that_the_page_lists() -> None:
    listed = re.findall(
        r"^\| `([A-Z][A-Za-z]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert sorted(listed) == sorted(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_a_conflict_with_a_golden_text(reason: str) -> None:
    assert [name for name, make in CASES.items() if reason in set(types_in(as_json(make())))]
