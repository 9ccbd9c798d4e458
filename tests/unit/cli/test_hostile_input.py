# SPDX-License-Identifier: Apache-2.0
"""Texts out of files and clusters cannot steer a terminal, forge lines, or break JSON and YAML."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from berth.cli import app
from berth.cli.output import _SafeConsole, _visible
from berth.controller.events import MAX_NOTE, cut
from berth.controller.logs import configure_logging

STYLE = re.compile(r"\x1b\[[0-9;]*m")
MARK = "INJECTED"
EVIL = f"\x1b]0;t\x07\x1b[2J\r\n{MARK} ok\u202e\x9b31m[bold red]x[/]{{0}}%s"
TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("\x1b\r\n\x07\x9b\u202e\u2028[]`'\"\\{}%"),
    max_size=40,
)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kopf_level = logging.getLogger("kopf.objects").level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("kopf.objects").setLevel(kopf_level)
    structlog.reset_defaults()


def scenario_of(text: str, kind: str) -> dict[str, Any]:
    """Return a dump in which ``text`` is what ``kind`` says."""

    def put(what: str, plain: str) -> str:
        return f"{plain}{text}" if what == kind else plain

    attributes = {"model": {"string": put("attribute", "a100")}}
    selector = f"device.attributes['d.example.com'].model == {json.dumps(put('cel', 'h100'))}"
    class_name = put("class", "gpu")
    node = put("node", "node-1")
    return {
        "apiVersion": "v1",
        "kind": "List",
        "items": [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {"x": put("label", "y")}},
                "spec": {"taints": [{"key": put("taint", "k"), "effect": "NoSchedule"}]},
                "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "9"}},
            },
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "DeviceClass",
                "metadata": {"name": class_name},
                "spec": {
                    "selectors": [{"cel": {"expression": "device.driver == 'd.example.com'"}}]
                },
            },
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceSlice",
                "metadata": {"name": put("slice", "slice-1")},
                "spec": {
                    "driver": "d.example.com",
                    "nodeName": node,
                    "pool": {"name": put("pool", "p"), "generation": 1, "resourceSliceCount": 1},
                    "devices": [{"name": put("device", "gpu-0"), "attributes": attributes}],
                },
            },
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceClaim",
                "metadata": {
                    "name": put("claim", "c"),
                    "namespace": put("namespace", "ns"),
                    "uid": "cu",
                    "annotations": {"note": put("annotation", "n")},
                },
                "spec": {
                    "devices": {
                        "requests": [
                            {
                                "name": put("request", "r"),
                                "exactly": {
                                    "deviceClassName": class_name,
                                    "selectors": [{"cel": {"expression": selector}}],
                                },
                            }
                        ]
                    }
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": put("pod", "p"),
                    "namespace": put("namespace", "ns"),
                    "uid": "pu",
                },
                "spec": {
                    "containers": [{"name": "c", "image": "i"}],
                    "resourceClaims": [{"name": "x", "resourceClaimName": put("claim", "c")}],
                },
            },
        ],
    }


KINDS = (
    *("attribute", "cel", "class", "node", "label", "taint", "slice", "pool", "device"),
    *("claim", "namespace", "annotation", "request", "pod"),
)
VERBS: dict[str, Callable[[str], list[str]]] = {
    "explain": lambda name: ["explain", name, "-"],
    "simulate": lambda _: ["simulate", "-"],
    "lint": lambda _: ["lint", "-"],
    "audit": lambda _: ["audit", "-"],
}


def assert_harmless(written: str) -> None:
    for line in written.split("\n"):
        assert line.isprintable(), line
        assert not line.startswith(MARK), line


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["text", "json", "yaml"])
def test_a_text_in_a_dump_cannot_break_what_a_verb_writes(
    verb: str, kind: str, output: str
) -> None:
    dump = scenario_of(EVIL, kind)
    (pod,) = (each for each in dump["items"] if each["kind"] == "Pod")
    name = f"pod/{pod['metadata']['name']}"
    arguments = [*VERBS[verb](name), "-o", output]
    if verb == "explain":
        arguments += ["--namespace", pod["metadata"]["namespace"]]
    result = CliRunner().invoke(app, arguments, input=json.dumps(dump))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.output.strip()
    assert_harmless(result.stdout)
    if not (result.exit_code == 2 and "Usage" in result.stderr):
        assert_harmless(result.stderr)
    if result.stdout and output == "json":
        json.loads(result.stdout)
    if result.stdout and output == "yaml":
        yaml.safe_load(result.stdout)


@given(TEXTS)
@example(EVIL)
def test_on_a_terminal_only_our_own_styles_are_escapes(text: str) -> None:
    out = io.StringIO()
    console = _SafeConsole(file=out, force_terminal=True, width=10_000, markup=False, emoji=False)
    console.print(text, style="bold", markup=False, highlight=False)
    for line in STYLE.sub("", out.getvalue()).split("\n"):
        assert line.isprintable()
    assert "\x1b[2J" not in out.getvalue()


@given(TEXTS)
@example(EVIL)
@settings(max_examples=40)
def test_a_log_line_is_one_line_in_either_format(text: str) -> None:
    for log_format in ("json", "pretty"):
        stream = io.StringIO()
        configure_logging(log_format, "info", stream=stream)
        structlog.get_logger("berth.x").info("object cannot be used", error=text)
        written = stream.getvalue()
        assert written.endswith("\n")
        assert written[:-1].isprintable()
        if log_format == "json":
            assert json.loads(written)["error"] == text


@given(TEXTS)
@example(EVIL)
@example("\x1b" * MAX_NOTE)
def test_a_note_of_an_event_is_one_printable_line_that_the_api_accepts(text: str) -> None:
    note = cut(_visible(text).replace("\n", "\\n"))
    assert note.isprintable()
    assert len(note.encode()) <= MAX_NOTE


def test_a_file_of_any_name_can_be_missing(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["lint", str(tmp_path / f"x\x1b[2J\n{MARK}")])
    assert result.exit_code == 2
    assert_harmless(result.stderr)
