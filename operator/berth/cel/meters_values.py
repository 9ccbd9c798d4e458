# SPDX-License-Identifier: Apache-2.0
"""The closures of operators, literals and bound names, where what they cost is counted.

They do what those of ``berth.cel.closures`` do, with errors as values. Most of it is free
upstream, and so counts as free steps.

Source: cel-go ``interpreter/interpretable.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from berth.cel.closures import Lazy
from berth.cel.equality import put_key
from berth.cel.meters import caught, more, spend
from berth.cel.syntax import Span
from berth.cel.values import NONE, CelAbortError, Optional
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

_NOT_BOOL = "no such overload: the operand is no bool"
_BUILT = 2
"""As a power of two: constants that are put into a list or map in the time of one step."""
_NOT_OPTIONAL = "no such overload: the value is not optional"


def lazy_local(slot: int) -> Closure:
    """Read a bound value, evaluating it at the first time."""

    def read(device: Any, frame: Any) -> Any:
        lazy = frame[slot]
        if not lazy.done:
            lazy.done = True
            lazy.value = lazy.closure(device, frame)
        return lazy.value

    return read


def bind(slot: int, value: Closure, body: Closure) -> Closure:
    """``cel.bind``: give a value a name."""

    def run(device: Any, frame: Any) -> Any:
        frame[1] += 1
        frame[slot] = Lazy(value)
        return body(device, frame)

    return run


def logic(
    terms: Sequence[Closure], free: Sequence[bool], *, conjunction: bool, span: Span
) -> Closure:
    """A chain of ``&&`` or ``||``; ``free`` tells of each term whether it is a constant."""
    chain = tuple(zip(terms, map(int, free), strict=True))
    deciding = not conjunction
    no_bool = CelRuntimeError(_NOT_BOOL, span)

    def run(device: Any, frame: Any) -> Any:
        failure: CelRuntimeError | None = None
        for term, steps in chain:
            frame[1] += steps
            value = term(device, frame)
            if value is deciding:
                return deciding
            if value is not conjunction and failure is None:
                failure = value if type(value) is CelRuntimeError else no_bool
        return conjunction if failure is None else failure

    return run


def conditional(test: Closure, then: Closure, otherwise: Closure, span: Span) -> Closure:
    """``test ? then : otherwise``."""
    no_bool = CelRuntimeError(_NOT_BOOL, span)

    def run(device: Any, frame: Any) -> Any:
        decision = test(device, frame)
        if decision is True:
            return then(device, frame)
        if decision is False:
            return otherwise(device, frame)
        return decision if type(decision) is CelRuntimeError else no_bool

    return run


def counted(closure: Closure) -> Closure:
    """Count what may be free."""

    def run(device: Any, frame: Any) -> Any:
        frame[1] += 1
        return closure(device, frame)

    return run


def fallback(target: Closure, other: Closure, *, keep: bool, span: Span) -> Closure:
    """``or`` (``keep`` it optional) and ``orValue``; ``other`` is evaluated only when needed."""
    failure = CelRuntimeError(_NOT_OPTIONAL, span)

    def run(device: Any, frame: Any) -> Any:
        optional = target(device, frame)
        if type(optional) is not Optional:
            return optional if type(optional) is CelRuntimeError else failure
        if optional.present:
            return optional if keep else optional.value
        value = other(device, frame)
        if keep and type(value) is not Optional and type(value) is not CelRuntimeError:
            return failure
        return value

    return run


def applied(operation: Closure, operand: Closure, span: Span) -> Closure:
    """Apply what takes a value in the place of the device and costs nothing."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        if type(value) is CelRuntimeError:
            return value
        try:
            return operation(value, frame)
        except CelRuntimeError as error:
            return caught(error, frame, span)

    return run


def indispensable(closure: Closure, span: Span) -> Closure:
    """Turn an error of ``closure`` into one that nothing absorbs."""

    def run(device: Any, frame: Any) -> Any:
        value = closure(device, frame)
        if type(value) is CelRuntimeError:
            raise CelAbortError(f"internal error: {value.detail}", value.span or span)
        return value

    return run


def list_of(items: Sequence[Closure], optional: frozenset[int], span: Span) -> Closure:
    """A list literal, without what it costs to build it."""
    closures = tuple(items)
    free = len(closures) >> _BUILT

    def run(device: Any, frame: Any) -> Any:
        frame[1] += free
        values = []
        for position, item in enumerate(closures):
            value = item(device, frame)
            if type(value) is CelRuntimeError:
                return value
            if position in optional:
                if type(value) is not Optional:
                    return CelRuntimeError("the value of an optional item is not optional", span)
                if not value.present:
                    continue
                value = value.value
            values.append(value)
        return tuple(values)

    return run


def map_of(
    keys: Sequence[Closure], values: Sequence[Closure], optional: frozenset[int], span: Span
) -> Closure:
    """A map literal, without what it costs to build it; of equal keys the last one counts."""
    entries = tuple(zip(keys, values, strict=True))
    free = len(entries) >> _BUILT

    def run(device: Any, frame: Any) -> Any:
        frame[1] += free
        result: dict[Any, Any] = {}
        for position, (key_closure, value_closure) in enumerate(entries):
            key = key_closure(device, frame)
            if type(key) is CelRuntimeError:
                return key
            value = value_closure(device, frame)
            if type(value) is CelRuntimeError:
                return value
            if position in optional:
                if type(value) is not Optional:
                    return CelRuntimeError("the value of an optional entry is not optional", span)
                if not value.present:
                    continue
                value = value.value
            try:
                put_key(result, key, value)
            except CelRuntimeError as error:
                return caught(error, frame, span)
        return result

    return run


def opt_map(target: Closure, slot: int, body: Closure, *, flat: bool, span: Span) -> Closure:
    """``optMap`` and ``optFlatMap``."""
    no_optional = CelRuntimeError(_NOT_OPTIONAL, span)

    def again(device: Any, frame: Any) -> Any:
        optional = target(device, frame)
        if type(optional) is CelRuntimeError:
            return optional
        spend(frame, 1, span)
        return optional.value

    def run(device: Any, frame: Any) -> Any:
        optional = target(device, frame)
        spend(frame, 1, span)
        if type(optional) is not Optional:
            return optional if type(optional) is CelRuntimeError else no_optional
        if not optional.present:
            spend(frame, 1, span)
            return NONE
        # Upstream evaluates the target anew when its value is first read.
        frame[slot] = Lazy(again)
        if flat:
            return body(device, frame)
        value = within(device, frame)
        if type(value) is CelRuntimeError:
            return value
        return Optional(present=True, value=value)

    within = more(body, 1, span)
    return run
