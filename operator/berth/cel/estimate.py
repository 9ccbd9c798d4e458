# SPDX-License-Identifier: Apache-2.0
"""What is known of the value of a node before it is evaluated: its cost, size and origin.

Also the largest sizes that the API allows for what a device publishes.

Source: cel-go ``checker/cost.go`` (astNode, entrySizeEstimate); ``sizeEstimator`` of
``k8s.io/dynamic-resource-allocation/cel``; limits of ``resource.k8s.io/v1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from berth.cel.ranges import ANY, ONE, Range
from berth.cel.syntax import Node
from berth.cel.types import (
    BOOL,
    DOUBLE,
    DURATION,
    INT,
    TIMESTAMP,
    UINT,
    Type,
)

Path: TypeAlias = tuple[str, ...]
"""From a variable through fields, ``@keys``, ``@values`` and ``@items``; empty if unknown."""

_SCALARS = (BOOL, DOUBLE, DURATION, INT, TIMESTAMP, UINT)
_MAX_DRIVER = 63
_MAX_DOMAIN = 63
_MAX_IDENTIFIER = 32
_MAX_ENTRIES = 32
_MAX_VALUE = 64


@dataclass(frozen=True, slots=True)
class Entries:
    """The sizes of keys and values of a list or map; ``is_list`` tells which it is."""

    is_list: bool
    key: Range
    value: Range

    def union(self, other: Entries) -> Entries:
        """Return the sizes that cover both."""
        return Entries(self.is_list, self.key.union(other.key), self.value.union(other.value))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is known of a node; ``size`` and ``entries`` are absent where nothing is known."""

    cost: Range
    type: Type
    node: Node | None = None
    size: Range | None = None
    entries: Entries | None = None
    path: Path = ()

    @property
    def size_or_any(self) -> Range:
        """The size, or the range of all sizes."""
        return ANY if self.size is None else self.size


def size_of(kind: Type, path: Path) -> Range | None:
    """Return the size of what stands at ``path``, or of every value of the type ``kind``."""
    published = published_size(path)
    if published is not None:
        return published
    inside = kind
    while inside.name == "optional_type":
        inside = inside.params[0]
    return ONE if inside in _SCALARS else None


def published_size(path: Path) -> Range | None:
    """Return the largest size that the API allows at ``path``, or ``None`` where it sets none."""
    if not path or path[0] != "device":
        return None
    if len(path) == 1:
        return Range(0, 0)
    field, rest = path[1], path[2:]
    if field in ("driver", "allowMultipleAllocations"):
        most = _MAX_DRIVER if field == "driver" else 1
        return None if rest else Range(0, most)
    if field not in ("attributes", "capacity"):
        return None
    most = _inside_maps(field, rest)
    return None if most < 0 else Range(0, most)


def _inside_maps(field: str, rest: Path) -> int:
    match rest:
        case ():
            return _MAX_ENTRIES
        case ("@keys",):
            return _MAX_DOMAIN
        case ("@values" | "@items",):
            return _MAX_ENTRIES
        case ("@values" | "@items", "@keys"):
            return _MAX_IDENTIFIER
        case ("@values" | "@items", name):
            if field == "attributes":
                return _MAX_VALUE
            return 0 if name in ("@values", "@items") else -1
        case _:
            return -1
