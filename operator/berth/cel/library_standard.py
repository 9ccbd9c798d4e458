# SPDX-License-Identifier: Apache-2.0
"""Operators of the CEL standard library: arithmetic, ordering, equality, indexing, size.

Source: CEL language definition, "List of Standard Definitions"; cel-go ``common/stdlib`` with
comparisons between numeric types switched on, as Kubernetes does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from berth.cel.equality import contains, equal, find_key, surely_equal
from berth.cel.overloads import Body, Overload, function, member
from berth.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    UINT,
    A,
    B,
    Type,
    list_of,
    map_of,
    optional_of,
    type_of,
)
from berth.cel.values import (
    MAX_INT,
    MIN_INT,
    NONE,
    CelAbortError,
    CelType,
    DomainMap,
    Duration,
    Optional,
    Timestamp,
    Uint,
    checked_int,
    checked_uint,
    type_name,
)
from berth.errors import CelRuntimeError

MAX_SIZE = 10_000_000
"""Characters or items of the largest value; building a larger one costs more than is allowed."""

_MIN_TIME = -62_135_596_800 * 10**9
_MAX_TIME = 253_402_300_799 * 10**9 + 999_999_999


def limited(size: int) -> None:
    """Stop the evaluation if a value of ``size`` characters or items is about to be made."""
    if size > MAX_SIZE:
        raise CelAbortError("actual cost limit exceeded")


def add_ints(left: int, right: int) -> int:
    """Add, failing on overflow."""
    return checked_int(left + right)


def concatenate(left: Any, right: Any) -> Any:
    """Join two strings, bytes or lists."""
    limited(len(left) + len(right))
    return left + right


def subtract_ints(left: int, right: int) -> int:
    """Subtract, failing on overflow."""
    return checked_int(left - right)


def multiply_ints(left: int, right: int) -> int:
    """Multiply, failing on overflow."""
    return checked_int(left * right)


def divide_ints(left: int, right: int) -> int:
    """Divide, rounding towards zero."""
    if right == 0:
        raise CelRuntimeError("division by zero")
    quotient = abs(left) // abs(right)
    return checked_int(quotient if (left < 0) is (right < 0) else -quotient)


def modulo_ints(left: int, right: int) -> int:
    """Remainder of a division that rounds towards zero."""
    if right == 0:
        raise CelRuntimeError("modulus by zero")
    if left == MIN_INT and right == -1:
        raise CelRuntimeError("integer overflow")
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


def _divide_doubles(left: float, right: float) -> float:
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _divide_uints(left: int, right: int) -> Uint:
    if right == 0:
        raise CelRuntimeError("division by zero")
    return Uint(int(left) // int(right))


def _modulo_uints(left: int, right: int) -> Uint:
    if right == 0:
        raise CelRuntimeError("modulus by zero")
    return Uint(int(left) % int(right))


def _uints(compute: Callable[[int, int], int]) -> Body:
    return lambda left, right: checked_uint(compute(int(left), int(right)))


def _duration(nanos: int) -> Duration:
    if not MIN_INT <= nanos <= MAX_INT:
        raise CelRuntimeError("duration overflow")
    return Duration(nanos)


def timestamp(nanos: int) -> Timestamp:
    """Return the point in time, if the years 1 to 9999 hold it."""
    if not _MIN_TIME <= nanos <= _MAX_TIME:
        raise CelRuntimeError("timestamp overflow")
    return Timestamp(nanos)


def _difference(left: Timestamp, right: Timestamp) -> Duration:
    return _duration(left.nanos - right.nanos)


def _ordered(compare: Callable[[Any, Any], bool]) -> Body:
    def body(left: Any, right: Any) -> bool:
        kind, other = type(left), type(right)
        if kind is float or other is float:
            # As upstream: both become doubles, and a comparison with NaN is an error.
            left, right = float(left), float(right)
            if math.isnan(left) or math.isnan(right):
                raise CelRuntimeError("NaN values cannot be ordered")
        return compare(left, right)

    return body


def _ordering(symbol: str, compare: Callable[[Any, Any], bool]) -> list[Overload]:
    numbers = (INT, UINT, DOUBLE)
    exact = (BOOL, INT, UINT, STRING, BYTES, TIMESTAMP, DURATION)
    pairs = [(first, second) for first in numbers for second in numbers if first != second]
    body = _ordered(compare)
    return [
        *(function(f"_{symbol}_", (kind, kind), BOOL, compare) for kind in exact),
        *(function(f"_{symbol}_", pair, BOOL, body) for pair in [(DOUBLE, DOUBLE), *pairs]),
    ]


def negate(value: Any) -> Any:
    """Negate a number."""
    return checked_int(-value) if type(value) is int else -value


def index(container: Any, key: Any) -> Any:
    """Return ``container[key]``.

    Raises:
        CelRuntimeError: If there is no such item, or ``key`` is of the wrong type.
    """
    if type(container) is tuple:
        position = _position(key)
        if 0 <= position < len(container):
            return container[position]
        raise CelRuntimeError(f"index out of bounds: {position}")
    if isinstance(container, dict):
        found, value = find_key(container, key)
        if found:
            return value
        raise CelRuntimeError(f"no such key: {shown(key)}")
    if type(container) is Optional:
        return optional_index(container, key)
    raise CelRuntimeError("no such overload: `_[_]`")


def optional_index(container: Any, key: Any) -> Optional:
    """Return ``container[?key]``: absent where there is no such item."""
    if type(container) is Optional:
        if not container.present:
            return NONE
        container = container.value
    if type(container) is tuple:
        position = _position(key)
        if 0 <= position < len(container):
            return Optional(present=True, value=container[position])
        return NONE
    if isinstance(container, dict):
        found, value = find_key(container, key)
        return Optional(present=True, value=value) if found else NONE
    return NONE


def shown(value: Any) -> str:
    """Return a short text of ``value`` for a message."""
    text = value if type(value) is str else repr(value)
    return text if len(text) <= 64 else f"{text[:64]}…"


def _position(key: Any) -> int:
    if type(key) in (int, Uint):
        return int(key)
    if type(key) is float and key.is_integer():
        return int(key)
    raise CelRuntimeError("unsupported index type of a list")


def is_in(value: Any, container: Any) -> bool:
    """Tell whether a list has the value, or a map the key; the default domain does not count."""
    if type(container) is tuple:
        return contains(container, value)
    if not isinstance(container, dict):
        raise CelRuntimeError("no such overload: `in`")
    if type(value) is str or type(container) is DomainMap:
        return type(value) is str and value in container
    return find_key(container, value)[0]


def _arithmetic() -> list[Overload]:
    rows: list[tuple[str, Type, Body]] = [
        ("_+_", INT, add_ints),
        ("_+_", UINT, _uints(operator.add)),
        ("_+_", DOUBLE, operator.add),
        ("_+_", STRING, concatenate),
        ("_+_", BYTES, concatenate),
        ("_+_", list_of(A), concatenate),
        ("_+_", DURATION, lambda a, b: _duration(a.nanos + b.nanos)),
        ("_-_", INT, subtract_ints),
        ("_-_", UINT, _uints(operator.sub)),
        ("_-_", DOUBLE, operator.sub),
        ("_-_", DURATION, lambda a, b: _duration(a.nanos - b.nanos)),
        ("_*_", INT, multiply_ints),
        ("_*_", UINT, _uints(operator.mul)),
        ("_*_", DOUBLE, operator.mul),
        ("_/_", INT, divide_ints),
        ("_/_", UINT, _divide_uints),
        ("_/_", DOUBLE, _divide_doubles),
        ("_%_", INT, modulo_ints),
        ("_%_", UINT, _modulo_uints),
    ]
    return [function(name, (kind, kind), kind, body) for name, kind, body in rows]


def _not(value: bool) -> bool:  # noqa: FBT001 - the operand of `!`
    return not value


OVERLOADS: tuple[Overload, ...] = (
    function("!_", (BOOL,), BOOL, _not),
    function("-_", (DOUBLE,), DOUBLE, negate),
    function("-_", (INT,), INT, negate),
    function("_==_", (A, A), BOOL, equal),
    function("_!=_", (A, A), BOOL, lambda a, b: not surely_equal(a, b)),
    function("@in", (A, list_of(A)), BOOL, is_in),
    function("@in", (A, map_of(A, B)), BOOL, is_in),
    *_ordering("<", operator.lt),
    *_ordering("<=", operator.le),
    *_ordering(">", operator.gt),
    *_ordering(">=", operator.ge),
    *_arithmetic(),
    function("_+_", (DURATION, TIMESTAMP), TIMESTAMP, lambda d, t: timestamp(t.nanos + d.nanos)),
    function("_+_", (TIMESTAMP, DURATION), TIMESTAMP, lambda t, d: timestamp(t.nanos + d.nanos)),
    function("_-_", (TIMESTAMP, TIMESTAMP), DURATION, _difference),
    function("_-_", (TIMESTAMP, DURATION), TIMESTAMP, lambda t, d: timestamp(t.nanos - d.nanos)),
    function("_[_]", (list_of(A), INT), A, index),
    function("_[_]", (map_of(A, B), A), B, index),
    function("_[_]", (optional_of(list_of(A)), INT), optional_of(A), index),
    function("_[_]", (optional_of(map_of(A, B)), A), optional_of(B), index),
    function("_[?_]", (list_of(A), INT), optional_of(A), optional_index),
    function("_[?_]", (map_of(A, B), A), optional_of(B), optional_index),
    function("_[?_]", (optional_of(list_of(A)), INT), optional_of(A), optional_index),
    function("_[?_]", (optional_of(map_of(A, B)), A), optional_of(B), optional_index),
    function("_?_:_", (BOOL, A, A), A, lambda test, then, other: then if test else other),
    *(function("size", (kind,), INT, len) for kind in (BYTES, list_of(A), map_of(A, B), STRING)),
    *(member("size", (kind,), INT, len) for kind in (BYTES, list_of(A), map_of(A, B), STRING)),
    function("@insert", (map_of(A, B), A, B), map_of(A, B), dict),
    function("@insert", (map_of(A, B), map_of(A, B)), map_of(A, B), dict),
    function("dyn", (A,), DYN, lambda value: value),
    function("type", (A,), type_of(A), lambda value: CelType(type_name(value))),
)
