# SPDX-License-Identifier: Apache-2.0
"""Parts a and e: decisions of the engine against the upstream allocator, and how they grow.

Decides how both sides are asked: the same JSON, one after the other, in the same run. Upstream's
cost of a pod is what kube-scheduler's plugin does for it: copy what is in use and index the slices,
then ask nodes in order until one fits. Berth's is a whole turn on its ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import upstream
from bench.fleets import Json
from bench.ledger import Turn, differing, ledger_of
from bench.measure import Figure, exponent, ratio, repeat
from bench.questions import Question, questions
from bench.worst import worst_cases
from berth.errors import BerthError

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured: per case, and at most per decision of upstream."""

    seconds: float
    cap_seconds: float
    most: int = 400
    firsts: int = 5


FULL = Effort(seconds=0.5, cap_seconds=10.0)
QUICK = Effort(seconds=0.25, cap_seconds=5.0, most=150, firsts=3)
SMALLEST_SAMPLE, LOWEST_PERCENT = 100, 5


class DifferentAnswersError(BerthError):
    """Both sides were asked the same and chose differently; their figures cannot be compared."""


def sampled(nodes: int) -> int:
    """Return how many nodes that fit kube-scheduler looks for, with its defaults."""
    if nodes <= SMALLEST_SAMPLE:
        return nodes
    percent = max(50 - nodes // 125, LOWEST_PERCENT)
    return max(nodes * percent // 100, SMALLEST_SAMPLE)


def run(  # noqa: PLR0913 - what is measured, and how long
    binary: Path,
    sizes: Sequence[int],
    effort: Effort,
    say: Say,
    *,
    shapes: Sequence[str] = (),
    small: bool = False,
) -> Json:
    """Return the cases of every size, and their growth over sizes.

    ``small`` worst cases end on both sides, so that answers can be compared.
    """
    cases = [case for nodes in sizes for case in _of_size(binary, nodes, effort, say, shapes)]
    return {
        "cases": cases,
        "growth": growth(cases),
        "worst": worst(binary, effort, say, small=small),
    }


def worst(binary: Path, effort: Effort, say: Say, *, small: bool = False) -> list[Json]:
    """Return what the worst cases cost; Berth's first decision is the one that counts."""
    found: list[Json] = []
    for question in worst_cases(small=small):
        say(f"worst case: {question.shape}")
        found += compare(binary, [question], effort)
    return found


def _of_size(
    binary: Path, nodes: int, effort: Effort, say: Say, shapes: Sequence[str]
) -> Iterable[Json]:
    # Cases of one fleet together: it is written, read and applied once.
    asked: dict[int, list[Question]] = {}
    for question in questions(nodes, shapes):
        asked.setdefault(id(question.fleet), []).append(question)
    for group in asked.values():
        names = ", ".join(f"{each.shape} {each.load}" for each in group)
        say(f"{nodes} nodes: {names}")
        yield from compare(binary, group, effort, sampling=sampled(nodes))


def compare(
    binary: Path, group: Sequence[Question], effort: Effort, *, sampling: int = 0
) -> Iterable[Json]:
    """Yield one case for each question; all of ``group`` have the same fleet.

    Raises:
        DifferentAnswersError: If node or devices of a case are not the same.
    """
    fleet = group[0].fleet
    theirs = upstream.ask(
        binary,
        "allocate",
        {
            **fleet.as_json(),
            "questions": [{"name": each.name, "claims": list(each.claims)} for each in group],
            "capSeconds": effort.cap_seconds,
            "seconds": effort.seconds,
            "repetitions": effort.most,
            "sampled": sampling,
        },
    )["answers"]
    cluster = ledger_of(fleet)
    numbers = itertools.count(1)
    for question, answer in zip(group, theirs, strict=True):
        if answer["error"]:
            raise upstream.UpstreamError(f"{question.name}: {answer['error']}")
        firsts = []
        for _ in range(effort.firsts):
            turn = Turn(
                cluster,
                differing(question, next(numbers)),
                name=question.name,
                fits=question.fits,
            )
            firsts += repeat(turn, seconds=0, most=1, fewest=1)
            turn.withdraw()
        turn = Turn(cluster, question.claims, name=question.name, fits=question.fits)
        turn()
        ours = repeat(turn, seconds=effort.seconds, most=effort.most)
        turn.withdraw()
        yield _case(question, ours, firsts, turn.answer, answer)


def _case(
    question: Question, ours: list[float], firsts: list[float], found: Json, theirs: Json
) -> Json:
    _same_answer(question, found, theirs)
    mine, first = Figure.of(ours), Figure.of(firsts)
    costs = [a + b for a, b in zip(theirs["gather"], theirs["search"], strict=True)]
    pod = Figure.of(costs)
    sampling = Figure.of(theirs["sampling"]) if theirs["sampling"] else None
    return {
        "shape": question.shape,
        "load": question.load,
        "nodes": question.nodes,
        "node": found["node"],
        "devices": found["devices"],
        "berth": mine.as_json(),
        "berth_first": first.as_json(),
        "upstream": pod.as_json(),
        "upstream_gather": Figure.of(theirs["gather"]).as_json(),
        "upstream_tried": theirs["tried"],
        "upstream_capped": theirs["capped"],
        "upstream_sampling": None if sampling is None else sampling.as_json(),
        "ratio": ratio(pod.median, mine.median),
        "ratio_first": ratio(pod.median, first.median),
        "ratio_sampling": ratio(sampling and sampling.median, mine.median),
    }


def _same_answer(question: Question, found: Json, theirs: Json) -> None:
    if theirs["capped"]:
        return
    if (found["node"], found["devices"]) != (theirs["node"], theirs["devices"]):
        raise DifferentAnswersError(
            f"{question.name}: different answers: Berth has {found}, "
            f"upstream {theirs['node']} {theirs['devices']}"
        )


def growth(cases: Sequence[Json]) -> list[Json]:
    """Return, for each shape and load, the exponent of the cost over nodes on both sides."""
    grouped: dict[tuple[str, str], list[Json]] = {}
    for case in cases:
        grouped.setdefault((case["shape"], case["load"]), []).append(case)
    return [
        {
            "shape": shape,
            "load": load,
            "berth": exponent(_medians(group, "berth")),
            "upstream": exponent(_medians(group, "upstream")),
            "largest_to_smallest": ratio(group[-1]["berth"]["median"], group[0]["berth"]["median"]),
        }
        for (shape, load), group in grouped.items()
    ]


def _medians(group: Sequence[Json], side: str) -> dict[int, Any]:
    return {case["nodes"]: case[side]["median"] for case in group}
