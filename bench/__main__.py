# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``: measure, print tables, write JSON; or write JSON's figures into the page."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench import endtoend, engine, feeds, machine, pages, selection, tables, upstream
from bench.fleets import Json
from bench.measure import exponent
from berth.cli.run import GC_THRESHOLDS
from berth.errors import BerthError
from berth.localcluster.progress import Plain

PARTS = ("engine", "cel", "feeds", "e2e")
SIZES = (100, 1000, 5000)
QUICK_SIZES = (100, 1000)
CLUSTERS = (500, 2000, 5000)
"""Of real control planes; each node is an object of etcd."""
QUICK_CLUSTERS = (100,)


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    made.add_argument("--quick", action="store_true", help="smaller sizes, fewer repetitions")
    made.add_argument("--only", type=_parts, default=PARTS, help=f"of {','.join(PARTS)}")
    made.add_argument("--nodes", type=_sizes, default=None, help="sizes, separated by commas")
    made.add_argument("--shapes", type=_names, default=(), help="of the engine's questions")
    made.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the report")
    made.add_argument(
        "--write-docs",
        type=Path,
        default=None,
        metavar="FILE",
        help="measure nothing: put the figures of this report into docs/performance.md",
    )
    return made


def _names(text: str) -> tuple[str, ...]:
    return tuple(each for each in text.split(",") if each)


def _parts(text: str) -> tuple[str, ...]:
    names = _names(text)
    if not names or set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{text}: not of {','.join(PARTS)}")
    return names


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(sorted(map(int, _names(text))))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: numbers separated by commas") from None
    if not sizes or sizes[0] < 1:
        raise argparse.ArgumentTypeError(f"{text}: one or more sizes, each at least 1")
    return sizes


def measure(options: argparse.Namespace, say: Callable[[str], None]) -> Json:
    """Return the report of all parts that are asked for."""
    sizes = options.nodes or (QUICK_SIZES if options.quick else SIZES)
    report: Json = {**machine.describe(), "quick": options.quick, "nodes": list(sizes)}
    report["load"] = {"before": machine.load()}
    needs_upstream = {"engine", "cel"} & set(options.only)
    binary = upstream.ensure(Plain(Console(stderr=True))) if needs_upstream else Path()
    if "engine" in options.only:
        effort = engine.QUICK if options.quick else engine.FULL
        report["engine"] = engine.run(binary, sizes, effort, say, shapes=options.shapes)
    if "cel" in options.only:
        report["cel"] = selection.run(binary, max(sizes), quick=options.quick, say=say)
    if "feeds" in options.only:
        report["feeds"] = feeds.run(sizes, quick=options.quick, say=say)
    if "e2e" in options.only:
        e2e_sizes = options.nodes or (QUICK_CLUSTERS if options.quick else CLUSTERS)
        report["e2e"] = endtoend.run(e2e_sizes, quick=options.quick, say=say)
    report["growth"] = [
        *_growth(report.get("feeds", ()), "feed", "cpu_micros_per_event", "devices"),
        *_growth(report.get("e2e", ()), "way", "cpu_ms_per_pod", "nodes"),
    ]
    report["load"]["after"] = machine.load()
    return report


def _growth(rows: Sequence[Json], name: str, figure: str, size: str) -> list[Json]:
    """Return the exponent of a figure over sizes, for each ``name`` in ``rows``."""
    return [
        {
            "what": f"{each}: {figure}",
            "over": size,
            "exponent": exponent({row[size]: row[figure] for row in rows if row[name] == each}),
        }
        for each in dict.fromkeys(row[name] for row in rows)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; 0 if it was done, 1 if something is wrong."""
    options = parser().parse_args(arguments)
    err = Console(stderr=True, highlight=False)
    try:
        if options.write_docs is not None:
            pages.write(json.loads(options.write_docs.read_text(encoding="utf-8")))
            return 0
        gc.set_threshold(*GC_THRESHOLDS)
        report = measure(options, lambda text: err.print(f"bench: {text}"))
    except (BerthError, OSError) as error:
        err.print(f"bench: {error}")
        return 1
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    out = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    tables.show(report, out)
    out.print(tables.taken_on(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
