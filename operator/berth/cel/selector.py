# SPDX-License-Identifier: Apache-2.0
"""Compiled expressions and their cache: what the rest of Berth uses of this package.

Source: ``k8s.io/dynamic-resource-allocation/cel`` (stored-expression environment).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from berth.cel.analyse import Projection, analyse
from berth.cel.check import Checked, check
from berth.cel.compile import Closure, Compiler
from berth.cel.device import CelDevice
from berth.cel.parse import parse
from berth.cel.types import BOOL, is_dyn
from berth.cel.values import CelAbortError
from berth.errors import CelRuntimeError, InvalidSelectorError

_CACHED = 512

T = TypeVar("T")


class Program:
    """A compiled expression of any result type; immutable."""

    __slots__ = ("_closure", "_slots", "checked", "expression", "projection")

    def __init__(self, expression: str, checked: Checked, closure: Closure, slots: int) -> None:
        self.expression = expression
        self.checked = checked
        self.projection: Projection = analyse(checked.root)
        self._closure = closure
        self._slots = slots

    def evaluate(self, device: CelDevice) -> Any:
        """Return the value of the expression on ``device``.

        Raises:
            CelRuntimeError: If the evaluation fails.
        """
        return self.charged(device)[0]

    def charged(self, device: CelDevice) -> tuple[Any, int]:
        """Return the value of the expression on ``device``, and what its macros were charged.

        The charge is a lower bound of upstream's cost, see ``berth.cel.cost``.

        Raises:
            CelRuntimeError: If the evaluation fails.
        """
        if device.problem:
            raise CelRuntimeError(device.problem)
        frame = [0] * self._slots
        try:
            return self._closure(device, frame), frame[0]
        except RecursionError:
            raise CelAbortError("the expression is nested too deeply") from None


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
            value = self._closure(device, [0] * self._slots if self._slots > 1 else None)
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
        checked, closure, slots = _compiled(expression)
    except InvalidSelectorError as error:
        return error.with_traceback(None)
    kind = checked.types[checked.root]
    if kind != BOOL and not is_dyn(kind):
        return InvalidSelectorError(
            expression, f"the result must be a bool but is of type `{kind}`", checked.root.span
        )
    return Selector(expression, checked, closure, slots)


@functools.lru_cache(maxsize=_CACHED)
def _program(expression: str) -> Program | InvalidSelectorError:
    try:
        return Program(expression, *_compiled(expression))
    except InvalidSelectorError as error:
        return error.with_traceback(None)


def _again(error: InvalidSelectorError) -> InvalidSelectorError:
    """Return a new error like ``error``, so that tracebacks do not pile up on the kept one."""
    return InvalidSelectorError(
        error.expression, error.detail, error.span, unsupported=error.unsupported
    )


def _compiled(expression: str) -> tuple[Checked, Closure, int]:
    checked = check(expression, parse(expression))
    compiler = Compiler(checked)
    return checked, compiler.visit(checked.root), compiler.slots
