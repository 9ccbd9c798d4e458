# SPDX-License-Identifier: Apache-2.0
"""The closures of paths that count what they cost, and what all closures that count share.

Here an error is a value, of the class ``CelRuntimeError``: to raise and catch one in each step of
a loop would take longer than all the rest. Only ``CelAbortError`` is raised. The frame has the
cost at index 0 and the steps that are free at index 1. A part that fails is charged as upstream
charges it, and fails all the same.

Source: cel-go ``interpreter/runtimecost.go``, ``interpretable.go`` and ``attributes.go``.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, TypeAlias

from berth.cel.closures_access import NO_FIELDS, NO_LIST_FIELD
from berth.cel.cost_units import LIMIT
from berth.cel.equality import find_key
from berth.cel.library_standard import index as index_value
from berth.cel.library_standard import optional_index, shown
from berth.cel.syntax import Span
from berth.cel.values import EMPTY, NONE, CelAbortError, DomainMap, Optional
from berth.cel.work import RAISED
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

_STEPS = 3
TOO_EXPENSIVE: Final = "actual cost limit exceeded"


def given(value: Any, _frame: Any) -> Any:
    """Return what a step is applied to, which stands in the place of the device."""
    return value


def spend(frame: Any, amount: int, span: Span) -> None:
    """Add to the cost of the evaluation.

    Raises:
        CelAbortError: If it is above the limit now.
    """
    frame[0] += amount
    if frame[0] > LIMIT:
        raise CelAbortError(TOO_EXPENSIVE, span)


def raising(closure: Closure) -> Closure:
    """Raise what ``closure`` returns, if that is an error."""

    def run(device: Any, frame: Any) -> Any:
        value = closure(device, frame)
        if type(value) is CelRuntimeError:
            # A new one, since the closures keep some of their errors for the next evaluation.
            raise CelRuntimeError(value.detail, value.span)
        return value

    return run


def caught(error: CelRuntimeError, frame: Any, span: Span) -> CelRuntimeError:
    """Return an error that was raised as a value, with its place; an abort goes on.

    Raises:
        CelAbortError: If ``error`` is one.
    """
    if error.span is None:
        error.span = span
    if type(error) is CelAbortError:
        raise error
    # To raise and catch takes longer than what is charged for it.
    frame[1] += RAISED
    # Else the error, its traceback and the frame of the caller would hold each other.
    error.__traceback__ = None
    return error


def settled(value: Any, amount: int, closure: Closure) -> Closure:
    """Return what ``closure`` has given before, at the cost that it had."""

    def run(device: Any, frame: Any) -> Any:
        cost = frame[0] + amount
        if cost > LIMIT or not amount:
            # Again step by step, to stop where upstream stops.
            frame[1] += 1
            return closure(device, frame) if amount else value
        frame[0] = cost
        return value

    return run


def more(closure: Closure, amount: int, span: Span) -> Closure:
    """Charge ``amount`` after ``closure``, whether it fails or not."""

    def run(device: Any, frame: Any) -> Any:
        value = closure(device, frame)
        frame[0] += amount
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        return value

    return run


def paid_local(slot: int, span: Span) -> Closure:
    """Read the variable of a macro, which costs one unit."""

    def run(_device: Any, frame: Any) -> Any:
        frame[0] += 1
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        return frame[slot]

    return run


def select(operand: Closure, field: str, *, optional: bool, span: Span) -> Closure:
    """One field of a path; behind an optional step only what is there is charged."""
    missing = CelRuntimeError(f"no such key: {field}", span)

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        kind = type(value)
        if kind is CelRuntimeError:
            return value
        if optional or kind is Optional:
            found = optional_field(value, field, span)
            if type(found) is Optional and found.present:
                spend(frame, 1, span)
            return found
        frame[0] += 1
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        if kind is dict:
            return value.get(field, missing)
        if kind is DomainMap:
            return value[field]
        return CelRuntimeError(NO_LIST_FIELD if kind is tuple else NO_FIELDS, span)

    return run


def optional_field(value: Any, field: str, span: Span) -> Optional | CelRuntimeError:
    """Return what ``value.?field`` is."""
    if type(value) is Optional:
        if not value.present:
            return NONE
        value = value.value
    if type(value) is DomainMap:
        return Optional(present=True, value=value.get(field, EMPTY))
    if type(value) is dict:
        return Optional(present=True, value=value[field]) if field in value else NONE
    return CelRuntimeError(NO_LIST_FIELD, span) if type(value) is tuple else NONE


def published(field: str, domain: str, identifier: str, span: Span) -> Closure:
    """``device.attributes["domain"].identifier``: three steps at once."""
    missing = CelRuntimeError(f"no such key: {identifier}", span)
    get = attrgetter(field)

    def run(device: Any, frame: Any) -> Any:
        frame[0] += _STEPS
        if frame[0] > LIMIT:
            # Upstream stops at the first unit beyond the limit.
            frame[0] = LIMIT + 1
            raise CelAbortError(TOO_EXPENSIVE, span)
        return get(device)[domain].get(identifier, missing)

    return run


def index(operand: Closure, key: Closure, *, optional: bool, span: Span) -> Closure:
    """One index of a path."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        kind = type(value)
        if kind is CelRuntimeError or (kind is Optional and not value.present):
            return value if kind is CelRuntimeError else NONE
        wanted = key(device, frame)
        lenient = optional or kind is Optional
        if not lenient:
            frame[0] += 1
            if frame[0] > LIMIT:
                raise CelAbortError(TOO_EXPENSIVE, span)
        if type(wanted) is CelRuntimeError:
            return wanted
        if isinstance(value, dict) and not optional:
            found, item = find_key(value, wanted)
            return item if found else CelRuntimeError(f"no such key: {shown(wanted)}", span)
        try:
            if not lenient:
                return index_value(value, wanted)
            item = optional_index(value, wanted)
        except CelRuntimeError as error:
            return caught(error, frame, span)
        if item.present:
            spend(frame, 1, span)
        return item

    return run


def presence(operand: Closure, field: str, span: Span) -> Closure:
    """``has(operand.field)``."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        kind = type(value)
        if kind is CelRuntimeError:
            return value
        if kind is dict or kind is DomainMap:
            present = kind is DomainMap or field in value
        elif kind is Optional and not value.present:
            return False
        else:
            found = optional_field(value, field, span)
            if type(found) is not Optional:
                return found
            present = found.present
        if present or kind is not Optional:
            frame[0] += 1
            if frame[0] > LIMIT:
                raise CelAbortError(TOO_EXPENSIVE, span)
        return present

    return run
