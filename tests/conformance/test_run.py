# SPDX-License-Identifier: Apache-2.0
"""The program behind ``make conformance``: what it prints and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance import run

VECTORS = Path(__file__).parent / "vectors"

pytestmark = pytest.mark.conformance


def some(path: Path, file: str, count: int, **changes: object) -> Path:
    """Write the first ``count`` cases of a file, each with ``changes``."""
    lines = (VECTORS / file).read_text(encoding="utf-8").splitlines()[:count]
    cases = [{**json.loads(line), **changes} for line in lines]
    path.write_text("".join(f"{json.dumps(case)}\n" for case in cases), encoding="utf-8")
    return path


def test_files_that_agree_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = some(tmp_path / "one.jsonl", "allocator-cases.jsonl", 3)
    two = some(tmp_path / "two.jsonl", "allocator-random.jsonl", 5)
    three = some(tmp_path / "three.jsonl", "cel-random.jsonl", 4)

    assert run.main([f"--allocator={one},{two}", f"--cel-random={three}"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{three}: 4 of 4 agree, 0 deliberate",
        f"{one}: 3 of 3 agree, 0 deliberate",
        f"{two}: 5 of 5 agree, 0 deliberate",
    ]


def test_a_disagreement_is_shown_with_both_answers_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = some(tmp_path / "wrong.jsonl", "allocator-cases.jsonl", 12, outcome="undecided")

    assert run.main([f"--allocator={path}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}: 0 of 12 agree, 0 deliberate"
    assert [line.split()[0] for line in lines[2:4]] == ["want", "got"]
    assert lines[-1] == "and 2 more"


def test_the_expressions_that_differ_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = some(tmp_path / "wrong.jsonl", "cel-random.jsonl", 1, want="never")

    assert run.main([f"--cel={path}"]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: 0 of 1 agree, 0 deliberate\n")
    assert "  want never\n" in out


def test_explanations_are_counted_with_their_hints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (VECTORS / "allocator-cases.jsonl").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "nofit.jsonl"
    path.write_text(
        "\n".join([line for line in lines if '"outcome":"nofit"' in line][:3]), encoding="utf-8"
    )

    assert run.main([f"--explain={path}"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{path}: 3 of 3 agree, 0 deliberate"
    assert second.endswith("hints are true")


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (None, "No such file or directory"),
        ("", "no cases"),
        ("{}\n", "a case has no field 'outcome'"),
        ("no JSON\n", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_bad_input_is_named_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, want: str
) -> None:
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_text(content, encoding="utf-8")

    assert run.main([f"--allocator={path}"]) == 2
    assert capsys.readouterr().err == f"conformance: {path}: {want}\n"


def test_without_arguments_the_files_of_the_repository_are_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[str, str]] = []
    for kind in run.RUNNERS:

        def note(path: Path, kind: str = kind) -> run.Outcome:
            seen.append((kind, path.name))
            return run.Outcome(1, 1, (), ())

        monkeypatch.setitem(run.RUNNERS, kind, note)

    assert run.main([]) == 0
    assert seen == [
        ("cel", "cel-cases.yaml"),
        ("cel_random", "cel-random.jsonl"),
        ("allocator", "allocator-cases.jsonl"),
        ("allocator", "allocator-random.jsonl"),
        ("explain", "allocator-cases.jsonl"),
        ("explain", "allocator-random.jsonl"),
    ]
