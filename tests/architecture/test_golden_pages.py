# SPDX-License-Identifier: Apache-2.0
"""Pages and blocks that are made from the code are what the code says now."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from berth.controller.logs import KEYS
from tests.support import reference

ROOT = Path(__file__).parents[2]
LOG_METHODS = {"debug", "info", "warning", "error", "exception"}
QUOTED = re.compile(r"<!-- from (\S+) -->\n```text\n(.*?)\n```", re.DOTALL)


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name: str) -> None:
    path = ROOT / "docs" / "reference" / name
    made = reference.PAGES[name]()
    if os.environ.get("BERTH_GOLDEN") == "write":
        path.write_text(made, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == made, "`make golden` writes it anew"


def test_output_that_the_readme_shows_is_golden_output() -> None:
    blocks = QUOTED.findall((ROOT / "README.md").read_text(encoding="utf-8"))

    assert len(blocks) == 2
    for name, block in blocks:
        assert block in (ROOT / name).read_text(encoding="utf-8"), name


def log_keys_in(source: str) -> set[str]:
    """Return the keywords of all calls like ``log.info(…)``."""
    return {
        keyword.arg
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in LOG_METHODS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"log", "_log", "logger"}
        for keyword in node.keywords
        if keyword.arg not in {None, "exc_info", "stack_info"}
    }


def test_log_lines_carry_only_keys_of_the_closed_list() -> None:
    stray = {
        f"{path.relative_to(ROOT)}: {key}"
        for path in sorted((ROOT / "operator").rglob("*.py"))
        for key in log_keys_in(path.read_text(encoding="utf-8")) - KEYS.keys()
    }

    assert stray == set()


def test_a_stray_log_key_is_seen() -> None:
    assert log_keys_in('log.info("claim allocated", claim=1, colour="red")') == {"claim", "colour"}
