# SPDX-License-Identifier: Apache-2.0
"""The closures of calls that count what they cost.

Source: cel-go ``interpreter/interpretable.go`` (evalUnary, evalBinary, evalVarArgs) and
``interpreter/runtimecost.go``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from berth.cel.charges import Charge, one, size
from berth.cel.closures import by_both, by_first
from berth.cel.cost_units import LIMIT, TRAVERSAL
from berth.cel.equality import SIMPLE, equal, surely_equal
from berth.cel.meters import TOO_EXPENSIVE, caught, more, spend
from berth.cel.overloads import Body, Overload
from berth.cel.syntax import Span
from berth.cel.values import CelAbortError
from berth.cel.work import NESTED, QUICK, SLOW, SLOWER, WEIGHTS, weigh
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]
Operation: TypeAlias = Callable[[Sequence[Any], Any], Any]
"""Takes the arguments and the frame; returns the result or its error."""

_SIZED = (str, bytes)
_LONG = frozenset(
    (
        *("sets.contains", "sets.intersects", "sets.equivalent", "distinct", "sort"),
        *("matches", "find", "findAll", "contains", "replace", "split"),
    )
)
"""Functions that may take long, and whose cost follows from their arguments alone."""


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
    if name == "dyn":
        return more(parts[0], 1, span)
    if name in ("_==_", "_!=_"):
        return _equality(parts[0], parts[1], charge, negated=name == "_!=_", span=span)
    operation = _operation(name, candidates, span)
    if candidates[0].function in _LONG:
        operation = _affordable(operation, charge, span)
    plain = candidates[0].function in QUICK - _LONG and candidates[0].function not in WEIGHTS
    if len(parts) == 1 and charge is one and plain:
        body = candidates[0].body
        find = by_first(candidates).get
        always = len(candidates) == 1 and candidates[0].params[0].is_variable
        return _plain_one(parts[0], (lambda _: body) if always else find, operation, span)
    if len(parts) == 1:
        return _one(parts[0], operation, charge, span)
    if both and charge is one and plain:
        return _plain_two(parts[0], parts[1], by_both(candidates), operation, span)
    if both:
        return _two(parts[0], parts[1], operation, charge, span)
    return _many(parts, operation, charge, span)


def _one(part: Closure, operation: Operation, charge: Charge, span: Span) -> Closure:

    def run(device: Any, frame: Any) -> Any:
        value = result = part(device, frame)
        if type(value) is not CelRuntimeError:
            result = operation((value,), frame)
        amount = charge((value,), result)
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


def _plain_one(
    part: Closure, find: Callable[[type], Body | None], operation: Operation, span: Span
) -> Closure:
    """One argument at one unit."""

    def run(device: Any, frame: Any) -> Any:
        value = part(device, frame)
        kind = type(value)
        if kind is CelRuntimeError:
            result = value
        elif (body := find(kind)) is not None:
            try:
                result = body(value)
            except CelRuntimeError as error:
                result = caught(error, frame, span)
        else:
            result = operation((value,), frame)
        frame[0] += 1
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
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
                result = caught(error, frame, span)
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
        amount = charge(args, result)
        if not amount:
            frame[1] += 1
        spend(frame, amount, span)
        return result

    return run


def _equality(
    left: Closure, right: Closure, charge: Charge, *, negated: bool, span: Span
) -> Closure:
    """``==`` and ``!=``; the latter takes an error of the comparison as unequal."""

    def compared(first: Any, second: Any, frame: Any) -> Any:
        if type(first) is CelRuntimeError or type(second) is CelRuntimeError:
            return first if type(first) is CelRuntimeError else second
        if isinstance(first, NESTED) and isinstance(second, NESTED):
            weigh(first, frame, span)
        if negated:
            return not surely_equal(first, second)
        try:
            return equal(first, second)
        except CelRuntimeError as error:
            return caught(error, frame, span)

    def run(device: Any, frame: Any) -> Any:
        first, second = left(device, frame), right(device, frame)
        kind, other = type(first), type(second)
        if kind in SIMPLE and other in SIMPLE:
            amount = 1
            if kind in _SIZED or other in _SIZED:
                amount = math.ceil(min(size(first), size(second)) * TRAVERSAL)
            same = first == second if kind is other else equal(first, second)
            result = same is not negated
        else:
            result = compared(first, second, frame)
            amount = charge((first, second), result)
        if not amount:
            frame[1] += 1
        frame[0] += amount
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        return result

    return run


def _affordable(operation: Operation, charge: Charge, span: Span) -> Operation:
    """Stop before a call that would take long, and whose cost is beyond the limit."""

    def run(args: Sequence[Any], frame: Any) -> Any:
        amount = charge(args, None)
        if frame[0] + amount > LIMIT:
            spend(frame, amount, span)
        return operation(args, frame)

    return run


def _operation(name: str, candidates: tuple[Overload, ...], span: Span) -> Operation:
    """Choose the overload by the types of the values, and call it."""
    chosen: dict[tuple[type, ...], Body] = {}
    params = [kind for overload in candidates for kind in overload.params]
    # Else it depends on the items whether a list or map is taken.
    by_class = all(inner.is_variable for kind in params for inner in kind.params)
    missing = CelRuntimeError(f"no such overload: `{name}`", span)
    weight = WEIGHTS.get(candidates[0].function)
    function = candidates[0].function
    slow = 0 if function in QUICK else SLOW * 4 if function in SLOWER else SLOW

    def find(args: Sequence[Any]) -> Body | None:
        classes = tuple(map(type, args))
        body = chosen.get(classes)
        if body is None:
            given = tuple(args)
            body = next((each.body for each in candidates if each.accepts(given)), None)
            if by_class and body is not None:
                chosen[classes] = body
        return body

    def run(args: Sequence[Any], frame: Any) -> Any:
        body = find(args)
        if body is None:
            return missing
        frame[1] += slow
        if weight is not None:
            weight(args, frame, span)
        try:
            return body(*args)
        except CelRuntimeError as error:
            return caught(error, frame, span)

    return run
