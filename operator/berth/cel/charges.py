# SPDX-License-Identifier: Apache-2.0
"""What a call has cost, from the values of its arguments and its result.

An argument or result that failed is the error; it has the size of a value without one, which is 1.

Source: cel-go ``interpreter/runtimecost.go``, ``ext/lists.go``, ``ext/sets.go``;
``k8s.io/apiserver/pkg/cel/library/cost.go`` (CallCost).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from berth.cel.cost_units import CONSTANT_COST_FUNCTIONS, LIMIT, LIST, ORDERINGS, PATTERN, TRAVERSAL
from berth.cel.equality import Opaque
from berth.cel.library_format import FormatValue
from berth.cel.library_network import CidrValue, IpValue
from berth.cel.overloads import Overload
from berth.cel.types import BYTES, CIDR, STRING
from berth.cel.values import DomainMap, Optional, Uint

Charge: TypeAlias = Callable[[Sequence[Any], Any], int]
"""Takes the arguments, the target first, and the result."""

_SIZED = frozenset((str, bytes, tuple, dict, DomainMap))
_TEXTS = (STRING, BYTES)
_NUMBERS = frozenset((bool, int, Uint, float))
_BITS_IN_BYTE = 8


def charge_of(function: str, candidates: tuple[Overload, ...]) -> Charge:
    """Return the rule for calls of ``function``.

    Upstream knows the overload only where the checker left one candidate; otherwise a rule that
    belongs to an overload does not count, and the call costs one unit.
    """
    if function in CONSTANT_COST_FUNCTIONS:
        return one
    if function in _BY_FUNCTION:
        return _BY_FUNCTION[function]
    chosen = candidates[0] if len(candidates) == 1 else None
    if function in ("ip", "containsIP", "containsCIDR"):
        return _network(function, chosen)
    if chosen is None:
        return one
    return _of_overload(function, chosen)


def _of_overload(function: str, overload: Overload) -> Charge:
    kind = overload.params[0] if overload.params else None
    if function in ORDERINGS:
        return _compared if kind in _TEXTS else one
    if function == "_+_":
        return _joined if kind in _TEXTS else one
    if function == "@in":
        return _members if overload.params[1].name == "list" else one
    if function == "matches":
        return _pattern if overload.member else one
    if function in ("bytes", "string"):
        converted = kind == (STRING if function == "bytes" else BYTES)
        return _traversed if converted else one
    return _BY_OVERLOAD.get(function, one)


def size(value: Any) -> int:
    """Return the size of a value as upstream's meter sees it."""
    if type(value) is Optional:
        return size(value.value) if value.present else 1
    return _plain_size(value)


def _plain_size(value: Any) -> int:
    if type(value) in _SIZED:
        return len(value)
    if isinstance(value, IpValue):
        return value.address.max_prefixlen // _BITS_IN_BYTE
    if isinstance(value, CidrValue):
        return math.ceil(value.length / _BITS_IN_BYTE)
    return 1


def one(_args: Sequence[Any], _result: Any) -> int:
    """Return what most calls cost."""
    return 1


def _scaled(number: float, factor: float = TRAVERSAL) -> int:
    return math.ceil(number * factor)


def _traversed(args: Sequence[Any], _result: Any) -> int:
    return _scaled(_plain_size(args[0]))


def _traversed_twice(args: Sequence[Any], _result: Any) -> int:
    return _scaled(float(_plain_size(args[0])) * 2)


def _result_twice(_args: Sequence[Any], result: Any) -> int:
    return _scaled(float(_plain_size(result)) * 2)


def _pattern(args: Sequence[Any], _result: Any) -> int:
    return _scaled(1 + _plain_size(args[0])) * _scaled(_plain_size(args[1]), PATTERN)


def _format_checked(args: Sequence[Any], _result: Any) -> int:
    if type(args[0]) is not FormatValue:
        return 1
    return _scaled(1 + _plain_size(args[1])) * _scaled(_pattern_size(args[0].name), PATTERN)


def _pattern_size(name: str) -> int:
    return _PATTERN_SIZES[name]


_PATTERN_SIZES = {
    # Sizes that Kubernetes declares for its formats, or the lengths of the patterns it names.
    "dns1123Label": 30,
    "dns1123Subdomain": 60,
    "dns1035Label": 30,
    "dns1123LabelPrefix": 30,
    "dns1123SubdomainPrefix": 60,
    "dns1035LabelPrefix": 30,
    "qualifiedName": 60,
    "labelValue": 40,
    "uri": 2083,
    "uuid": 70,
    "byte": 100,
    "date": 70,
}


def _elements(args: Sequence[Any], _result: Any) -> int:
    return _data_size(args[0])


def _data_size(value: Any) -> int:
    """Return what going through all of a value costs; texts count less here than elsewhere."""
    total, steps, pending = 0, 0, [value]
    while pending:
        item = pending.pop()
        steps += 1
        if steps > LIMIT:
            # A value that contains itself many times over, say.
            return LIMIT + 1
        if isinstance(item, str):
            total += int(len(item.encode()) * TRAVERSAL)
        elif isinstance(item, bytes):
            total += int(len(item) * TRAVERSAL)
        elif type(item) is tuple:
            if _NUMBERS.issuperset(map(type, item)):
                total += len(item)
            else:
                pending.extend(item)
        elif isinstance(item, dict):
            pending.extend(item.keys())
            pending.extend(item.values())
        else:
            total += 1
    return total


def _network(function: str, chosen: Overload | None) -> Charge:
    if function == "ip":
        of_network = chosen is not None and chosen.params[0] == CIDR
        return one if of_network else _traversed
    from_text = chosen is not None and chosen.params[1] == STRING
    network_too = function == "containsCIDR"

    def charge(args: Sequence[Any], _result: Any) -> int:
        prefix = _plain_size(args[0])
        cost = _scaled(prefix + prefix)
        if network_too:
            cost += _scaled(prefix) + 1
        return cost + _scaled(_plain_size(args[1])) if from_text else cost

    return charge


def _equal(args: Sequence[Any], result: Any) -> int:
    return 1 if isinstance(args[0], Opaque) else _compared(args, result)


def _compared(args: Sequence[Any], _result: Any) -> int:
    return _scaled(min(size(args[0]), size(args[1])))


def _joined(args: Sequence[Any], _result: Any) -> int:
    return _scaled(size(args[0]) + size(args[1]))


def _members(args: Sequence[Any], _result: Any) -> int:
    return size(args[1])


def _contains(args: Sequence[Any], _result: Any) -> int:
    return _scaled(size(args[0])) * _scaled(size(args[1]))


def _allocated(factor: float, count: int) -> int:
    return int(count * factor) + 1 + LIST


def _result_built(_args: Sequence[Any], result: Any) -> int:
    return _allocated(1, _plain_size(result))


def _flattened(args: Sequence[Any], _result: Any) -> int:
    depth = args[1] if len(args) > 1 and type(args[1]) is int else 1
    return max(0, _allocated(float(depth), _plain_size(args[0])))


def _each_with_each(args: Sequence[Any], _result: Any) -> int:
    """The last argument is the list itself or, for ``sortBy``, that of its keys."""
    items = args[-1]
    count = _plain_size(items)
    texts = type(items) is tuple and bool(items) and isinstance(items[0], str | bytes)
    return _allocated(2 + TRAVERSAL * texts, count * count)


def _sets(factor: int) -> Charge:
    return lambda args, _result: 1 + _plain_size(args[0]) * _plain_size(args[1]) * factor


_BY_FUNCTION: dict[str, Charge] = {
    "_==_": _equal,
    "_!=_": _compared,
    **dict.fromkeys(
        ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf", "includes"), _elements
    ),
    **dict.fromkeys(
        (
            "cidr",
            "isCIDR",
            "isIP",
            "isQuantity",
            "isSemver",
            "lowerAscii",
            "quantity",
            "semver",
            "substring",
            "trim",
            "upperAscii",
            "url",
        ),
        _traversed,
    ),
    **dict.fromkeys(("ip.isCanonical", "replace", "split"), _traversed_twice),
    "join": _result_twice,
    "find": _pattern,
    "findAll": _pattern,
    "validate": _format_checked,
}

_BY_OVERLOAD: dict[str, Charge] = {
    **dict.fromkeys(("startsWith", "endsWith", "format", "strings.quote"), _traversed),
    "contains": _contains,
    **dict.fromkeys(("slice", "lists.range", "reverse"), _result_built),
    "flatten": _flattened,
    **dict.fromkeys(("distinct", "sort", "@sortBy"), _each_with_each),
    "sets.contains": _sets(1),
    "sets.intersects": _sets(1),
    "sets.equivalent": _sets(2),
}
