# SPDX-License-Identifier: Apache-2.0
"""What is asked of which fleet, and how full that is.

Decides the cases of the engine's comparison: six shapes of claims, four loads, and two ways to fit
nowhere. Each case is API JSON that both sides read.

Source: ``resource.k8s.io/v1`` ResourceClaim; KEP-4381, 4816, 4815, 5075.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.fleets import (
    CLASS,
    DRIVER,
    PER_NODE,
    WHOLE,
    Fleet,
    Json,
    Taken,
    gpus,
    hold,
    partitions,
    shareable,
)

NOTHING = f'device.attributes["{DRIVER}"].model == "zzz"'


@dataclass(frozen=True, slots=True)
class Shape:
    """A claim, the fleet that it is for, and what makes that fleet one device short everywhere.

    ``full`` tells whether a device is in use on a node that is full.
    """

    name: str
    fleet: Callable[[int], Fleet]
    requests: tuple[Json, ...]
    short: Callable[[int], str | None]
    full: Callable[[int], str | None] = lambda _: WHOLE
    constraints: tuple[Json, ...] = ()


def model(name: str) -> str:
    """Return a selector by model."""
    return f'device.attributes["{DRIVER}"].model == "{name}"'


def exactly(name: str, *selectors: str, count: int = 1, **more: Any) -> Json:
    """Return a request for ``count`` devices that match all ``selectors``."""
    return {"name": name, "exactly": body(*selectors, count=count, **more)}


def body(*selectors: str, count: int = 1, **more: Any) -> Json:
    """Return what a request and each alternative have in common."""
    return {
        "deviceClassName": CLASS,
        "allocationMode": "ExactCount",
        "count": count,
        "selectors": [{"cel": {"expression": each}} for each in selectors],
        **more,
    }


def same(attribute: str, *requests: str) -> Json:
    """Return a constraint: one value of ``attribute`` for all devices of ``requests``."""
    return {"requests": list(requests), "matchAttribute": f"{DRIVER}/{attribute}"}


def _all(_: int) -> str:
    return WHOLE


def _halves(number: int) -> str | None:
    return WHOLE if number % 4 in {1, 2} else None


SHAPES = (
    Shape("one", gpus, (exactly("r", model("a100")),), _all),
    Shape(
        "matched-4",
        gpus,
        (exactly("r", count=4),),
        # Three are left on each NUMA node.
        lambda number: WHOLE if number % 4 == 0 else None,
        constraints=(same("numa"),),
    ),
    Shape(
        "first-available-2",
        gpus,
        (
            {
                "name": "r",
                "firstAvailable": [
                    {"name": "large", **body(model("b200"))},
                    {"name": "small", **body(model("a100"))},
                ],
            },
        ),
        _all,
    ),
    Shape(
        "pair",
        gpus,
        (
            exactly("a", model("a100")),
            exactly(
                "b", f'device.capacity["{DRIVER}"].memory.compareTo(quantity("40Gi")) >= 0', count=1
            ),
        ),
        # One is left on each NUMA node.
        lambda number: WHOLE if number % 4 else None,
        constraints=(same("numa", "a", "b"),),
    ),
    Shape(
        "shares",
        shareable,
        (exactly("r", model("a100"), capacity={"requests": {"memory": "10Gi"}}),),
        lambda _: "75Gi",
    ),
    Shape(
        "partitions",
        partitions,
        (exactly("r", f'device.attributes["{DRIVER}"].profile == "half"'),),
        # A half is left of each device, and of its memory a quarter.
        lambda number: WHOLE if number % 4 in {1, 3} else None,
        full=_halves,
    ),
)


def loads(shape: Shape, nodes: int) -> Mapping[str, Taken]:
    """Return load → what is in use, for loads under which the shape fits."""

    def each_half(_: int, number: int) -> str | None:
        return shape.full(number) if number < PER_NODE // 2 else None

    def first_half(node: int, number: int) -> str | None:
        return shape.full(number) if node < nodes // 2 else None

    def most(node: int, number: int) -> str | None:
        return None if node % 20 == 19 else shape.full(number)  # noqa: PLR2004 - every twentieth is empty

    return {
        "empty": lambda _, __: None,
        "half-of-each": each_half,
        "first-half": first_half,
        "95-percent": most,
    }


@dataclass(frozen=True, slots=True)
class Question:
    """Claims of one pod, asked of one fleet."""

    shape: str
    load: str
    nodes: int
    fleet: Fleet
    claims: tuple[Json, ...]
    fits: bool

    @property
    def name(self) -> str:
        """Return what the report calls it."""
        return f"{self.shape} {self.load} {self.nodes}"


def claim(requests: Sequence[Json], constraints: Sequence[Json] = (), name: str = "asked") -> Json:
    """Return a claim that nobody has allocated yet."""
    devices = {"requests": list(requests), "constraints": list(constraints)}
    return {
        "metadata": {"name": name, "namespace": "asked", "uid": name, "resourceVersion": "1"},
        "spec": {"devices": devices},
    }


def questions(nodes: int, only: Sequence[str] = ()) -> Iterator[Question]:
    """Yield all cases of one size, fleets of the same content as the same object."""
    fleets: dict[tuple[str, str], Fleet] = {}

    def fleet(shape: Shape, load: str, taken: Taken) -> Fleet:
        # What "full" and "short" mean belongs to the shape.
        key = (shape.fleet.__name__, load if load != "short" else f"short for {shape.name}")
        if key not in fleets:
            fleets[key] = hold(shape.fleet(nodes), taken)
        return fleets[key]

    for shape in SHAPES:
        if only and shape.name not in only:
            continue
        asked = (claim(shape.requests, shape.constraints),)
        for load, taken in loads(shape, nodes).items():
            yield Question(shape.name, load, nodes, fleet(shape, load, taken), asked, fits=True)
        short = fleet(shape, "short", _short_of(shape))
        yield Question(shape.name, "one-too-few", nodes, short, asked, fits=False)
        empty = fleet(shape, "empty", lambda _, __: None)
        none = (
            claim([_with_selector(each, NOTHING) for each in shape.requests], shape.constraints),
        )
        yield Question(shape.name, "no-match", nodes, empty, none, fits=False)


def _short_of(shape: Shape) -> Taken:
    return lambda _, number: shape.short(number)


def _with_selector(request: Json, expression: str) -> Json:
    """Return the request with one selector more, in each of its alternatives."""
    selector = {"cel": {"expression": expression}}
    if "exactly" in request:
        exact = request["exactly"]
        return {**request, "exactly": {**exact, "selectors": [*exact["selectors"], selector]}}
    return {
        **request,
        "firstAvailable": [
            {**each, "selectors": [*each["selectors"], selector]}
            for each in request["firstAvailable"]
        ],
    }
