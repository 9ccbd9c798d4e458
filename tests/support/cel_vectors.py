# SPDX-License-Identifier: Apache-2.0
"""Runs recorded answers of cel-go against Berth's CEL and reports where they differ.

Compares the class of the result: true, false, runtime_error or compile_error. What Berth says it
does not support is deliberate and counted apart.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from berth.cel import CelDevice, compile_selector
from berth.errors import CelRuntimeError, InvalidSelectorError
from berth.model.devices import AttributeValue
from berth.quantity import Quantity

VECTORS = Path(__file__).parent.parent / "conformance" / "vectors"
CASES = VECTORS / "cel-cases.yaml"

_FIELDS = {
    "int": "int_value",
    "bool": "bool_value",
    "string": "string_value",
    "version": "version_value",
}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One case whose answer differs; ``got`` may be ``unsupported``."""

    id: str
    expression: str
    want: str
    got: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """How many cases agree, which are left out on purpose, and which are wrong."""

    total: int
    agree: int
    deliberate: tuple[Disagreement, ...]
    disagreements: tuple[Disagreement, ...]


def run_cel_cases(path: Path) -> Report:
    """Evaluate every case of a ``.yaml`` or ``.jsonl`` file of vectors."""
    devices = _devices()
    total = agree = 0
    deliberate: list[Disagreement] = []
    wrong: list[Disagreement] = []
    for case in cases(path):
        total += 1
        got, detail = answer(case["expr"], devices[case["device"]])
        if got == case["want"]:
            agree += 1
            continue
        entry = Disagreement(case["id"], case["expr"], case["want"], got, detail)
        (deliberate if got == "unsupported" else wrong).append(entry)
    return Report(total, agree, tuple(deliberate), tuple(wrong))


def cases(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the cases of a file of vectors."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        yield from yaml.load(text, Loader=yaml.CSafeLoader)["cases"]
    else:
        yield from (json.loads(line) for line in text.splitlines() if line)


def answer(expression: str, device: CelDevice) -> tuple[str, str]:
    """Return the class of the answer of one expression, and the text of its error."""
    try:
        return str(compile_selector(expression).matches(device)).lower(), ""
    except InvalidSelectorError as error:
        return "unsupported" if error.unsupported else "compile_error", str(error)
    except CelRuntimeError as error:
        return "runtime_error", str(error)


def fixture(name: str) -> CelDevice:
    """Return one of the devices that the vectors use."""
    return _devices()[name]


@functools.cache
def _devices() -> dict[str, CelDevice]:
    text = CASES.read_text(encoding="utf-8")
    data = yaml.load(text, Loader=yaml.CSafeLoader)["fixtures"]
    return {name: _device(fields) for name, fields in data.items()}


def _device(fields: Mapping[str, Any]) -> CelDevice:
    return CelDevice.build(
        fields["driver"],
        {name: _attribute(value) for name, value in fields["attributes"].items()},
        {name: Quantity.parse(text) for name, text in fields["capacity"].items()},
        bool(fields["allowMultipleAllocations"]),
    )


def _attribute(value: Mapping[str, Any]) -> AttributeValue:
    ((kind, content),) = value.items()
    if isinstance(content, list):
        content = tuple(content)
    return AttributeValue(**{_FIELDS.get(kind, kind): content})
