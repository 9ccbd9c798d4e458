# SPDX-License-Identifier: Apache-2.0
"""Ranges of sizes and costs, with the arithmetic that estimates are made of.

Numbers end at the largest one of 64 bits, which stands for "unbounded", and nothing overflows.

Source: cel-go ``checker/cost.go`` (SizeEstimate, CostEstimate).
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

UNBOUNDED: Final = (1 << 64) - 1


class Range(NamedTuple):
    """From ``low`` to ``high``, both included."""

    low: int
    high: int

    def plus(self, other: Range) -> Range:
        """Return the range of sums."""
        return Range(_capped(self.low + other.low), _capped(self.high + other.high))

    def times(self, other: Range) -> Range:
        """Return the range of products."""
        return Range(_capped(self.low * other.low), _capped(self.high * other.high))

    def scaled(self, factor: float) -> Range:
        """Return the range multiplied by ``factor``, rounded up."""
        return Range(scaled(self.low, factor), scaled(self.high, factor))

    def union(self, other: Range) -> Range:
        """Return the smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


def exactly(number: int) -> Range:
    """Return the range of one number."""
    return Range(number, number)


NOTHING: Final = Range(0, 0)
ONE: Final = Range(1, 1)
ANY: Final = Range(0, UNBOUNDED)
EMPTY: Final = Range(UNBOUNDED, 0)
"""What a union starts from."""


def scaled(number: int, factor: float) -> int:
    """Return ``number`` times ``factor``, rounded up."""
    product = float(number) * factor
    return UNBOUNDED if product >= float(UNBOUNDED) else math.ceil(product)


def _capped(number: int) -> int:
    return min(number, UNBOUNDED)
