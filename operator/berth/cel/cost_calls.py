# SPDX-License-Identifier: Apache-2.0
"""What a call may cost, without its arguments, from what is known of their sizes.

Source: cel-go ``checker/cost.go`` (functionCost), ``ext/lists.go``, ``ext/sets.go``;
``k8s.io/apiserver/pkg/cel/library/cost.go`` (EstimateCallCost);
``k8s.io/dynamic-resource-allocation/cel`` (``includes``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from berth.cel.cost_units import CONSTANT_COST_FUNCTIONS, LIST, ORDERINGS, PATTERN, TRAVERSAL
from berth.cel.estimate import Estimate, published_size
from berth.cel.library_lists import INCLUDES_LIMIT
from berth.cel.overloads import Overload
from berth.cel.ranges import ANY, NOTHING, ONE, UNBOUNDED, Range, exactly
from berth.cel.syntax import Literal
from berth.cel.types import BYTES, CIDR, FORMAT, IP, QUANTITY, SEMVER, STRING, URL

Outcome: TypeAlias = tuple[Range, Range | None]
"""The cost of a call, and the size of its result where that is known."""

_TEXTS = (STRING, BYTES)
_LONGEST_FORMAT = 64
_LONGEST_PATTERN = 128
_ADDRESS = Range(4, 16)


def call_estimate(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    """Return what a call of ``overload`` costs; a target is the first of ``args``."""
    function = overload.function
    if function in CONSTANT_COST_FUNCTIONS:
        return ONE, None
    rule = _RULES.get(function)
    return (ONE, None) if rule is None else rule(overload, args)


def _texts_scanned(factor: float, *, keeps_size: bool = False) -> _Rule:
    def rule(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
        size = args[0].size_or_any
        return size.scaled(factor), size if keeps_size else None

    return rule


def _list_scanned(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    if overload.function == "includes":
        return Range(0, INCLUDES_LIMIT), None
    size = args[0].size_or_any
    params = args[0].type.params
    if not params:
        return size.scaled(TRAVERSAL), None
    each = ONE
    if params[0] in _TEXTS:
        path = args[0].path
        item = published_size((*path, "@items")) if path else None
        each = each.plus((item or ANY).scaled(TRAVERSAL))
    return size.times(each), None


def _replace(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    text, old, new = (arg.size_or_any for arg in args[:3])
    kept_low = kept_high = count_low = count_high = 0
    if old.low == 0:
        count_high = text.high + (text.high < UNBOUNDED)
        kept_high = text.high
    elif new.high <= old.low:
        kept_high = text.high
    else:
        count_high = math.ceil(float(text.high) / float(old.low))
    if old.high == 0:
        count_low = text.low + (text.low < UNBOUNDED)
        kept_low = text.low
    elif old.high <= new.low:
        kept_low = text.low
    else:
        count_low = math.ceil(float(text.low) / float(old.high))
    counts = Range(count_low, min(count_high, UNBOUNDED))
    size = counts.times(new).plus(Range(kept_low, kept_high))
    return text.scaled(2 * TRAVERSAL), size


def _split(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    size = args[0].size_or_any
    most = size.high
    if len(args) > 2:
        count = args[2].node
        if isinstance(count, Literal) and type(count.value) is int:
            # A negative count becomes a huge one, as upstream.
            most = count.value % (UNBOUNDED + 1)
    return size.scaled(2 * TRAVERSAL), Range(0, most)


def _join(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    count = args[0].size_or_any
    size = NOTHING
    if args[0].type.params:
        path = args[0].path
        item = published_size((*path, "@items")) if path else None
        size = count.times(item or ANY)
    if len(args) > 1:
        gaps = Range(max(0, count.low - 1), max(0, count.high - 1))
        size = size.plus(args[1].size_or_any.times(gaps))
    return size.scaled(TRAVERSAL), size


def _pattern_cost(args: Sequence[Estimate]) -> Range:
    text = args[0].size_or_any.plus(ONE).scaled(TRAVERSAL)
    return text.times(args[1].size_or_any.scaled(PATTERN))


def _find(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return _pattern_cost(args), Range(0, args[0].size_or_any.high)


def _matches(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    # Upstream counts the form `matches(text, pattern)` as one unit.
    return (_pattern_cost(args) if overload.member else ONE), None


def _ip(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    if overload.params[0] == CIDR:
        return ONE, None
    return args[0].size_or_any.scaled(TRAVERSAL), None


def _inside_network(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    cost = _ADDRESS.plus(_ADDRESS).scaled(TRAVERSAL)
    if overload.function == "containsCIDR":
        cost = cost.plus(_ADDRESS.scaled(TRAVERSAL)).plus(ONE)
    if overload.params[1] == STRING:
        cost = cost.plus(args[1].size_or_any.scaled(TRAVERSAL))
    return cost, None


def _validate(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return args[1].size_or_any.scaled(TRAVERSAL).scaled(_LONGEST_PATTERN * PATTERN), None


def _compared(args: Sequence[Estimate]) -> Range:
    most = min(args[0].size_or_any.high, args[1].size_or_any.high)
    return Range(int(most > 0), most).scaled(TRAVERSAL)


def _equals(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    kind = args[0].type
    if kind == args[1].type:
        if kind in (IP, CIDR, QUANTITY, SEMVER):
            return ONE, None
        if kind == FORMAT:
            return Range(1, _LONGEST_FORMAT).scaled(TRAVERSAL), None
        if kind == URL:
            size = args[1].size
            return Range(1, size.high if size else 1).scaled(TRAVERSAL), None
    return _compared(args), None


def _differs(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return _compared(args), None


def _ordered(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    texts = overload.params[0] in _TEXTS
    return (_compared(args) if texts else ONE), None


def _added(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    kind = overload.params[0]
    if kind not in _TEXTS and kind.name != "list":
        return ONE, None
    size = args[0].size_or_any.plus(args[1].size_or_any)
    return (size.scaled(TRAVERSAL) if kind in _TEXTS else ONE), size


def _is_in(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return (args[1].size_or_any if overload.params[1].name == "list" else ONE), None


def _contains(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    text, part = (arg.size_or_any.scaled(TRAVERSAL) for arg in args)
    return text.times(part), None


def _starts_with(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return args[1].size_or_any.scaled(TRAVERSAL), None


def _bytes(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    if overload.params[0] != STRING:
        return ONE, None
    size = args[0].size_or_any
    return size.scaled(TRAVERSAL), Range(size.low, min(size.high * 4, UNBOUNDED))


def _string(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    if overload.params[0] != BYTES:
        return ONE, None
    size = args[0].size_or_any
    return size.scaled(TRAVERSAL), Range(size.low // 4, size.high)


def _quote(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    size = args[0].size_or_any
    most = min(size.high * 2 + 2, UNBOUNDED)
    return size.scaled(TRAVERSAL), Range(min(size.low + 2, UNBOUNDED), most)


def _allocated(factor: float, size: Range) -> Outcome:
    return size.scaled(factor).plus(exactly(1 + LIST)), size


def _whole_number(estimate: Estimate, default: int) -> int:
    node = estimate.node
    if isinstance(node, Literal) and type(node.value) is int:
        return max(0, node.value)
    return default


def _slice(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    start = _whole_number(args[1], 0)
    end = _whole_number(args[2], args[0].size_or_any.high)
    # Where the end is before the start, upstream's difference wraps around.
    return _allocated(1, exactly((end - start) % (UNBOUNDED + 1)))


def _lists_range(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return _allocated(1, exactly(_whole_number(args[0], UNBOUNDED)))


def _reverse(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    return _allocated(1, args[0].size_or_any)


def _flatten(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    depth = _whole_number(args[1], UNBOUNDED) if len(args) > 1 else 1
    return _allocated(float(depth), args[0].size_or_any)


def _distinct(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
    size = args[0].size_or_any
    return _allocated(2, size.times(size))


def _sort(overload: Overload, args: Sequence[Estimate]) -> Outcome:
    """Estimate ``sort``, and ``sortBy`` by its list of keys, which is the last argument."""
    size = args[-1].size_or_any
    texts = overload.params[-1].params[0] in _TEXTS
    return _allocated(2 + TRAVERSAL * texts, size.times(size))


def _sets(factor: float) -> _Rule:
    def rule(_overload: Overload, args: Sequence[Estimate]) -> Outcome:
        product = args[0].size_or_any.times(args[1].size_or_any)
        return product.scaled(factor).plus(ONE), None

    return rule


_Rule: TypeAlias = Callable[[Overload, Sequence[Estimate]], Outcome]

_RULES: dict[str, _Rule] = {
    **dict.fromkeys(ORDERINGS, _ordered),
    **dict.fromkeys(
        ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _list_scanned
    ),
    **dict.fromkeys(
        ("url", "lowerAscii", "upperAscii", "substring", "trim"),
        _texts_scanned(TRAVERSAL, keeps_size=True),
    ),
    **dict.fromkeys(
        ("cidr", "isIP", "isCIDR", "quantity", "isQuantity", "semver", "isSemver", "format"),
        _texts_scanned(TRAVERSAL),
    ),
    "ip.isCanonical": _texts_scanned(2 * TRAVERSAL),
    "replace": _replace,
    "split": _split,
    "join": _join,
    "find": _find,
    "findAll": _find,
    "matches": _matches,
    "ip": _ip,
    "containsIP": _inside_network,
    "containsCIDR": _inside_network,
    "validate": _validate,
    "_==_": _equals,
    "_!=_": _differs,
    "_+_": _added,
    "@in": _is_in,
    "contains": _contains,
    "startsWith": _starts_with,
    "endsWith": _starts_with,
    "bytes": _bytes,
    "string": _string,
    "strings.quote": _quote,
    "slice": _slice,
    "lists.range": _lists_range,
    "reverse": _reverse,
    "flatten": _flatten,
    "distinct": _distinct,
    "sort": _sort,
    "@sortBy": _sort,
    "sets.contains": _sets(1),
    "sets.intersects": _sets(1),
    "sets.equivalent": _sets(2),
}
