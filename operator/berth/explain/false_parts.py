# SPDX-License-Identifier: Apache-2.0
"""Finds which part of a selector is false on a device, and the values that made it so.

Decides how far an expression is taken apart: down to what ``&&`` and ``||`` join and ``?:``
chooses. Evaluates with ``berth.cel`` only, each part on its own; what a part that fails would say
is left out.

Source: CEL's logical operators, which are commutative in errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from berth.cel import CelDevice, CelRuntimeError, compile_program, compile_selector
from berth.cel.format_text import quote
from berth.cel.library_semver import Semver
from berth.cel.quantities import CelQuantity
from berth.cel.syntax import (
    Bind,
    Call,
    Conditional,
    Fold,
    Has,
    Index,
    Logic,
    Name,
    Node,
    OptMap,
    Select,
    children,
)
from berth.cel.values import Optional
from berth.errors import InvalidSelectorError
from berth.explain.conflict import FalsePart
from berth.explain.supply import amount_text
from berth.quantity import Quantity

UNWRAPPING = frozenset({"orValue", "value"})
"""Functions that give what an optional value has: their result is what was read."""


def false_parts(expression: str, device: CelDevice) -> tuple[FalsePart, ...]:
    """Return the smallest parts of the selector that are false on ``device``, in order.

    Any one of the parts that ``&&`` joins is enough for the selector to be false; of those that
    ``||`` joins all are. Empty where the selector is not false.
    """
    try:
        root = compile_selector(expression).checked.root
    except InvalidSelectorError:
        return ()
    return tuple(_parts(_Parts(expression, device), root))


class _Parts:
    """The text of an expression, and the device on which parts of it are evaluated."""

    def __init__(self, expression: str, device: CelDevice) -> None:
        self._expression = expression
        self._device = device

    def span(self, node: Node) -> tuple[int, int]:
        """Return the place of a node, with the brackets that close behind it."""
        start, end = node.span
        text = self._expression
        while (
            text.count("(", start, end) > text.count(")", start, end) and text[end : end + 1] == ")"
        ):
            end += 1
        return start, end

    def text(self, node: Node) -> str:
        """Return what is written for a node."""
        start, end = self.span(node)
        return self._expression[start:end]

    def value(self, node: Node) -> Any:
        """Return the value of a node, ``None`` where it fails or cannot stand alone."""
        try:
            return compile_program(self.text(node)).evaluate(self._device)
        except (CelRuntimeError, InvalidSelectorError):
            return None


def _parts(parts: _Parts, node: Node) -> Iterator[FalsePart]:
    if parts.value(node) is not False:
        return
    match node:
        case Logic(_, _, terms):
            for term in terms:
                yield from _parts(parts, term)
        case Conditional(_, test, then, otherwise):
            chosen = then if parts.value(test) is True else otherwise
            yield from _parts(parts, chosen)
        case _:
            # Once each, though an expression may read a thing twice.
            values = dict(_values(parts, node))
            told = tuple((of, (is_,)) for of, is_ in values.items())
            yield FalsePart(parts.span(node), parts.text(node), told)


def _values(parts: _Parts, node: Node) -> Iterator[tuple[str, str]]:
    """Yield what a part read of the device, in order: attributes, capacity, the driver."""
    for read in _reads(node):
        if isinstance(read, Has):
            # ``has(x.y)`` tells of ``x.y``, which may not stand for itself, whether it is there.
            there = "present" if parts.value(read) is True else "absent"
            yield parts.text(read).removeprefix("has(").removesuffix(")").strip(), there
            continue
        text = _shown(parts.value(read))
        if text:
            yield parts.text(read), text


def _reads(node: Node) -> Iterator[Node]:
    """Yield the largest parts that stand for one thing of the device, optional values unwrapped."""
    match node:
        case Bind() | OptMap():
            # What is read there has a local name, and cannot stand alone.
            return
        case Has() if _reads_device(node):
            yield node
        case Call(_, function, _, _) if function in UNWRAPPING and _reads_device(node):
            yield node
        case Select() | Index() if _reads_device(node):
            yield node
        case Fold(_, _, _, source):
            yield from _reads(source)
        case _:
            for child in children(node):
                yield from _reads(child)


def _reads_device(node: Node) -> bool:
    if isinstance(node, Name):
        return node.name == "device"
    return any(_reads_device(child) for child in children(node))


def _shown(value: Any) -> str:
    """Return a value as CEL writes it; empty for what is too large or of no use to show."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, CelQuantity):
        return amount_text(Quantity(value.nanos))
    if isinstance(value, Semver):
        # Its pre-release is kept in a form for comparing only.
        released = value.key == (value.major, value.minor, value.patch, True, ())
        return f"{value.major}.{value.minor}.{value.patch}" if released else ""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, Optional):
        return _shown(value.value) if value.present else "absent"
    if isinstance(value, tuple):
        items = [_shown(item) for item in value]
        return f"[{', '.join(items)}]" if all(items) else ""
    return ""
