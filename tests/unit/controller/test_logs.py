# SPDX-License-Identifier: Apache-2.0
"""One stream, one format, and only the keys that are documented."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import berth.errors
from berth.controller.logs import KEYS, configure_logging

SOURCE = Path(berth.errors.__file__).parent
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kopf_level = logging.getLogger("kopf.objects").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("kopf.objects").setLevel(kopf_level)
    structlog.reset_defaults()


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for line in lines:
        assert line.pop("timestamp").endswith("Z")
    return lines


def test_lines_of_berth_and_of_libraries_have_one_form() -> None:
    stream = io.StringIO()
    configure_logging("auto", "info", stream=stream)
    structlog.get_logger("berth.writer").info("claim allocated", claim="ml/train", node="node-1")
    logging.getLogger("kopf.activities").warning("retrying %s", "it", extra={"k8s_ref": {"a": 1}})
    assert logged(stream) == [
        {
            "event": "claim allocated",
            "level": "info",
            "logger": "berth.writer",
            "claim": "ml/train",
            "node": "node-1",
        },
        {"event": "retrying it", "level": "warning", "logger": "kopf.activities"},
    ]


def test_an_exception_is_one_line() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream=stream)
    try:
        int("broken")
    except ValueError:
        structlog.get_logger("berth.x").exception("went wrong")
    [line] = logged(stream)
    assert "ValueError: invalid literal" in str(line["exception"])


def test_levels_below_and_lines_of_single_objects_are_held_back() -> None:
    stream = io.StringIO()
    configure_logging("json", "warning", stream=stream)
    structlog.get_logger("berth.x").info("not shown")
    logging.getLogger("kopf.objects").info("not shown")
    assert stream.getvalue() == ""
    configure_logging("json", "info", stream=stream)
    logging.getLogger("kopf.objects").info("not shown")
    assert stream.getvalue() == ""


def test_pretty_lines_are_no_json() -> None:
    stream = io.StringIO()
    configure_logging("pretty", "info", stream=stream)
    structlog.get_logger("berth.x").info("claim allocated", claim="ml/train")
    assert "claim allocated" in stream.getvalue()
    assert "claim=ml/train" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(ValueError, match="log level: unknown: `loud`"):
        configure_logging("json", "loud")


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
                and node.func.attr in LEVELS
            ):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", node


def test_every_line_of_berth_is_a_constant_text_with_documented_keys() -> None:
    calls = list(_calls())
    assert len(calls) > 10
    unknown = [
        f"{where}: {keyword.arg}"
        for where, call in calls
        for keyword in call.keywords
        if keyword.arg not in KEYS and keyword.arg not in {"exc_info", "extra"}
    ]
    assert unknown == []
    variable = [
        where
        for where, call in calls
        if len(call.args) != 1 or not isinstance(call.args[0], ast.Constant)
    ]
    assert variable == []
