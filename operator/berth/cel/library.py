# SPDX-License-Identifier: Apache-2.0
"""All functions of the device environment, by name and by way of calling."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

from berth.cel import (
    library_convert,
    library_format,
    library_lists,
    library_network,
    library_optional,
    library_quantity,
    library_regex,
    library_semver,
    library_standard,
    library_strings,
    library_time,
    library_url,
)
from berth.cel.overloads import Overload

_LIBRARIES = (
    library_standard,
    library_convert,
    library_strings,
    library_regex,
    library_lists,
    library_optional,
    library_quantity,
    library_semver,
    library_url,
    library_network,
    library_format,
    library_time,
)

UNSUPPORTED_FUNCTIONS = frozenset(
    # The authorizer library: declared by Kubernetes, of no use in a device selector; and one
    # named format.
    (
        "allowed",
        "authorizer",
        "check",
        "datetime",
        "errored",
        "group",
        "path",
        "reason",
        "resource",
        "serviceAccount",
    )
)


@functools.cache
def overloads() -> Mapping[tuple[str, bool], tuple[Overload, ...]]:
    """Return the overloads by ``(function, is it called as a member)``."""
    table: dict[tuple[str, bool], tuple[Overload, ...]] = {}
    for library in _LIBRARIES:
        for overload in library.OVERLOADS:
            key = (overload.function, overload.member)
            table[key] = (*table.get(key, ()), overload)
    return MappingProxyType(table)
