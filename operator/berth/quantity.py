# SPDX-License-Identifier: Apache-2.0
"""Kubernetes quantities: parse, exact arithmetic, canonical text.

A quantity is an exact whole number of nano-units, so sums and comparisons never round and there
is no limit on size. Never a float.

Source: ``k8s.io/apimachinery`` resource.Quantity (serialisation format and its suffixes).
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from berth.errors import QuantityError

NANO = 10**9
"""Nano-units in one unit; the precision to which Kubernetes keeps a quantity."""

_SYNTAX = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?"
    r"(?P<suffix>[eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE]?)"
)
_DECIMAL = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_BY_EXPONENT = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_MAX_EXPONENT = 4096
"""Larger exponents are refused: `1e999999999` must not become a number of a gigabyte."""


class QuantityFormat(enum.Enum):
    """How a quantity was written, which decides its canonical text."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An exact amount; equal, ordered and hashed by value, whatever its notation.

    ``nanos`` is the amount in nano-units (10⁻⁹), ``format`` the notation for ``str()``.
    """

    nanos: int
    format: QuantityFormat = field(default=QuantityFormat.DECIMAL_SI, compare=False)

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Return the quantity that ``text`` denotes.

        Args:
            text: A quantity as the API writes it: ``40Gi``, ``1500m``, ``2e3``, ``0.5``.

        Raises:
            QuantityError: If ``text`` is no quantity.

        Source:
            Amounts finer than a nano-unit are rounded away from zero, as apimachinery does.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None or not (match["whole"] or match["fraction"]):
            raise QuantityError(
                text,
                "expected a number with an optional suffix such as `m`, `k`, `Mi` or `e3`",
            )
        fraction = match["fraction"] or ""
        digits = int((match["whole"] or "") + fraction)
        suffix = match["suffix"]
        ten, two, notation = -len(fraction) + 9, 0, QuantityFormat.DECIMAL_SI
        if suffix in _BINARY:
            two, notation = _BINARY[suffix], QuantityFormat.BINARY_SI
        elif suffix in _DECIMAL:
            ten += _DECIMAL[suffix]
        else:
            exponent = int(suffix[1:])
            if abs(exponent) > _MAX_EXPONENT:
                raise QuantityError(text, f"the exponent is beyond ±{_MAX_EXPONENT}")
            ten, notation = ten + exponent, QuantityFormat.DECIMAL_EXPONENT
        amount = digits << two
        nanos = amount * 10**ten if ten >= 0 else -(-amount // 10**-ten)
        return cls(-nanos if match["sign"] == "-" else nanos, notation)

    @classmethod
    def of(cls, units: int) -> Quantity:
        """Return the quantity of a whole number of units."""
        return cls(units * NANO)

    @property
    def units_rounded_up(self) -> int:
        """The amount in whole units, rounded towards positive infinity."""
        return -(-self.nanos // NANO)

    @property
    def millis_rounded_up(self) -> int:
        """The amount in milli-units, rounded towards positive infinity."""
        return -(-self.nanos // 10**6)

    def is_integer(self) -> bool:
        """Tell whether the amount is a whole number of units."""
        return self.nanos % NANO == 0

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos + other.nanos, self.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nanos - other.nanos, self.format)

    def __str__(self) -> str:
        """Return the canonical text, as the API server would store it."""
        sign, nanos = ("-", -self.nanos) if self.nanos < 0 else ("", self.nanos)
        if nanos == 0:
            return "0"
        # Binary notation exists for whole amounts of at least 1024 only.
        if self.format is QuantityFormat.BINARY_SI and nanos % NANO == 0 and nanos >= 1024 * NANO:
            return sign + _binary_text(nanos // NANO)
        return sign + _decimal_text(
            nanos, exponent_form=self.format is QuantityFormat.DECIMAL_EXPONENT
        )


def _binary_text(units: int) -> str:
    suffix = ""
    for candidate, shift in _BINARY.items():
        if units % (1 << shift):
            break
        suffix = candidate
    return f"{units >> _BINARY[suffix] if suffix else units}{suffix}"


def _decimal_text(nanos: int, *, exponent_form: bool) -> str:
    digits, exponent = nanos, -9
    # Largest power of a thousand that leaves a whole number.
    while digits % 1000 == 0 and (exponent_form or exponent < _DECIMAL["E"]):
        digits, exponent = digits // 1000, exponent + 3
    if exponent_form:
        return f"{digits}e{exponent}" if exponent else str(digits)
    return f"{digits}{_DECIMAL_BY_EXPONENT[exponent]}"
