# SPDX-License-Identifier: Apache-2.0
"""All functions of the device environment, by name and by way of calling."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

from berth.cel import (
    library_convert,
    library_lists,
    library_optional,
    library_quantity,
    library_regex,
    library_semver,
    library_standard,
    library_strings,
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
)

UNSUPPORTED_FUNCTIONS = frozenset(
    # Libraries that Kubernetes has and Berth does not: authorizer, url, ip, cidr, format, time.
    "allowed authorizer check cidr containsCIDR containsIP dns1123Label dns1123LabelPrefix"
    " dns1123Subdomain dns1123SubdomainPrefix duration errored family getDate getDayOfMonth"
    " getDayOfWeek getDayOfYear getEscapedPath getFullYear getHost getHostname getHours"
    " getMilliseconds getMinutes getMonth getPort getQuery getScheme getSeconds group ip"
    " isCanonical isCIDR isGlobalUnicast isIP isLinkLocalMulticast isLinkLocalUnicast isLoopback"
    " isURL isUnspecified labelValue masked named path prefixLength qualifiedName reason"
    " resource serviceAccount timestamp url uuid validate".split()
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
