# SPDX-License-Identifier: Apache-2.0
"""The closures that read ``device`` and take fields and items out of values.

Plain selection on an absent optional stays absent; ``.?`` on something without fields is absent,
too, and not an error. Constant paths into ``device`` are one closure each.

Source: cel-go ``interpreter/attributes.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any, TypeAlias

from berth.cel.library_standard import index as index_value
from berth.cel.library_standard import optional_index
from berth.cel.syntax import Span
from berth.cel.values import EMPTY, NONE, DomainMap, Optional
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

NO_FIELDS = "no such overload: the value has no fields"
NO_LIST_FIELD = "unsupported index type of a list"


def whole_device(device: Any, _frame: Any) -> Any:
    """``device`` itself, as a map of its fields."""
    return device.fields


DEVICE_FIELDS: Mapping[str, Closure] = MappingProxyType(
    {
        "driver": lambda device, _frame: device.driver,
        "attributes": lambda device, _frame: device.attributes,
        "capacity": lambda device, _frame: device.capacity,
        "allowMultipleAllocations": lambda device, _frame: device.allow_multiple,
    }
)
"""The closures of ``device.driver`` and its sisters."""


def whole_domain(field: str, domain: str) -> Closure:
    """``device.attributes["domain"]`` or the same of capacity."""
    get = attrgetter(field)
    return lambda device, _frame: get(device)[domain]


def published(field: str, domain: str, identifier: str, span: Span) -> Closure:
    """``device.attributes["domain"].identifier`` or the same of capacity."""
    missing = f"no such key: {identifier}"
    # Two closures instead of one with a branch: this is the innermost step of every selector.
    if field == "attributes":

        def attribute(device: Any, _frame: Any) -> Any:
            try:
                return device.attributes[domain][identifier]
            except KeyError:
                raise CelRuntimeError(missing, span) from None

        return attribute

    def amount(device: Any, _frame: Any) -> Any:
        try:
            return device.capacity[domain][identifier]
        except KeyError:
            raise CelRuntimeError(missing, span) from None

    return amount


def select(operand: Closure, field: str, span: Span) -> Closure:
    """``operand.field``."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        kind = type(value)
        if kind is DomainMap:
            return value[field]
        if kind is dict:
            if field in value:
                return value[field]
            raise CelRuntimeError(f"no such key: {field}", span)
        if kind is Optional:
            return _optional_field(value, field)
        raise CelRuntimeError(NO_LIST_FIELD if kind is tuple else NO_FIELDS, span)

    return run


def optional_select(operand: Closure, field: str) -> Closure:
    """``operand.?field``."""

    def run(device: Any, frame: Any) -> Any:
        return _optional_field(operand(device, frame), field)

    return run


def has(operand: Closure, field: str, span: Span) -> Closure:
    """``has(operand.field)``."""

    def run(device: Any, frame: Any) -> bool:
        try:
            return _optional_field(operand(device, frame), field).present
        except CelRuntimeError as error:
            if error.span is None:
                error.span = span
            raise

    return run


def index(operand: Closure, key: Closure, optional: bool, span: Span) -> Closure:  # noqa: FBT001 - a field of the node
    """``operand[key]`` or, where ``optional``, ``operand[?key]``."""
    find = optional_index if optional else index_value

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        if type(value) is Optional and not value.present:
            return NONE
        wanted = key(device, frame)
        try:
            return find(value, wanted)
        except CelRuntimeError as error:
            if error.span is None:
                error.span = span
            raise

    return run


def _optional_field(value: Any, field: str) -> Optional:
    if type(value) is Optional:
        if not value.present:
            return NONE
        value = value.value
    if type(value) is DomainMap:
        return Optional(present=True, value=value.get(field, EMPTY))
    if type(value) is dict:
        return Optional(present=True, value=value[field]) if field in value else NONE
    if type(value) is tuple:
        raise CelRuntimeError(NO_LIST_FIELD)
    return NONE
