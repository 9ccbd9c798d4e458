# SPDX-License-Identifier: Apache-2.0
"""Compiled expressions and their cache: what the rest of Berth uses of this package.

Source: ``k8s.io/dynamic-resource-allocation/cel`` (stored-expression environment).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from berth.cel.analyse import Projection, analyse
from berth.cel.check import Checked, check
from berth.cel.compile import Closure, Compiler
from berth.cel.cost import worst_case
from berth.cel.cost_units import LIMIT
from berth.cel.device import CelDevice
from berth.cel.free_steps import need_counting
from berth.cel.metered import MeteredCompiler
from berth.cel.parse import parse
from berth.cel.types import BOOL, is_dyn
from berth.cel.values import CelAbortError
from berth.errors import CelRuntimeError, InvalidSelectorError

_CACHED = 512

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Measured:
    """One metered evaluation: its value or its error, and what it cost in upstream's units."""

    value: Any
    error: CelRuntimeError | None
    cost: int


class Program:
    """A compiled expression of any result type; immutable.

    ``max_cost`` is the worst-case estimate, which the API server compares with its limit when an
    expression is written; an expression that is stored runs until its actual cost reaches that.
    ``metered`` tells whether its steps are counted, which an estimate well below makes needless.
    """

    __slots__ = (
        "_closure",
        "_slots",
        "checked",
        "expression",
        "max_cost",
        "metered",
        "projection",
    )

    def __init__(self, expression: str, checked: Checked) -> None:
        self.expression = expression
        self.checked = checked
        self.projection: Projection = analyse(checked.root)
        self.max_cost, ranges = worst_case(checked)
        # An estimate is no strict bound, but it is never far below; so is no meter needed here.
        self.metered = self.max_cost > LIMIT // 2 or need_counting(checked, ranges)
        compiler = self.compiler()
        self._closure: Closure = compiler.compile()
        self._slots = compiler.slots

    def compiler(self) -> Compiler:
        """Return a compiler for parts of the expression, of the kind that the whole needs."""
        return MeteredCompiler(self.checked) if self.metered else Compiler(self.checked)

    def evaluate(self, device: CelDevice) -> Any:
        """Return the value of the expression on ``device``.

        Raises:
            CelRuntimeError: If the evaluation fails.
        """
        if device.problem:
            raise CelRuntimeError(device.problem)
        try:
            return self._closure(device, [0] * self._slots)
        except RecursionError:
            raise CelAbortError("the expression is nested too deeply") from None

    def measure(self, device: CelDevice) -> Measured:
        """Evaluate on ``device`` with every step counted; compiles anew, so not for the engine."""
        if device.problem:
            return Measured(None, CelRuntimeError(device.problem), 0)
        compiler = MeteredCompiler(self.checked)
        frame = [0]
        try:
            closure = compiler.compile()
            frame.extend([0] * compiler.slots)
            return Measured(closure(device, frame), None, frame[0])
        except CelRuntimeError as error:
            return Measured(None, error, frame[0])
        except RecursionError:
            failure = CelAbortError("the expression is nested too deeply")
            return Measured(None, failure, frame[0])


class Selector(Program):
    """A compiled expression whose value is a bool."""

    __slots__ = ()

    def matches(self, device: CelDevice) -> bool:
        """Tell whether the selector selects ``device``.

        Raises:
            CelRuntimeError: If the evaluation fails, or its result is no bool.
        """
        if device.problem:
            raise CelRuntimeError(device.problem)
        try:
            value = self._closure(device, [0] * self._slots)
        except RecursionError:
            raise CelAbortError("the expression is nested too deeply") from None
        if value is True or value is False:
            return value
        raise CelRuntimeError("the result of the expression is no bool", self.checked.root.span)


def compile_selector(expression: str) -> Selector:
    """Compile an expression that must give a bool; kept by its text.

    Raises:
        InvalidSelectorError: If it does not compile, or uses what Berth does not support.
    """
    outcome = _guarded(_selector, expression)
    if isinstance(outcome, Selector):
        return outcome
    raise _again(outcome)


def compile_program(expression: str) -> Program:
    """Compile an expression of any result type; kept by its text.

    Raises:
        InvalidSelectorError: If it does not compile, or uses what Berth does not support.
    """
    outcome = _guarded(_program, expression)
    if isinstance(outcome, Program):
        return outcome
    raise _again(outcome)


def _guarded(compiler: Callable[[str], T], expression: str) -> T:
    # Outside of the cache, since it depends on how deep the caller is itself.
    try:
        return compiler(expression)
    except RecursionError:
        raise InvalidSelectorError(expression, "the expression is nested too deeply") from None


@functools.lru_cache(maxsize=_CACHED)
def _selector(expression: str) -> Selector | InvalidSelectorError:
    # Failures are kept, too: a claim with a bad selector is tried again and again.
    try:
        checked = check(expression, parse(expression))
        selector = Selector(expression, checked)
    except InvalidSelectorError as error:
        return error.with_traceback(None)
    kind = checked.types[checked.root]
    if kind != BOOL and not is_dyn(kind):
        return InvalidSelectorError(
            expression, f"the result must be a bool but is of type `{kind}`", checked.root.span
        )
    return selector


@functools.lru_cache(maxsize=_CACHED)
def _program(expression: str) -> Program | InvalidSelectorError:
    try:
        return Program(expression, check(expression, parse(expression)))
    except InvalidSelectorError as error:
        return error.with_traceback(None)


def _again(error: InvalidSelectorError) -> InvalidSelectorError:
    """Return a new error like ``error``, so that tracebacks do not pile up on the kept one."""
    return InvalidSelectorError(
        error.expression, error.detail, error.span, unsupported=error.unsupported
    )
