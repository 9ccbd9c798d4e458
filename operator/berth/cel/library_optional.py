# SPDX-License-Identifier: Apache-2.0
"""Optional values: ``optional.of`` and what can be asked of them.

``or`` and ``orValue`` evaluate their argument only when it is needed; the compiler sees to that,
and the bodies here are for their types.

Source: cel-go ``cel/library.go`` (OptionalTypes).
"""

from __future__ import annotations

from typing import Any

from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, A, optional_of
from berth.cel.values import NONE, Duration, Optional
from berth.errors import CelRuntimeError


def _of(value: Any) -> Optional:
    return Optional(present=True, value=value)


def _of_non_zero(value: Any) -> Optional:
    zero = value is None or (type(value) is Duration and value.nanos == 0)
    if zero or (isinstance(value, bool | int | float | str | bytes | tuple | dict) and not value):
        return NONE
    return _of(value)


def _value(optional: Optional) -> Any:
    if not optional.present:
        raise CelRuntimeError("optional.none() dereference")
    return optional.value


def _or(optional: Optional, other: Optional) -> Optional:
    return optional if optional.present else other


def _or_value(optional: Optional, other: Any) -> Any:
    return optional.value if optional.present else other


OVERLOADS: tuple[Overload, ...] = (
    function("optional.of", (A,), optional_of(A), _of),
    function("optional.ofNonZeroValue", (A,), optional_of(A), _of_non_zero),
    function("optional.none", (), optional_of(A), lambda: NONE),
    member("hasValue", (optional_of(A),), BOOL, lambda optional: optional.present),
    member("value", (optional_of(A),), A, _value),
    member("or", (optional_of(A), optional_of(A)), optional_of(A), _or),
    member("orValue", (optional_of(A), A), A, _or_value),
)
