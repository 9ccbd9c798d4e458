# SPDX-License-Identifier: Apache-2.0
"""List functions: Kubernetes' lists library, cel-go's lists and sets extensions, DRA's includes.

Source: ``k8s.io/apiserver/pkg/cel/library/lists.go``; cel-go ``ext/lists.go``, ``ext/sets.go``;
``includes`` and its limit: ``k8s.io/dynamic-resource-allocation/cel``.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable
from typing import Any

from berth.cel.equality import SIMPLE, contains, surely_equal
from berth.cel.library_standard import add_ints, limited
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
    optional_of,
)
from berth.cel.values import NONE, Duration, Optional, Uint, checked_int, checked_uint
from berth.errors import CelRuntimeError

INCLUDES_LIMIT = 48
"""Items that ``includes`` looks at before it gives up."""

_COMPARABLE = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, STRING, BYTES)
_NUMBERS = (int, Uint, float)
_ORDERED = (int, Uint, str, bytes)


def compare(left: Any, right: Any) -> int:
    """Return -1, 0 or 1.

    Raises:
        CelRuntimeError: If the two values have no order.
    """
    same = type(left) is type(right)
    if not same and not (type(left) in _NUMBERS and type(right) in _NUMBERS):
        raise CelRuntimeError("no such overload: the items have no order")
    if float in (type(left), type(right)):
        left, right = float(left), float(right)
        if left != left or right != right:  # noqa: PLR0124 - true for NaN only
            raise CelRuntimeError("NaN values cannot be ordered")
    return int(left > right) - int(left < right)


def _one_class(items: tuple[Any, ...]) -> bool:
    """Tell whether the items have one class and an order that is as in Python."""
    return len(items) > 0 and type(items[0]) in _ORDERED and len(set(map(type, items))) == 1


def _is_sorted(items: tuple[Any, ...]) -> bool:
    if _one_class(items):
        return all(map(operator.le, items, items[1:]))
    for left, right in itertools.pairwise(items):
        try:
            if compare(left, right) > 0:
                return False
        except CelRuntimeError:
            # Upstream only looks for "greater", so items without an order pass.
            continue
    return True


def _extreme(sign: int) -> Body:
    def body(items: tuple[Any, ...]) -> Any:
        if not items:
            raise CelRuntimeError("min/max called on empty list")
        if _one_class(items):
            return max(items) if sign > 0 else min(items)
        best = items[0]
        for item in items[1:]:
            if compare(item, best) == sign:
                best = item
        return best

    return body


def _sum_ints(items: tuple[int, ...]) -> int:
    if len(items) == 0:
        return 0
    if set(map(type, items)) != {int}:
        raise CelRuntimeError("no such overload: `sum` of items of different types")
    # The first overflow ends it, even if later items would undo it.
    sums = tuple(itertools.accumulate(items))
    checked_int(max(sums))
    checked_int(min(sums))
    return sums[-1]


def _sum(zero: Any, add: Callable[[Any, Any], Any]) -> Body:
    def body(items: tuple[Any, ...]) -> Any:
        if any(type(item) is not type(zero) for item in items):
            raise CelRuntimeError("no such overload: `sum` of items of different types")
        return functools.reduce(add, items, zero)

    return body


def _index_of(items: tuple[Any, ...], wanted: Any) -> int:
    kind = type(wanted)
    for position, item in enumerate(items):
        if type(item) is kind and kind in SIMPLE:
            if item == wanted:
                return position
        elif surely_equal(item, wanted):
            return position
    return -1


def _last_index_of(items: tuple[Any, ...], wanted: Any) -> int:
    found = _index_of(items[::-1], wanted)
    return found if found < 0 else len(items) - 1 - found


def _slice(items: tuple[Any, ...], start: int, end: int) -> tuple[Any, ...]:
    if start < 0 or end < 0:
        raise CelRuntimeError(f"cannot slice({start}, {end}), negative indexes not supported")
    if start > end:
        raise CelRuntimeError(f"cannot slice({start}, {end}), start index must be less than end")
    if end > len(items):
        raise CelRuntimeError(f"cannot slice({start}, {end}), list is length {len(items)}")
    return items[start:end]


def _flatten(items: tuple[Any, ...], depth: int = 1) -> tuple[Any, ...]:
    if depth < 0:
        raise CelRuntimeError("level must be non-negative")
    flat = items
    # Deeper than the values are nested there is nothing left to do.
    while depth > 0 and any(type(item) is tuple for item in flat):
        flat = tuple(part for item in flat for part in (item if type(item) is tuple else (item,)))
        limited(len(flat))
        depth -= 1
    return flat


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    result: list[Any] = []
    for item in items:
        if not any(surely_equal(kept, item) for kept in result):
            result.append(item)
    return tuple(result)


def _reverse(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return items[::-1]


def _range(count: int) -> tuple[int, ...]:
    limited(count)
    return tuple(range(count))


def _sort(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return _sort_by(items, items)


def _sort_by(items: tuple[Any, ...], keys: tuple[Any, ...]) -> tuple[Any, ...]:
    if any(type(key) is not type(keys[0]) for key in keys):
        raise CelRuntimeError("list elements must have the same type")

    def compare_keys(first: int, second: int) -> int:
        return compare(keys[first], keys[second])

    order = sorted(range(len(items)), key=functools.cmp_to_key(compare_keys))
    return tuple(items[position] for position in order)


def _first(items: tuple[Any, ...]) -> Optional:
    return Optional(present=True, value=items[0]) if items else NONE


def _last(items: tuple[Any, ...]) -> Optional:
    return Optional(present=True, value=items[-1]) if items else NONE


def _contains_all(items: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    return all(contains(items, item) for item in wanted)


def _equivalent(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return _contains_all(first, second) and _contains_all(second, first)


def _intersects(first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
    return any(contains(second, item) for item in first)


def _includes(value: Any, wanted: Any) -> bool:
    if type(value) is not tuple:
        return surely_equal(value, wanted)
    for position, item in enumerate(value):
        if position >= INCLUDES_LIMIT:
            raise CelRuntimeError(
                f"includes() cannot be applied to lists longer than {INCLUDES_LIMIT}"
            )
        if surely_equal(item, wanted):
            return True
    return False


def _per_type(name: str, result: Type | None, body: Body) -> list[Overload]:
    return [member(name, (list_of(kind),), result or kind, body) for kind in _COMPARABLE]


OVERLOADS: tuple[Overload, ...] = (
    *_per_type("isSorted", BOOL, _is_sorted),
    member("sum", (list_of(INT),), INT, _sum_ints),
    member("sum", (list_of(UINT),), UINT, _sum(Uint(0), lambda a, b: checked_uint(a + b))),
    member("sum", (list_of(DOUBLE),), DOUBLE, _sum(0.0, lambda a, b: a + b)),
    member(
        "sum",
        (list_of(DURATION),),
        DURATION,
        _sum(Duration(0), lambda a, b: Duration(add_ints(a.nanos, b.nanos))),
    ),
    *_per_type("min", None, _extreme(-1)),
    *_per_type("max", None, _extreme(1)),
    member("indexOf", (list_of(A), A), INT, _index_of),
    member("lastIndexOf", (list_of(A), A), INT, _last_index_of),
    member("slice", (list_of(A), INT, INT), list_of(A), _slice),
    member("flatten", (list_of(list_of(A)),), list_of(A), _flatten),
    member("flatten", (list_of(DYN), INT), list_of(DYN), _flatten),
    *(member("sort", (list_of(kind),), list_of(kind), _sort) for kind in _COMPARABLE),
    *(member("@sortBy", (list_of(B), list_of(kind)), list_of(B), _sort_by) for kind in _COMPARABLE),
    member("distinct", (list_of(A),), list_of(A), _distinct),
    member("reverse", (list_of(A),), list_of(A), _reverse),
    function("lists.range", (INT,), list_of(INT), _range),
    member("first", (list_of(A),), optional_of(A), _first),
    member("last", (list_of(A),), optional_of(A), _last),
    function("sets.contains", (list_of(A), list_of(A)), BOOL, _contains_all),
    function("sets.equivalent", (list_of(A), list_of(A)), BOOL, _equivalent),
    function("sets.intersects", (list_of(A), list_of(A)), BOOL, _intersects),
    member("includes", (DYN, DYN), BOOL, _includes),
)
