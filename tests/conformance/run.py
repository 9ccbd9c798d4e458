# SPDX-License-Identifier: Apache-2.0
"""``make conformance``: run files of recorded answers, and say where Berth's differ.

Exit code 0 if all agree, counting deliberate differences; 1 if any does not; 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support import allocator_vectors, cel_vectors, explain_vectors

VECTORS = Path(__file__).parent / "vectors"
DEFAULTS = {
    "cel": "cel-cases.yaml",
    "cel_random": "cel-random.jsonl",
    "allocator": "allocator-cases.jsonl,allocator-random.jsonl",
    "explain": "allocator-cases.jsonl,allocator-random.jsonl",
}
SHOWN = 10


class Outcome(NamedTuple):
    """The cases of one file; ``wrong`` and ``deliberate`` are shown as text."""

    agree: int
    total: int
    deliberate: tuple[str, ...]
    wrong: tuple[str, ...]
    note: str = ""


def cel(path: Path) -> Outcome:
    report = cel_vectors.run_cel_cases(path)
    return Outcome(
        report.agree,
        report.total,
        tuple(_of_cel(each) for each in report.deliberate),
        tuple(_of_cel(each) for each in report.disagreements),
    )


def _of_cel(each: cel_vectors.Disagreement) -> str:
    return f"{each.id}: {each.expression}\n  want {each.want}\n  got  {each.got} {each.detail}"


def allocator(path: Path) -> Outcome:
    report = allocator_vectors.run_allocator_cases(path)
    return Outcome(
        report.agree.total(),
        report.total,
        tuple(map(str, report.deliberate)),
        tuple(map(str, report.disagreements)),
    )


def explain(path: Path) -> Outcome:
    report = explain_vectors.run_explain_cases(path)
    return Outcome(
        report.sufficient,
        report.total,
        (),
        tuple(report.failures),
        f"  {report.true_hints} of {report.hints} hints are true",
    )


RUNNERS: dict[str, Callable[[Path], Outcome]] = {
    "cel": cel,
    "cel_random": cel,
    "allocator": allocator,
    "explain": explain,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    for kind in RUNNERS:
        parser.add_argument(
            f"--{kind.replace('_', '-')}",
            metavar="FILES",
            default="",
            help="files of recorded answers, separated by commas",
        )
    given = vars(parser.parse_args(arguments))
    if any(given.values()):
        files = [(kind, Path(name)) for kind in RUNNERS for name in _names(given[kind])]
    else:
        files = [(kind, VECTORS / name) for kind in RUNNERS for name in _names(DEFAULTS[kind])]
    code = 0
    for kind, path in files:
        try:
            outcome = RUNNERS[kind](path)
        except OSError as error:
            return _bad(path, error.strerror or str(error))
        except KeyError as error:
            return _bad(path, f"a case has no field {error}")
        except Exception as error:  # noqa: BLE001 - whatever a file of somebody else may hold
            return _bad(path, f"{type(error).__name__}: {error}")
        if not outcome.total:
            return _bad(path, "no cases")
        _show(path, outcome)
        code = max(code, int(bool(outcome.wrong)))
    return code


def _names(value: str) -> list[str]:
    return [name for name in value.split(",") if name]


def _bad(path: Path, detail: str) -> int:
    print(f"conformance: {path}: {detail}", file=sys.stderr)  # noqa: T201 - a program
    return 2


def _show(path: Path, outcome: Outcome) -> None:
    # Held-out differences on purpose are agreed to, so they count.
    deliberate = len(outcome.deliberate)
    lines = [f"{path}: {outcome.agree} of {outcome.total} agree, {deliberate} deliberate"]
    if outcome.note:
        lines.append(outcome.note)
    lines += [f"deliberate: {each}" for each in outcome.deliberate]
    lines += outcome.wrong[:SHOWN]
    if len(outcome.wrong) > SHOWN:
        lines.append(f"and {len(outcome.wrong) - SHOWN} more")
    print("\n".join(lines), flush=True)  # noqa: T201 - a program


if __name__ == "__main__":
    sys.exit(main())
