# SPDX-License-Identifier: Apache-2.0
"""Selectors as users write them, and plain cel-python to evaluate the same.

Decides what the CEL part compares. cel-python by itself knows neither the device's types nor the
Kubernetes libraries, so it gets the device as nested maps, and only selectors that it can evaluate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import celpy.adapter

from bench.fleets import DRIVER, Json

ATTRIBUTES = f'device.attributes["{DRIVER}"]'
CAPACITY = f'device.capacity["{DRIVER}"]'

TYPICAL: Mapping[str, str] = {
    "driver": f'device.driver == "{DRIVER}"',
    "model": f'{ATTRIBUTES}.model == "a100"',
    "either": f'{ATTRIBUTES}.model == "a100" || {ATTRIBUTES}.model == "h100"',
    "in-list": f'{ATTRIBUTES}.model in ["a100", "l40", "v100"] && {ATTRIBUTES}.numa == 0',
    "guarded": f'"{DRIVER}" in device.attributes && {ATTRIBUTES}.numa < 2',
    "prefix": f'{ATTRIBUTES}.model.startsWith("a") && {ATTRIBUTES}.numa == 1',
    "capacity": f'{CAPACITY}.memory.compareTo(quantity("40Gi")) >= 0',
    "version": f'{ATTRIBUTES}.driverVersion.isGreaterThan(semver("1.2.0"))',
    "distinct": f'{ATTRIBUTES}.uuid == "gpu-00007-3"',
}
"""All values of ``distinct`` differ between devices; of the others few do."""
PLAIN = ("driver", "model", "either", "in-list", "guarded", "prefix", "distinct")
"""Those that plain cel-python can evaluate."""


def variant(number: int) -> str:
    """Return one of any number of different selectors."""
    return f'{ATTRIBUTES}.model == "model-{number}" && {ATTRIBUTES}.numa == {number % 4}'


def plain_program(expression: str) -> Callable[[Any], bool]:
    """Return what cel-python itself makes of an expression."""
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))

    def evaluate(activation: Any) -> bool:
        return bool(program.evaluate(activation))

    return evaluate


def plain_device(driver: str, device: Json) -> Mapping[str, Any]:
    """Return a device as cel-python can read it."""
    attributes = {
        name: next(iter(value.values())) for name, value in device.get("attributes", {}).items()
    }
    return {
        "device": celpy.adapter.json_to_cel({"driver": driver, "attributes": {driver: attributes}}),
    }
