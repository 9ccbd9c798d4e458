# SPDX-License-Identifier: Apache-2.0
"""Every reason of the closed sets has a sentence, a case and a line in the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from berth.engine.rejections import LimitReached, NodeProblem, Rejection
from berth.explain.data import as_json
from berth.explain.hints import Hint
from berth.model.placement import NodeReason
from tests.support.conflicts import CASES
from tests.support.failures import FAILURES

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


def keys_in(data: object) -> Iterator[str]:
    """Yield every name of a field somewhere inside JSON data."""
    if isinstance(data, dict):
        yield from data
        for value in data.values():
            yield from keys_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from keys_in(value)


def test_the_reasons_and_hints_are_those_that_the_page_lists() -> None:
    listed = re.findall(
        r"^\| `([A-Z][A-Za-z]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )

    assert sorted(listed) == sorted([*REASONS, *(kind.__name__ for kind in get_args(Hint))])


def test_every_field_of_the_data_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {part for path in re.findall(r"`([^`]+)`", text) for part in re.split(r"\W+", path)}
    used = {
        key
        for make in (*CASES.values(), *FAILURES.values())
        for key in keys_in(json.loads(json.dumps(as_json(make()))))
    }

    assert used - named == set()


def test_the_fields_at_the_root_are_always_the_same() -> None:
    roots = {tuple(as_json(make())) for make in (*CASES.values(), *FAILURES.values())}

    assert roots == {
        (
            "version",
            "pod",
            "claims",
            "message",
            "nodes",
            "budget",
            "drivers",
            "requests",
            "rivalries",
            "problems",
            "poolsToBlame",
            "refused",
            "facts",
            "also",
            "hints",
        )
    }


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_has_a_conflict_with_a_golden_text(reason: str) -> None:
    assert [name for name, make in CASES.items() if reason in set(types_in(as_json(make())))]
