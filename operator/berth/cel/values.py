# SPDX-License-Identifier: Apache-2.0
"""The values of CEL at run time that Python has no type for, and what kind each value is of.

Everything else is plain Python: bool, int, float, str, bytes, None, tuple for lists and dict for
maps. Types are always compared exactly, since Python takes ``True`` for ``1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from berth.errors import CelRuntimeError

MAX_INT: Final = (1 << 63) - 1
MIN_INT: Final = -(1 << 63)
MAX_UINT: Final = (1 << 64) - 1


class CelAbortError(CelRuntimeError):
    """Ends the evaluation at once; ``&&`` and ``||`` do not absorb it, unlike other errors."""


class Uint(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


@dataclass(slots=True, unsafe_hash=True)
class Optional:
    """A value that may be absent; ``present`` tells whether ``value`` counts.

    Never changed, but not frozen, since loops make many and a frozen one takes three times as long.
    """

    present: bool
    value: Any = None


NONE: Final = Optional(present=False)


@dataclass(frozen=True, slots=True)
class CelType:
    """A type as a value, as ``type(x)`` gives it; parameters do not take part."""

    name: str


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time in whole nanoseconds."""

    nanos: int


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A point in time, in nanoseconds since 1970-01-01T00:00:00Z."""

    nanos: int


class DomainMap(dict[str, dict[str, Any]]):
    """The outer map of attributes or capacity: an unknown domain reads as an empty map.

    Indexing and field selection see the default, ``in``, iteration and size do not. Source:
    ``k8s.io/dynamic-resource-allocation/cel``, the mapper with a default value.
    """

    __slots__ = ()

    def __missing__(self, domain: str) -> dict[str, Any]:
        return EMPTY


EMPTY: Final[dict[str, Any]] = {}

_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    tuple: "list",
    dict: "map",
    DomainMap: "map",
    Optional: "optional_type",
    CelType: "type",
    Duration: "google.protobuf.Duration",
    Timestamp: "google.protobuf.Timestamp",
}


def register_type(cls: type, name: str) -> None:
    """Give the values of a library's class their name in CEL; called at import only."""
    _NAMES[cls] = name


def type_name(value: Any) -> str:
    """Return the name in CEL of the type of ``value``."""
    return _NAMES[type(value)]


def checked_int(value: int) -> int:
    """Return ``value`` if an int of CEL can hold it."""
    if MIN_INT <= value <= MAX_INT:
        return value
    raise CelRuntimeError("integer overflow")


def checked_uint(value: int) -> Uint:
    """Return ``value`` if a uint of CEL can hold it."""
    if 0 <= value <= MAX_UINT:
        return Uint(value)
    raise CelRuntimeError("unsigned integer overflow")


def class_of_name(name: str) -> type | None:
    """Return the class of the values of a type, or ``None`` if that does not say all of it."""
    if name in ("list", "map"):
        return None
    return next((cls for cls, own in _NAMES.items() if own == name), None)
