# SPDX-License-Identifier: Apache-2.0
"""Quantities as CEL sees them: upstream's two representations shine through.

A quantity is kept as a 64-bit integer with a decimal scale where its text allows that (the fast
path of apimachinery's parser), else as a decimal of any size. Only ``isInteger`` and ``asInteger``
tell the difference. Binary suffixes are capped at 2^63 - 1.

Source: ``k8s.io/apimachinery/pkg/api/resource`` (``ParseQuantity``, ``int64Amount``).
"""

from __future__ import annotations

import functools
import re

from berth.cel.equality import Opaque
from berth.cel.values import MAX_INT, MIN_INT, register_type
from berth.errors import CelRuntimeError, QuantityError
from berth.quantity import NANO, Quantity, QuantityFormat

_PARTS = re.compile(r"[+-]?([0-9]*)(?:\.([0-9]*))?(.*)", re.DOTALL)
_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]+)\Z")
_MAX_LENGTH = 4000
_FAST_DIGITS = 18
_EXPONENTS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SHIFTS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


class CelQuantity(Opaque):
    """An amount in ``nanos``, and as ``small`` times ten to the ``scale`` where that is kept.

    ``derived`` marks the result of ``add`` and ``sub``: upstream returns a pointer there, which
    a comparison accepts on its left side only.
    """

    __slots__ = ("derived", "nanos", "scale", "small")

    def __init__(
        self, nanos: int, small: int | None, scale: int = 0, *, derived: bool = False
    ) -> None:
        self.nanos = nanos
        self.small = small
        self.scale = scale
        self.derived = derived

    def same(self, other: CelQuantity) -> bool:
        """Tell whether the amounts are equal."""
        return self.nanos == other.nanos

    def accepts(self, other: object) -> bool:
        """Tell whether ``other`` is a quantity that is not the result of ``add`` or ``sub``."""
        return type(other) is CelQuantity and not other.derived

    def as_int(self) -> int | None:
        """Return the amount if it is a whole number and was kept as one."""
        if self.small is None or self.scale < 0:
            return None
        value = self.small * 10**self.scale
        return value if MIN_INT <= value <= MAX_INT else None

    def plus(self, other: CelQuantity) -> CelQuantity:
        """Return the sum."""
        return self._combine(other, 1)

    def minus(self, other: CelQuantity) -> CelQuantity:
        """Return the difference."""
        return self._combine(other, -1)

    def _combine(self, other: CelQuantity, sign: int) -> CelQuantity:
        nanos = self.nanos + sign * other.nanos
        small, scale = self.small, self.scale
        if small is None or other.small is None:
            small = None
        elif other.small == 0:
            pass
        elif small == 0:
            small, scale = sign * other.small, other.scale
        else:
            scale = min(self.scale, other.scale)
            small = _rescaled_sum(self, other, sign, scale)
        return CelQuantity(nanos, small, scale, derived=True)


register_type(CelQuantity, "kubernetes.Quantity")


def parse_quantity(text: str) -> CelQuantity:
    """Return the quantity that ``text`` denotes.

    Raises:
        QuantityError: If ``text`` is none.
        CelRuntimeError: If it may be one, but is larger than Berth computes with.
    """
    exponent_text = _EXPONENT.search(text)
    if len(text) > _MAX_LENGTH or (
        exponent_text is not None and len(exponent_text[1]) < 19 and int(exponent_text[1]) > 4096
    ):
        raise CelRuntimeError("quantities of this size are not supported")
    amount = Quantity.parse(text)
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise QuantityError(text, "the text is no quantity")
    suffix = parts[3]
    sign = -1 if text[0] == "-" else 1
    whole, fraction = (parts[1] or "").lstrip("0") or "0", parts[2] or ""
    nanos = amount.nanos
    if text == "0":
        return CelQuantity(0, 0)
    if suffix in _SHIFTS:
        nanos = sign * min(abs(nanos), MAX_INT * NANO)
        room = 15 - len(whole) - int(_SHIFTS[suffix] * 3 / 10) - 1
        factor, scale = 1 << _SHIFTS[suffix], 0
        fast = room >= 0 and not fraction
    else:
        exponent = _EXPONENTS[suffix] if suffix in _EXPONENTS else int(suffix[1:])
        factor, scale = 1, exponent - len(fraction)
        fast = _FAST_DIGITS - len(whole) - len(fraction) >= 0 and scale >= -9
    small = int(whole + fraction) * factor if fast else MAX_INT + 1
    if small > MAX_INT:
        return CelQuantity(nanos, None)
    return CelQuantity(nanos, sign * small, scale)


def from_int(value: int) -> CelQuantity:
    """Return the quantity of a whole number of units."""
    return CelQuantity(value * NANO, value)


def from_published(amount: Quantity) -> CelQuantity:
    """Return a published capacity as CEL sees it, from its canonical text."""
    # Equal amounts in different notation are equal quantities, but not the same to CEL.
    return _from_published(amount.nanos, amount.format)


@functools.lru_cache(maxsize=4096)
def _from_published(nanos: int, notation: QuantityFormat) -> CelQuantity:
    if nanos % NANO == 0 and abs(nanos) < 10**_FAST_DIGITS * NANO:
        units = nanos // NANO
        if notation is QuantityFormat.DECIMAL_SI and abs(units) < 10**15:
            return CelQuantity(nanos, units)
    return parse_quantity(str(Quantity(nanos, notation)))


def _rescaled_sum(left: CelQuantity, right: CelQuantity, sign: int, scale: int) -> int | None:
    if left.small is None or right.small is None:
        return None
    first = left.small * 10 ** (left.scale - scale)
    second = right.small * 10 ** (right.scale - scale)
    total = first + sign * second
    fits = all(MIN_INT <= value <= MAX_INT for value in (first, second, total))
    return total if fits else None
