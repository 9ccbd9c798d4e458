# SPDX-License-Identifier: Apache-2.0
"""The closures that count what an evaluation costs, around those that do the work.

A part that fails is charged as upstream charges it, and then fails all the same.

Source: cel-go ``interpreter/runtimecost.go`` and ``interpretable.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from berth.cel.charges import FAILED, Charge
from berth.cel.cost_units import LIMIT
from berth.cel.syntax import Span
from berth.cel.values import NONE, CelAbortError, Optional
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]


TOO_EXPENSIVE: Final = "actual cost limit exceeded"


def spend(frame: Any, amount: int, span: Span) -> None:
    """Add to the cost of the evaluation.

    Raises:
        CelAbortError: If it is above the limit now.
    """
    frame[0] += amount
    if frame[0] > LIMIT:
        raise CelAbortError(TOO_EXPENSIVE, span)


def given(value: Any, _frame: Any) -> Any:
    """Return what a step is applied to, which stands in the place of the device."""
    return value


def argument(position: int) -> Closure:
    """Return one of the arguments that stand in the place of the device."""
    return lambda args, _frame: args[position]


def more(closure: Closure, amount: int, span: Span) -> Closure:
    """Charge ``amount`` after ``closure``, whether it fails or not."""

    def run(device: Any, frame: Any) -> Any:
        try:
            value = closure(device, frame)
        except CelRuntimeError as error:
            if type(error) is not CelAbortError:
                spend(frame, amount, span)
            raise
        frame[0] += amount
        if frame[0] > LIMIT:
            raise CelAbortError(TOO_EXPENSIVE, span)
        return value

    return run


def step(operand: Closure, apply: Closure, *, optional: bool, span: Span) -> Closure:
    """One field of a path; behind an optional step only what is there is charged."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        if type(value) is Optional and not value.present:
            return NONE
        return _step(apply, value, frame, optional or type(value) is Optional, span)

    return run


def index(operand: Closure, key: Closure, apply: Closure, *, optional: bool, span: Span) -> Closure:
    """One index of a path; ``apply`` takes the pair of container and key."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        if type(value) is Optional and not value.present:
            return NONE
        lenient = optional or type(value) is Optional
        try:
            wanted = key(device, frame)
        except CelRuntimeError as error:
            if type(error) is not CelAbortError and not lenient:
                spend(frame, 1, span)
            raise
        return _step(apply, (value, wanted), frame, lenient, span)

    return run


def _step(apply: Closure, value: Any, frame: Any, lenient: bool, span: Span) -> Any:  # noqa: FBT001 - which of the two ways
    if lenient:
        result = apply(value, frame)
        if result.present:
            spend(frame, 1, span)
        return result
    try:
        result = apply(value, frame)
    except CelRuntimeError:
        spend(frame, 1, span)
        raise
    spend(frame, 1, span)
    return result


def presence(operand: Closure, test: Closure, span: Span) -> Closure:
    """``has(operand.field)``."""

    def run(device: Any, frame: Any) -> Any:
        value = operand(device, frame)
        lenient = type(value) is Optional
        if lenient and not value.present:
            return False
        present = test(value, frame)
        if present or not lenient:
            spend(frame, 1, span)
        return present

    return run


def call(
    operation: Closure, parts: Sequence[Closure], charge: Charge, *, both: bool, span: Span
) -> Closure:
    """A call; ``both`` tells that the second argument is evaluated even if the first fails."""
    closures = tuple(parts)

    def run(device: Any, frame: Any) -> Any:
        args: list[Any] = []
        failure: CelRuntimeError | None = None
        for part in closures:
            try:
                args.append(part(device, frame))
            except CelRuntimeError as error:
                if type(error) is CelAbortError:
                    raise
                args.append(FAILED)
                failure = failure or error
                if not both:
                    break
        result: Any = FAILED
        if failure is None:
            try:
                result = operation(args, frame)
            except CelRuntimeError as error:
                if type(error) is CelAbortError:
                    raise
                failure = error
        if len(args) == len(closures):
            spend(frame, charge(args, result), span)
        if failure is not None:
            raise failure
        return result

    return run


class _Target:
    """The value of an optional, which upstream evaluates anew when it is first read."""

    __slots__ = ("closure", "done", "failure", "value")

    def __init__(self, closure: Closure) -> None:
        self.closure = closure
        self.done = False
        self.value: Any = None
        self.failure: CelRuntimeError | None = None


def opt_map(target: Closure, slot: int, body: Closure, *, flat: bool, span: Span) -> Closure:
    """``optMap`` and ``optFlatMap``."""

    def again(device: Any, frame: Any) -> Any:
        value = target(device, frame).value
        spend(frame, 1, span)
        return value

    def run(device: Any, frame: Any) -> Any:
        try:
            optional = target(device, frame)
        except CelRuntimeError as error:
            if type(error) is not CelAbortError:
                spend(frame, 1, span)
            raise
        spend(frame, 1, span)
        if type(optional) is not Optional:
            raise CelRuntimeError("no such overload: the value is not optional", span)
        if not optional.present:
            spend(frame, 1, span)
            return NONE
        frame[slot] = _Target(again)
        if flat:
            return body(device, frame)
        return Optional(present=True, value=within(device, frame))

    within = more(body, 1, span)
    return run
