# SPDX-License-Identifier: Apache-2.0
"""The report as tables, for a terminal and for a page.

Decides which figures of the JSON are shown, in which unit. Never computes a figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.fleets import Json

NONE = "–"


@dataclass(frozen=True, slots=True)
class Shown:
    """One table: its name, the heads of its columns, its rows as text."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Json) -> Iterator[Shown]:
    """Yield the tables of all parts that the report has."""
    if "engine" in report:
        yield from _engine(report["engine"])
    if "cel" in report:
        yield from _cel(report["cel"])
    if "feeds" in report:
        yield from _feeds(report["feeds"])
    if "e2e" in report:
        yield _end_to_end(report["e2e"])
    if report.get("growth"):
        yield Shown(
            "Growth of feeds and of pods",
            ("figure", "over", "exponent"),
            tuple(
                (each["what"].replace("_", " "), each["over"], _plain(each["exponent"]))
                for each in report["growth"]
            ),
        )


def _engine(part: Json) -> Iterator[Shown]:
    yield Shown(
        "Decisions: Berth's whole turn against the upstream allocator's pod",
        (
            *("shape", "load", "nodes", "Berth", "p10–p90", "first of its shape"),
            *("upstream", "of it gather", "nodes tried", "times", "as it samples", "times"),
        ),
        tuple(_case(each) for each in part["cases"]),
    )
    yield Shown(
        "Worst cases, on one node",
        ("claim", "Berth", "first", "upstream", "times"),
        tuple(
            (
                each["shape"],
                time(each["berth"]),
                time(each["berth_first"]),
                _capped(each),
                _times(each["ratio"], capped=each["upstream_capped"]),
            )
            for each in part["worst"]
        ),
    )
    yield Shown(
        "Growth of a decision with the number of nodes",
        ("shape", "load", "Berth: exponent", "largest : smallest", "upstream: exponent"),
        tuple(
            (
                each["shape"],
                each["load"],
                _plain(each["berth"]),
                _plain(each["largest_to_smallest"]),
                _plain(each["upstream"]),
            )
            for each in part["growth"]
        ),
    )


def _case(case: Json) -> tuple[str, ...]:
    return (
        case["shape"],
        case["load"],
        str(case["nodes"]),
        time(case["berth"]),
        spread(case["berth"]),
        time(case["berth_first"]),
        _capped(case),
        time(case["upstream_gather"]),
        str(case["upstream_tried"]),
        _times(case["ratio"], capped=case["upstream_capped"]),
        time(case["upstream_sampling"]),
        _times(case["ratio_sampling"]),
    )


def _cel(part: Json) -> Iterator[Shown]:
    yield Shown(
        f"Selectors, per device of {part['devices']} devices",
        (
            *("selector", "matches", "groups", "Berth", "groups known", "without groups", "cel-go"),
            *("times", "times, groups known", "cel-python", "times", "compile", "cel-go"),
        ),
        tuple(
            (
                each["name"],
                str(each["matches"]),
                str(each["groups"]),
                time(each["per_device"]["berth"]),
                time(each["per_device"]["berth_known_groups"]),
                time(each["per_device"]["berth_each_device"]),
                time(each["per_device"]["upstream"]),
                _times(each["ratio"]),
                _times(each["ratio_known_groups"]),
                time(each["per_device"]["plain"]),
                _times(each["ratio_plain"]),
                time(each["compile"]["berth"]),
                time(each["compile"]["upstream"]),
            )
            for each in part["selectors"]
        ),
    )
    memory = part["memory"]
    first = part["berth_first_compile"]
    yield Shown(
        "Selectors, once for each process",
        ("what", "figure"),
        (
            ("Berth: first compilation, with the grammar", micros(first["first"])),
            ("Berth: second compilation", micros(first["second"])),
            ("cel-go: environment and first compilation", micros(part["upstream_environment"])),
            (
                f"memory of {memory['selectors']} different selectors, {memory['devices']} devices",
                f"{memory['growth_mib']} MiB",
            ),
            ("a decision with a selector nobody has used", time(memory["decision"])),
        ),
    )


def _feeds(part: Sequence[Json]) -> Iterator[Shown]:
    yield Shown(
        "Feeds",
        (
            *("feed", "devices", "claims", "time to ready", "events applied", "times Kopf"),
            *("CPU per event", "resident", "peak"),
        ),
        tuple(
            (
                each["feed"],
                str(each["devices"]),
                str(each["claims"]),
                NONE if each["ready_seconds"] is None else f"{each['ready_seconds']:.2f} s",
                f"{each['events_per_second']:.0f}/s",
                _times(each["ratio"]),
                micros(each["cpu_micros_per_event"]),
                f"{each['resident_mib']:.0f} MiB",
                f"{each['peak_mib']:.0f} MiB",
            )
            for each in part
        ),
    )


def _end_to_end(part: Sequence[Json]) -> Shown:
    return Shown(
        "End to end on a local control plane",
        ("way", "nodes", "pods", "pods/s", "times stock", "CPU per pod", "p50", "p90", "p99"),
        tuple(
            (
                each["way"],
                str(each["nodes"]),
                str(each["pods"]),
                f"{each['pods_per_second']:.1f}",
                _times(each["ratio"]),
                f"{each['cpu_ms_per_pod']:.1f} ms",
                *(f"{each['seconds'][name]:.2f} s" for name in ("p50", "p90", "p99")),
            )
            for each in part
        ),
    )


# --- words and units


def time(figure: Json | None) -> str:
    """Return the median of a figure in a unit that fits."""
    return NONE if figure is None else micros(figure["median"])


def spread(figure: Json) -> str:
    """Return the tenth and the ninetieth percentile."""
    return f"{micros(figure['p10'])} – {micros(figure['p90'])}"


def micros(value: float) -> str:
    """Return microseconds in a unit that fits, with three figures."""
    for unit, size in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if value >= size:
            return f"{_three(value / size)} {unit}"
    return f"{_three(value * 1e3)} ns"


def _three(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 - powers of ten
    return f"{value:.{digits}f}"


def _capped(case: Json) -> str:
    return ("> " if case["upstream_capped"] else "") + time(case["upstream"])


def _times(value: float | None, *, capped: bool = False) -> str:
    return NONE if value is None else ("> " if capped else "") + f"{_three(value)}×"


def _plain(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


# --- where it is shown


def show(report: Json, console: Console) -> None:
    """Print all tables."""
    for each in tables(report):
        table = Table(title=each.title, box=box.SIMPLE, title_justify="left", pad_edge=False)
        for number, head in enumerate(each.heads):
            table.add_column(head, justify="left" if number == 0 else "right", no_wrap=True)
        for row in each.rows:
            table.add_row(*row)
        console.print(table)


def markdown(shown: Shown) -> str:
    """Return a table of a page, with its name as heading."""
    lines = [
        f"### {shown.title}",
        "",
        f"| {' | '.join(shown.heads)} |",
        f"|{'|'.join('---' for _ in shown.heads)}|",
        *(f"| {' | '.join(row)} |" for row in shown.rows),
    ]
    return "\n".join(lines)


def taken_on(report: Json) -> str:
    """Return machine, date and load in one sentence."""
    machine: dict[str, Any] = report["machine"]
    return (
        f"Taken on {report['date']} at commit {report['versions']['commit']}: "
        f"{machine['cores']} cores ({machine['cpu']}), {machine['memory_mib']} MiB, "
        f"load {report['load']['before'][0]} before and {report['load']['after'][0]} after."
    )
