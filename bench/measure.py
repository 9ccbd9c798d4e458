# SPDX-License-Identifier: Apache-2.0
"""From repeated measurements to figures, and from figures to growth.

Decides how often something is repeated and what is told of it: median, tenth and ninetieth
percentile. Never throws a measurement away.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

FEWEST = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """Repeated measurements of one thing, in microseconds."""

    median: float
    p10: float
    p90: float
    repetitions: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Return what is told of ``values``; there must be one."""
        ordered = sorted(values)
        return cls(
            percentile(ordered, 0.5),
            percentile(ordered, 0.1),
            percentile(ordered, 0.9),
            len(ordered),
        )

    def as_json(self) -> dict[str, float | int]:
        """Return the figure for the report."""
        return {
            "median": round(self.median, 3),
            "p10": round(self.p10, 3),
            "p90": round(self.p90, 3),
            "repetitions": self.repetitions,
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the ascending values are; between two, linear."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def micros(action: Callable[[], object]) -> float:
    """Return how long one call takes, in microseconds."""
    begun = time.perf_counter_ns()
    action()
    return (time.perf_counter_ns() - begun) / 1000


def repeat(
    action: Callable[[], object], *, seconds: float, most: int, fewest: int = FEWEST
) -> list[float]:
    """Return the duration of each call: ``most`` of them, fewer where ``seconds`` are over."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < most and (len(found) < fewest or time.perf_counter() < end):
        found.append(micros(action))
    return found


@contextmanager
def frozen() -> Iterator[None]:
    """Keep the garbage collector away from what exists already, as the operator does."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def exponent(points: Mapping[int, float]) -> float | None:
    """Return the exponent of growth by least squares over logarithms; ``None`` of one size.

    0 is "does not grow", 1 "twice the size, twice the cost".
    """
    if len(points) < 2 or not all(value > 0 for value in points.values()):  # noqa: PLR2004 - a line needs two
        return None
    x = [math.log(size) for size in points]
    y = [math.log(value) for value in points.values()]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle_x) ** 2 for each in x)
    slope = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / spread
    return round(slope, 3)


def ratio(of: Any, to: Any) -> float | None:
    """Return how many times ``of`` is as large as ``to``, ``None`` where there is no telling."""
    return None if not of or not to else round(of / to, 2)
