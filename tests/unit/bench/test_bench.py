# SPDX-License-Identifier: Apache-2.0
"""The bench asks both sides the same, gets the same devices, and reports what the page needs."""

from __future__ import annotations

import math
from typing import Any

import pytest

from bench import __main__ as command
from bench import engine, feeds, pages, tables
from bench.measure import Figure, exponent, percentile, ratio
from bench.questions import SHAPES, questions
from bench.upstream import ensure, program
from berth.errors import BerthError
from berth.localcluster import build
from berth.localcluster.paths import cache_root
from berth.localcluster.toolchain import find_go

NODES = 20
SMALL = engine.Effort(seconds=0.0, cap_seconds=20.0, most=1, firsts=1)
SHORT_SIDE = {"median", "p10", "p90", "repetitions"}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    built = build.binary_of(program(), cache_root())
    if not built.is_file() and find_go(cache_root()) is None:
        pytest.skip("neither the built program nor a Go to build it with is here")
    return engine.run(ensure(), [NODES], SMALL, lambda _: None, small=True)


@pytest.mark.timeout(600)  # The first time, the Go program is built.
def test_both_sides_choose_the_same_devices_in_every_case(report: dict[str, Any]) -> None:
    cases = report["cases"]

    assert [(each["shape"], each["load"]) for each in cases if not each["node"]] == [
        (each["shape"], each["load"])
        for each in cases
        if each["load"] in {"one-too-few", "no-match"}
    ]
    assert len(cases) == len(SHAPES) * 6
    assert not any(each["upstream_capped"] for each in cases)
    assert {each["upstream_tried"] for each in cases if not each["node"]} == {NODES}


def test_worst_cases_are_refused_on_both_sides(report: dict[str, Any]) -> None:
    assert [(each["node"], each["upstream_capped"]) for each in report["worst"]] == [
        ("", False)
    ] * 4


def test_a_case_has_both_figures_and_their_ratio(report: dict[str, Any]) -> None:
    for each in report["cases"]:
        for side in ("berth", "berth_first", "upstream", "upstream_gather"):
            assert set(each[side]) == SHORT_SIDE
            assert 0 < each[side]["p10"] <= each[side]["median"] <= each[side]["p90"]
        assert each["ratio"] == ratio(each["upstream"]["median"], each["berth"]["median"])


def test_other_devices_are_no_comparison(report: dict[str, Any]) -> None:
    question = next(iter(questions(NODES)))
    found = {"node": "node-00001", "devices": report["cases"][0]["devices"]}
    theirs = {"capped": False, "node": "node-00003", "devices": found["devices"]}

    with pytest.raises(engine.DifferentAnswersError, match="one empty 20: different answers"):
        engine._same_answer(question, found, theirs)


@pytest.mark.timeout(300)
def test_each_feed_brings_every_claim_and_every_event() -> None:
    rows = feeds.run([2], quick=True, say=lambda _: None)

    assert [(each["feed"], each["devices"], each["claims"], each["events"]) for each in rows] == [
        (feed, 16, 16, 16) for feed in ("decode and apply", "informer", "kopf")
    ]
    assert all(each["ready_seconds"] > 0 and each["events_per_second"] > 0 for each in rows)
    assert rows[2]["ratio"] == 1.0


def test_growth_is_the_exponent_over_nodes() -> None:
    assert exponent({100: 7.0, 1000: 70.0, 5000: 350.0}) == 1.0
    assert exponent({100: 7.0, 1000: 7.0}) == 0.0
    assert exponent({2: 4.0, 4: 16.0, 8: 64.0}) == 2.0
    assert exponent({100: 7.0}) is None


def test_a_figure_is_median_and_percentiles() -> None:
    assert Figure.of([5.0, 1.0, 3.0, 2.0, 4.0]) == Figure(3.0, 1.4, 4.6, 5)
    assert math.isclose(percentile([1.0, 2.0], 0.5), 1.5)


def test_the_scheduler_samples_fewer_of_more_nodes() -> None:
    assert [engine.sampled(n) for n in (20, 100, 500, 1000, 5000, 15000)] == [
        *(20, 100, 230, 420, 500, 750)
    ]


def test_the_figures_go_between_the_marks_of_the_page(report: dict[str, Any]) -> None:
    whole = {
        "date": "2026-01-01T00:00:00Z",
        "machine": {"cores": 2, "cpu": "a CPU", "memory_mib": 1024},
        "versions": {"commit": "abc"},
        "load": {"before": [0.5, 0, 0], "after": [1.5, 0, 0]},
        "engine": report,
    }
    page = f"# Title\n\n{pages.BEGIN}\n\nold\n\n{pages.END}\n\nend\n"

    text = pages.with_figures(page, whole)

    assert text.startswith(f"# Title\n\n{pages.BEGIN}\n\nTaken on 2026-01-01T00:00:00Z at")
    assert text.endswith(f"|\n\n{pages.END}\n\nend\n")
    assert "\nold\n" not in text
    assert f"### {next(iter(tables.tables(whole))).title}\n" in text
    assert text.count("| matched-4 | ") == 12


def test_a_page_without_marks_is_not_touched() -> None:
    with pytest.raises(BerthError, match="marks missing or doubled"):
        pages.with_figures("# Title\n", {})


def test_the_page_of_this_repository_has_the_marks() -> None:
    text = pages.PAGE.read_text(encoding="utf-8")

    assert (text.count(pages.BEGIN), text.count(pages.END)) == (1, 1)


@pytest.mark.parametrize("arguments", [["--only", "all"], ["--nodes", "many"], ["--nodes", "0"]])
def test_a_wrong_option_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)

    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err
