# SPDX-License-Identifier: Apache-2.0
"""Equality, membership and ordering of CEL values, with upstream's peculiarities.

Types that differ are unequal, numbers compare across their types, and values of the Kubernetes
libraries fail when they stand on the left of something else.

Source: cel-go ``common/types``; ``Equal`` of the types in ``k8s.io/apiserver/pkg/cel``.
"""

from __future__ import annotations

from typing import Any

from berth.cel.values import EMPTY, DomainMap, Optional, Uint
from berth.errors import CelRuntimeError

SIMPLE = frozenset((bool, int, Uint, float, str, bytes))
"""Classes whose values equal others of their class just as in Python."""
_NUMBERS = frozenset((int, Uint, float))
_BOOLS = (0, 1)
_MAPS = frozenset((dict, DomainMap))


class Opaque:
    """Base of the values of Kubernetes libraries: equality with any other type is an error."""

    __slots__ = ()

    def same(self, other: Any) -> bool:
        """Tell whether ``other``, which has the same class, is equal."""
        raise NotImplementedError

    def accepts(self, other: Any) -> bool:
        """Tell whether ``other`` can be compared when this value stands on the left."""
        return type(other) is type(self)


def equal(left: Any, right: Any) -> bool:
    """Tell whether two values are equal, as ``==`` does.

    Raises:
        CelRuntimeError: If the type of ``left`` knows no comparison with that of ``right``.
    """
    kind, other = type(left), type(right)
    if kind is other and kind in SIMPLE:
        return bool(left == right)
    if left is None or right is None:
        return left is right
    if kind in _NUMBERS:
        return other in _NUMBERS and _equal_numbers(left, right)
    if kind is tuple:
        return other is tuple and _equal_lists(left, right)
    if kind in _MAPS:
        return other in _MAPS and _equal_maps(left, right)
    if kind is Optional:
        return other is Optional and _equal_optionals(left, right)
    if isinstance(left, Opaque):
        if not left.accepts(right):
            raise CelRuntimeError("no such overload: `==`")
        return left.same(right)
    return kind is other and bool(left == right)


def surely_equal(left: Any, right: Any) -> bool:
    """Tell whether ``equal`` gives true; an error counts as no."""
    try:
        return equal(left, right)
    except CelRuntimeError:
        return False


def contains(items: tuple[Any, ...], value: Any) -> bool:
    """Tell whether ``value`` is in ``items``; comparisons that fail count as unequal."""
    if type(value) is str:
        # Only a string equals a string, and Python compares those the same way.
        return value in items
    kind = type(value)
    if kind not in SIMPLE:
        return any(surely_equal(value, item) for item in items)
    for item in items:  # noqa: SIM110 - a generator would be twice as slow
        if item == value if type(item) is kind else surely_equal(value, item):
            return True
    return False


def find_key(mapping: dict[Any, Any], key: Any) -> tuple[bool, Any]:
    """Look up ``key`` as indexing does; numbers that are equal are one key."""
    kind = type(key)
    if kind is str:
        if type(mapping) is DomainMap:
            return True, mapping[key]
        return (True, mapping[key]) if key in mapping else (False, None)
    if type(mapping) is DomainMap:
        return True, EMPTY
    if (kind is not bool and kind not in _NUMBERS) or key not in mapping:
        return False, None
    # To Python, true and 1 are one key, and so are false and 0.
    if key in _BOOLS and (type(_stored(mapping, key)) is bool) is not (kind is bool):
        return False, None
    return True, mapping[key]


def put_key(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    """Add an entry to a map that is being built; bool keys and number keys stay apart.

    Raises:
        CelRuntimeError: If a value of this type cannot be a key.
    """
    if type(key) not in (str, bool, int, Uint):
        raise CelRuntimeError("unsupported key type")
    known = key in mapping and type(key) is not str
    if known and type(_stored(mapping, key)) is not type(key):
        raise CelRuntimeError("a map with keys of different types that are equal to each other")
    mapping[key] = value


class _Probe:
    """Equals the keys that ``key`` equals, and keeps the last one that it has been asked about."""

    __slots__ = ("found", "key")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.found: Any = None

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        self.found = other
        return bool(self.key == other)


def _stored(mapping: dict[Any, Any], key: Any) -> Any:
    """Return the key of ``mapping`` that Python takes for ``key``, without going through all."""
    probe = _Probe(key)
    if probe not in mapping:
        raise AssertionError(f"the map has no key {key!r}")
    return probe.found


def _equal_numbers(left: Any, right: Any) -> bool:
    if type(left) is float or type(right) is float:
        # cel-go converts to double first, so large integers lose their last digits.
        return float(left) == float(right)
    return int(left) == int(right)


def _equal_lists(left: tuple[Any, ...], right: tuple[Any, ...]) -> bool:
    if len(left) != len(right):
        return False
    for first, second in zip(left, right, strict=True):
        kind = type(first)
        if kind is type(second) and kind in SIMPLE:
            if first != second:
                return False
        elif _surely_unequal(first, second):
            return False
    return True


def _equal_maps(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        found, other = find_key(right, key)
        if not found or _surely_unequal(value, other):
            return False
    return True


def _equal_optionals(left: Optional, right: Optional) -> bool:
    if left.present is not right.present:
        return False
    return not left.present or equal(left.value, right.value)


def _surely_unequal(left: Any, right: Any) -> bool:
    """Tell whether a comparison is false; inside containers upstream ignores errors."""
    try:
        return not equal(left, right)
    except CelRuntimeError:
        return False
