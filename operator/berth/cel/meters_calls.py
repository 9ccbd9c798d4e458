# SPDX-License-Identifier: Apache-2.0
"""The closures of calls that count what they cost.

Source: cel-go ``interpreter/interpretable.go`` (evalUnary, evalBinary, evalVarArgs) and
``interpreter/runtimecost.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from berth.cel.charges import Charge, one
from berth.cel.closures import by_both, by_first
from berth.cel.cost_units import LIMIT
from berth.cel.equality import SIMPLE, equal, surely_equal
from berth.cel.meters import TOO_EXPENSIVE, caught, spend
from berth.cel.overloads import Body, Overload
from berth.cel.syntax import Span
from berth.cel.values import CelAbortError
from berth.cel.work import NESTED, WEIGHTS, weigh
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]
Operation: TypeAlias = Callable[[Sequence[Any], Any], Any]
"""Takes the arguments and the frame; returns the result or its error."""


def call(  # noqa: PLR0913 - the parts of one node
    name: str,
    candidates: tuple[Overload, ...],
    parts: Sequence[Closure],
    charge: Charge,
    *,
    both: bool,
    span: Span,
) -> Closure:
    """A call; ``both`` tells that the second argument is evaluated even if the first fails."""
    if name in ("_==_", "_!=_"):
        return _two(parts[0], parts[1], _equality(name == "_!=_", span), charge, span)
    operation = _operation(name, candidates, len(parts), span)
    if len(parts) == 1:
        return _one(parts[0], operation, charge, span)
    if both and charge is one and name not in WEIGHTS:
        return _plain_two(parts[0], parts[1], by_both(candidates), operation, span)
    if both:
        return _two(parts[0], parts[1], operation, charge, span)
    return _many(parts, operation, charge, span)


def _one(part: Closure, operation: Operation, charge: Charge, span: Span) -> Closure:
    constant = charge is one

    def run(device: Any, frame: Any) -> Any:
        value = result = part(device, frame)
        if type(value) is not CelRuntimeError:
            result = operation((value,), frame)
        amount = 1 if constant else charge((value,), result)
        frame[0] += amount
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        if not amount:
            frame[1] += 1
        return result

    return run


def _two(
    left: Closure, right: Closure, operation: Operation, charge: Charge, span: Span
) -> Closure:
    constant = charge is one

    def run(device: Any, frame: Any) -> Any:
        args = (left(device, frame), right(device, frame))
        if type(args[0]) is CelRuntimeError:
            result = args[0]
        elif type(args[1]) is CelRuntimeError:
            result = args[1]
        else:
            result = operation(args, frame)
        amount = 1 if constant else charge(args, result)
        frame[0] += amount
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        if not amount:
            frame[1] += 1
        return result

    return run


def _plain_two(
    left: Closure,
    right: Closure,
    table: Mapping[type, tuple[type, Body]],
    operation: Operation,
    span: Span,
) -> Closure:
    """Two arguments at one unit: what the innermost loops consist of."""

    def run(device: Any, frame: Any) -> Any:
        first, second = left(device, frame), right(device, frame)
        kind = type(first)
        if kind in table and table[kind][0] is type(second):
            try:
                result = table[kind][1](first, second)
            except CelRuntimeError as error:
                result = caught(error, span)
        elif kind is CelRuntimeError:
            result = first
        elif type(second) is CelRuntimeError:
            result = second
        else:
            result = operation((first, second), frame)
        frame[0] += 1
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        return result

    return run


def _many(parts: Sequence[Closure], operation: Operation, charge: Charge, span: Span) -> Closure:
    closures = tuple(parts)

    def run(device: Any, frame: Any) -> Any:
        args: list[Any] = []
        for part in closures:
            if args and type(args[-1]) is CelRuntimeError:
                # The call itself is never made, and so costs nothing.
                return args[-1]
            args.append(part(device, frame))
        failed = bool(args) and type(args[-1]) is CelRuntimeError
        result = args[-1] if failed else operation(args, frame)
        frame[1] += 1
        spend(frame, charge(args, result), span)
        return result

    return run


def _equality(negated: bool, span: Span) -> Operation:  # noqa: FBT001 - which operator
    def run(args: Sequence[Any], frame: Any) -> Any:
        left, right = args
        if type(left) is type(right) and type(left) in SIMPLE:
            return (left == right) is not negated
        if isinstance(left, NESTED) and isinstance(right, NESTED):
            weigh(left, frame, span)
        if negated:
            return not surely_equal(left, right)
        try:
            return equal(left, right)
        except CelRuntimeError as error:
            return caught(error, span)

    return run


def _operation(name: str, candidates: tuple[Overload, ...], count: int, span: Span) -> Operation:
    """Choose the overload by the types of the values, and call it."""
    table = by_both(candidates) if count == 2 else {}
    single = by_first(candidates) if count == 1 else {}
    missing = CelRuntimeError(f"no such overload: `{name}`", span)
    weight = WEIGHTS.get(candidates[0].function)

    def find(args: Sequence[Any]) -> Body | None:
        kind = type(args[0]) if args else None
        if count == 2 and kind in table and table[kind][0] is type(args[1]):
            return table[kind][1]
        if count == 1 and kind in single:
            return single[kind]
        given = tuple(args)
        return next((each.body for each in candidates if each.accepts(given)), None)

    def run(args: Sequence[Any], frame: Any) -> Any:
        body = find(args)
        if body is None:
            return missing
        if weight is not None:
            weight(args, frame, span)
        try:
            return body(*args)
        except CelRuntimeError as error:
            return caught(error, span)

    return run
