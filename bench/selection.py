# SPDX-License-Identifier: Apache-2.0
"""Part b: the CEL dialect against cel-go and against plain cel-python.

Decides what is timed: compilation; the evaluation of one selector over a whole fleet, as the engine
does it (once for devices that look alike); and what a thousand selectors take in memory.

Source: ``k8s.io/dynamic-resource-allocation/cel``.
"""

from __future__ import annotations

import functools
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import upstream
from bench.expressions import PLAIN, TYPICAL, plain_device, plain_program, variant
from bench.fleets import DRIVER, PER_NODE, Json, gpus
from bench.ledger import Turn, ledger_of
from bench.measure import Figure, micros, ratio, repeat
from bench.questions import claim, exactly
from berth.cel import Selector, compile_selector
from berth.codec.slices import decode_slice
from berth.engine.fleet import Fleet as Numbered
from berth.engine.inventory import Inventory
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord
from berth.errors import BerthError
from berth.model.features import Features

PLAIN_DEVICES = 1000
"""Devices that plain cel-python is tried on: all would take minutes."""
SELECTORS = 1000


class DifferentMatchesError(BerthError):
    """Two sides evaluated one selector on one fleet and selected different numbers of devices."""


def run(binary: Path, nodes: int, *, quick: bool, say: Callable[[str], None]) -> Json:
    """Return the figures over a fleet of ``nodes`` nodes."""
    fleet = gpus(nodes)
    most = 5 if quick else 15
    say(f"cel: {len(TYPICAL)} selectors with cel-go")
    theirs = upstream.ask(
        binary,
        "cel",
        {
            "slices": list(fleet.slices),
            "expressions": list(TYPICAL.values()),
            "repetitions": most,
            "seconds": 2.0 if quick else 8.0,
        },
    )["answers"]
    # Before anything else is compiled: it reads the grammar.
    first = _in_a_new_process("first")
    inventory = Inventory.build([decode_slice(each) for each in fleet.slices], (), Features())
    numbered = Numbered(Features())
    for record in inventory.slices:
        numbered.put_slice(record)
    records = [each for each in numbered.records if each is not None]
    say("cel: the same with Berth, and with plain cel-python")
    compile_selector("true")
    selectors = [
        _selector(name, records, fleet.slices, answer, most, numbered)
        for name, answer in zip(TYPICAL, theirs["expressions"], strict=True)
    ]
    say(f"cel: memory of {SELECTORS} selectors")
    return {
        "devices": len(records),
        "berth_first_compile": first,
        "upstream_environment": theirs["environment"],
        "selectors": selectors,
        "memory": _in_a_new_process("memory", nodes),
    }


def _selector(  # noqa: PLR0913, PLR0917 - one row, with what it is made of
    name: str,
    records: Sequence[DeviceRecord],
    slices: Sequence[Json],
    theirs: Json,
    most: int,
    numbered: Numbered,
) -> Json:
    expression = TYPICAL[name]
    compiling = Figure.of(_compilations(expression, most))
    selector = compile_selector(expression)
    matches = 0

    def engine() -> None:
        nonlocal matches
        matches = _select(selector, numbered, Reads(selector.projection))

    reads = Reads(selector.projection)
    _select(selector, numbered, reads)

    def known() -> None:
        _select(selector, numbered, reads)

    def every() -> None:
        for record in records:
            selector.matches(record.cel)

    # Devices are grouped anew each time, as for a selector that reads what none has read before.
    ours = Figure.of([each / len(records) for each in repeat(engine, seconds=5, most=most)])
    again = Figure.of([took / len(records) for took in repeat(known, seconds=5, most=most)])
    each = Figure.of([took / len(records) for took in repeat(every, seconds=5, most=most)])
    if matches != theirs["matches"]:
        raise DifferentMatchesError(
            f"selector {name}: Berth selects {matches} devices, cel-go {theirs['matches']}"
        )
    go, go_compiling = Figure.of(theirs["perDevice"]), Figure.of(theirs["compile"])
    plain = _plain(expression, slices) if name in PLAIN else None
    return {
        "name": name,
        "expression": expression,
        "matches": matches,
        "groups": len(numbered.grouping(reads).samples) - 1,
        "compile": {"berth": compiling.as_json(), "upstream": go_compiling.as_json()},
        "per_device": {
            "berth": ours.as_json(),
            "berth_known_groups": again.as_json(),
            "berth_each_device": each.as_json(),
            "upstream": go.as_json(),
            "plain": None if plain is None else plain.as_json(),
        },
        "ratio": ratio(go.median, ours.median),
        "ratio_known_groups": ratio(go.median, again.median),
        "ratio_each_device": ratio(go.median, each.median),
        "ratio_plain": ratio(plain and plain.median, ours.median),
    }


def _compilations(expression: str, most: int) -> list[float]:
    # Not the same text again: that is looked up and not compiled.
    texts = [expression + " " * number for number in range(1, most + 1)]
    return [micros(functools.partial(compile_selector, text)) for text in texts]


def _select(selector: Selector, numbered: Numbered, reads: Reads) -> int:
    grouping = numbered.grouping(reads)
    verdicts = [
        False if sample is None else selector.matches(sample.cel) for sample in grouping.samples
    ]
    return sum(map(verdicts.__getitem__, grouping.group_of))


def _plain(expression: str, slices: Sequence[Json]) -> Figure:
    activations = [
        plain_device(DRIVER, device)
        for each in slices[: PLAIN_DEVICES // PER_NODE]
        for device in each["spec"]["devices"]
    ]
    program = plain_program(expression)

    def evaluate() -> None:
        for each in activations:
            program(each)

    took = repeat(evaluate, seconds=1, most=3, fewest=1)
    return Figure.of([each / len(activations) for each in took])


# --- in a process of its own


def _in_a_new_process(what: str, nodes: int = 0) -> Json:
    """Return what this module prints when it is run with ``what``."""
    answer = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "bench.selection", what, str(nodes)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise BerthError(f"bench.selection {what}: {answer.stderr.strip()[-2000:]}")
    found: Json = json.loads(answer.stdout)
    return found


def _first_compile() -> Json:
    return {
        "first": micros(lambda: compile_selector(TYPICAL["model"])),
        "second": micros(lambda: compile_selector(TYPICAL["in-list"])),
    }


def _memory(nodes: int) -> Json:
    cluster = ledger_of(gpus(nodes))
    compile_selector("true")
    before = _resident()
    took = []
    for number in range(SELECTORS):
        asked = (claim([exactly("r", variant(number))]),)
        turn = Turn(cluster, asked, name=f"selector {number}", fits=False)
        took.append(micros(turn))
        turn.withdraw()
    return {
        "selectors": SELECTORS,
        "devices": nodes * PER_NODE,
        "resident_before_mib": round(before, 1),
        "growth_mib": round(_resident() - before, 1),
        "decision": Figure.of(took).as_json(),
    }


def _resident() -> float:
    """Return the resident memory of this process in MiB."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: Sequence[str]) -> None:
    """Print one figure that needs a process of its own."""
    what, nodes = arguments
    found = _first_compile() if what == "first" else _memory(int(nodes))
    print(json.dumps(found))  # noqa: T201 - a program


if __name__ == "__main__":
    main(sys.argv[1:])
