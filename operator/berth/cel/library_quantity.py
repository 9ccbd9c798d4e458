# SPDX-License-Identifier: Apache-2.0
"""The quantity library of Kubernetes' CEL.

Source: ``k8s.io/apiserver/pkg/cel/library/quantity.go``; ``sign`` is global, despite its
documentation there.
"""

from __future__ import annotations

from berth.cel.overloads import Overload, function, member
from berth.cel.quantities import CelQuantity, from_int, parse_quantity
from berth.cel.types import BOOL, DOUBLE, INT, QUANTITY, STRING
from berth.errors import CelRuntimeError, QuantityError
from berth.quantity import NANO


def _quantity(text: str) -> CelQuantity:
    try:
        return parse_quantity(text)
    except QuantityError as error:
        raise CelRuntimeError(str(error)) from None


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except QuantityError:
        return False
    return True


def _as_integer(value: CelQuantity) -> int:
    number = value.as_int()
    if number is None:
        raise CelRuntimeError("cannot convert value to integer")
    return number


def _is_integer(value: CelQuantity) -> bool:
    return value.as_int() is not None


def _as_double(value: CelQuantity) -> float:
    try:
        return value.nanos / NANO
    except OverflowError:
        return float("inf") if value.nanos > 0 else float("-inf")


def _sign(value: CelQuantity) -> int:
    return (value.nanos > 0) - (value.nanos < 0)


def _compare(left: CelQuantity, right: CelQuantity) -> int:
    return (left.nanos > right.nanos) - (left.nanos < right.nanos)


def _add_int(left: CelQuantity, right: int) -> CelQuantity:
    return left.plus(from_int(right))


def _subtract_int(left: CelQuantity, right: int) -> CelQuantity:
    return left.minus(from_int(right))


def _greater(left: CelQuantity, right: CelQuantity) -> bool:
    return left.nanos > right.nanos


def _less(left: CelQuantity, right: CelQuantity) -> bool:
    return left.nanos < right.nanos


OVERLOADS: tuple[Overload, ...] = (
    function("quantity", (STRING,), QUANTITY, _quantity),
    function("isQuantity", (STRING,), BOOL, _is_quantity),
    function("sign", (QUANTITY,), INT, _sign),
    member("isInteger", (QUANTITY,), BOOL, _is_integer),
    member("asInteger", (QUANTITY,), INT, _as_integer),
    member("asApproximateFloat", (QUANTITY,), DOUBLE, _as_double),
    member("isGreaterThan", (QUANTITY, QUANTITY), BOOL, _greater),
    member("isLessThan", (QUANTITY, QUANTITY), BOOL, _less),
    member("compareTo", (QUANTITY, QUANTITY), INT, _compare),
    member("add", (QUANTITY, QUANTITY), QUANTITY, CelQuantity.plus),
    member("add", (QUANTITY, INT), QUANTITY, _add_int),
    member("sub", (QUANTITY, QUANTITY), QUANTITY, CelQuantity.minus),
    member("sub", (QUANTITY, INT), QUANTITY, _subtract_int),
)
