# SPDX-License-Identifier: Apache-2.0
"""The static types of CEL and their assignability, with substitution of type parameters.

Source: cel-go ``checker/types.go`` and ``checker/mapping.go``; the rules are order-dependent and
kept in upstream's order on purpose.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Type:
    """A type by name with its parameters; names starting with ``%`` are type variables."""

    name: str
    params: tuple[Type, ...] = ()

    @property
    def is_variable(self) -> bool:
        """Whether this stands for a type that is still to be found."""
        return self.name[0] == "%"

    def __str__(self) -> str:
        return self.text(_SHOWN_LEVELS)

    def text(self, levels: int) -> str:
        """Return the type as CEL writes it, with parameters down to a number of levels."""
        if not self.params:
            return self.name
        inner = [param.text(levels - 1) for param in self.params] if levels else ["…"]
        return f"{self.name}({', '.join(inner)})"


_SHOWN_LEVELS: Final = 4
DYN: Final = Type("dyn")
ERROR: Final = Type("error")
NULL: Final = Type("null_type")
BOOL: Final = Type("bool")
INT: Final = Type("int")
UINT: Final = Type("uint")
DOUBLE: Final = Type("double")
STRING: Final = Type("string")
BYTES: Final = Type("bytes")
DURATION: Final = Type("google.protobuf.Duration")
TIMESTAMP: Final = Type("google.protobuf.Timestamp")
DEVICE: Final = Type("DRADevice")
QUANTITY: Final = Type("kubernetes.Quantity")
SEMVER: Final = Type("kubernetes.Semver")
URL: Final = Type("kubernetes.URL")
IP: Final = Type("net.IP")
CIDR: Final = Type("net.CIDR")
FORMAT: Final = Type("kubernetes.NamedFormat")
# Parameters in the declaration of an overload; each call gets fresh variables for them.
A: Final = Type("%A")
B: Final = Type("%B")

_OPAQUE = frozenset(t.name for t in (QUANTITY, SEMVER, URL, IP, CIDR, FORMAT)) | {"optional_type"}
_NULLABLE = _OPAQUE | {NULL.name, DURATION.name, TIMESTAMP.name, DEVICE.name}
_EXACT = frozenset(
    t.name for t in (BOOL, INT, UINT, DOUBLE, STRING, BYTES, DURATION, TIMESTAMP, DEVICE)
)
_WITH_PARAMS = _OPAQUE | {"list", "map", "type"}

Mapping: TypeAlias = dict[str, Type]
"""What each type variable stands for."""


def list_of(item: Type) -> Type:
    """Return the type of a list of ``item``."""
    return Type("list", (item,))


def map_of(key: Type, value: Type) -> Type:
    """Return the type of a map from ``key`` to ``value``."""
    return Type("map", (key, value))


def optional_of(value: Type) -> Type:
    """Return the type of an optional ``value``."""
    return Type("optional_type", (value,))


def type_of(value: Type) -> Type:
    """Return the type of a type used as a value."""
    return Type("type", (value,))


def is_dyn(kind: Type) -> bool:
    """Tell whether nothing is known of a type, be it on purpose or after an error."""
    return kind.name in ("dyn", "error")


def substitute(mapping: Mapping, kind: Type, *, free_to_dyn: bool = False) -> Type:
    """Return ``kind`` with its variables replaced by what ``mapping`` knows of them."""
    seen: set[str] = set()
    while kind.is_variable and kind.name in mapping and kind.name not in seen:
        seen.add(kind.name)
        kind = mapping[kind.name]
    if kind.is_variable:
        return DYN if free_to_dyn else kind
    if not kind.params:
        return kind
    # Plain loops here and below: a generator would be one more level of recursion.
    params: list[Type] = []
    for param in kind.params:
        params.append(substitute(mapping, param, free_to_dyn=free_to_dyn))  # noqa: PERF401
    same = all(map(operator.is_, params, kind.params))
    return kind if same else Type(kind.name, tuple(params))


def most_general(first: Type, second: Type) -> Type:
    """Return the one of two compatible types that says less."""
    return first if _at_most_as_specific(first, second) else second


def assign(mapping: Mapping, first: Type, second: Type) -> bool:
    """Tell whether the two types agree, noting in ``mapping`` what variables must stand for."""
    if second.is_variable:
        fits, known = _substitute_variable(mapping, first, second)
        if fits or known:
            return fits
    if first.is_variable:
        return _substitute_variable(mapping, second, first)[0]
    if is_dyn(first) or is_dyn(second):
        return True
    if first.name == NULL.name:
        return second.name in _NULLABLE
    if second.name == NULL.name:
        return first.name in _NULLABLE
    if first.name in _EXACT:
        return first == second
    if first.name == "type":
        return second.name == "type"
    if first.name != second.name or len(first.params) != len(second.params):
        return False
    return assign_all(mapping, first.params, second.params)


def assign_all(mapping: Mapping, firsts: tuple[Type, ...], seconds: tuple[Type, ...]) -> bool:
    """Tell whether the types agree pair by pair."""
    if len(firsts) != len(seconds):
        return False
    for first, second in zip(firsts, seconds, strict=True):
        if not assign(mapping, first, second):
            return False
    return True


def _substitute_variable(mapping: Mapping, kind: Type, variable: Type) -> tuple[bool, bool]:
    """Return whether ``variable`` can stand for ``kind``, and whether it was known before."""
    if kind == variable:
        return True, True
    known = mapping.get(variable.name)
    if known is not None:
        if kind == known:
            return True, True
        if assign(mapping, kind, known):
            general = most_general(kind, known)
            if _is_free_of(mapping, variable, general):
                mapping[variable.name] = general
            return True, True
        return False, True
    if _is_free_of(mapping, variable, kind):
        mapping[variable.name] = kind
        return True, False
    return False, False


def _is_free_of(mapping: Mapping, variable: Type, kind: Type) -> bool:
    if kind == variable:
        return False
    if kind.is_variable:
        known = mapping.get(kind.name)
        return known is None or _is_free_of(mapping, variable, known)
    for param in kind.params:  # noqa: SIM110
        if not _is_free_of(mapping, variable, param):
            return False
    return True


def _at_most_as_specific(first: Type, second: Type) -> bool:
    if is_dyn(first) or first.is_variable:
        return True
    if is_dyn(second) or second.is_variable or first.name != second.name:
        return False
    if first.name == "type" or first.name not in _WITH_PARAMS:
        return first.name == "type" or first == second
    for a, b in zip(first.params, second.params, strict=False):
        if not _at_most_as_specific(a, b):
            return False
    return len(first.params) == len(second.params)
