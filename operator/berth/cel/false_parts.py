# SPDX-License-Identifier: Apache-2.0
"""Why a selector is not true on a device: which part is false, or how it would not fail.

Decides which part of an expression to blame and what that part read; explains nothing in words.
Of a conjunction the false terms are blamed, of an alternative all its terms, and everything else
as a whole, be it a comparison, a negation or a macro.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from berth.cel import closures as c
from berth.cel.analyse import Place, Scope, place
from berth.cel.cost_units import LIMIT
from berth.cel.device import CelDevice
from berth.cel.parse import parse
from berth.cel.selector import Selector, compile_selector
from berth.cel.syntax import (
    Bind,
    Call,
    Conditional,
    Fold,
    Has,
    Index,
    Literal,
    Logic,
    Name,
    Node,
    OptMap,
    Select,
    Span,
    children,
)
from berth.cel.value_text import value_text
from berth.cel.values import CelAbortError
from berth.cel.work import MOST
from berth.errors import CelRuntimeError, InvalidSelectorError

_SPENT, _TAKEN = LIMIT * 3 // 4, MOST * 3 // 4
"""What an evaluation may not use again where its steps are counted."""

_PLAIN_FIELDS = (("driver",), ("allowMultipleAllocations",))


@dataclass(frozen=True, slots=True)
class FalsePart:
    """A part of a selector that is false on a device.

    ``values`` has what it read, as the expression names it, with the value of the device as CEL
    writes it, ``absent`` where the device has none.
    """

    span: Span
    text: str
    values: tuple[tuple[str, str], ...]


def explain_false(selector: Selector, device: CelDevice) -> tuple[FalsePart, ...]:
    """Return the parts that make the selector false, or nothing if it is not false.

    For a selector that takes too long to evaluate it once more, that is the whole of it.
    """
    search = _Search(selector, device)
    root = selector.checked.root
    try:
        value = search.value(root)
        if value is not False and type(value) is not CelAbortError:
            return ()
        parts = tuple(search.false(root)) if value is False else ()
    except RecursionError:
        # The selector is nested nearly too deeply to be evaluated at all.
        parts = ()
    return parts or (FalsePart(root.span, selector.expression, ()),)


def guard_for(error: CelRuntimeError, selector: Selector) -> str | None:
    """Return a condition to put before the selector with ``&&``, so that it would not fail.

    Only for what a device does not publish, and only if the condition has been seen to help on a
    device that publishes nothing.
    """
    found = _guarded_place(error.span, selector.checked.root, {})
    if found is None:
        return None
    field, domain, identifier = found
    inner = f"device.{field}[{value_text(domain)}]"
    plain = identifier.isidentifier() and identifier.isascii()
    guard = f"has({inner}.{identifier})" if plain else f"{value_text(identifier)} in {inner}"
    bare = CelDevice.build(domain, {}, {}, allow_multiple_allocations=False)
    try:
        cured = compile_selector(f"{guard} && ({selector.expression})").matches(bare) is False
    except (CelRuntimeError, InvalidSelectorError):
        return None
    return guard if cured else None


class _Search:
    """Evaluates parts of one selector on one device, with the names that are bound around them."""

    def __init__(self, selector: Selector, device: CelDevice) -> None:
        self.compiler = selector.compiler()
        self.text = selector.expression
        self.device = device
        # Nobody waits for the parts of what took long already: then it is blamed as a whole.
        self.frame: list[Any] = [_SPENT, _TAKEN] if selector.metered else []
        self.places: Scope = {}

    def value(self, node: Node) -> Any:
        """Return the value of ``node``, or its error; steps of all evaluations add up."""
        closure = self.compiler.visit(node)
        self.frame.extend([0] * (self.compiler.slots - len(self.frame)))
        try:
            return closure(self.device, self.frame)
        except CelRuntimeError as error:
            return error

    def false(self, node: Node) -> list[FalsePart]:
        """Return what makes ``node`` false, which it is."""
        match node:
            case Logic(conjunction=True):
                terms = [term for term in node.terms if self.value(term) is False]
                return [part for term in terms for part in self.false(term)]
            case Logic():
                return [part for term in node.terms for part in self.false(term)]
            case Conditional():
                return self._false_branch(node)
            case Bind():
                return self._false_body(node)
            case _:
                return [self._whole(node)]

    def _false_branch(self, node: Conditional) -> list[FalsePart]:
        holds = self.value(node.test)
        branch = node.then if holds is True else node.otherwise
        if not isinstance(branch, Literal):
            return self.false(branch)
        return self.false(node.test) if holds is False else [self._whole(node)]

    def _false_body(self, node: Bind) -> list[FalsePart]:
        compiler = self.compiler
        closure = compiler.visit(node.value)
        slot = compiler.slots
        compiler.slots += 1
        self.frame.extend([0] * (compiler.slots - len(self.frame)))
        self.frame[slot] = c.Lazy(closure)
        scope, places = compiler.scope, self.places
        compiler.scope = {**scope, node.name: (slot, True)}
        self.places = {**places, node.name: place(node.value, places)}
        parts = self.false(node.body)
        compiler.scope, self.places = scope, places
        return parts

    def _whole(self, node: Node) -> FalsePart:
        values: dict[str, str] = {}
        self._read(node, self.places, values)
        start, end = node.span
        while self.text[start] == "(" and _stands_alone(self.text[start + 1 : end - 1]):
            start, end = start + 1, end - 1
        return FalsePart((start, end), self.text[start:end], tuple(values.items()))

    def _written(self, node: Node) -> str:
        return self.text[node.span[0] : node.span[1]]

    def _read(self, node: Node, places: Scope, values: dict[str, str]) -> None:
        asked, default = _with_default(node)
        where = place(asked, places)
        if isinstance(asked, Has) and where is not None:
            # That it is absent is all that there is to say, and the text says that already.
            return
        if where is not None and (len(where) == 3 or where in _PLAIN_FIELDS):
            shown = self._written(node if isinstance(default, Literal) else asked)
            if not shown.startswith("device"):
                shown = _canonical(where)
            values[shown] = self._published(where, default)
            if default is not None:
                self._read(default, places, values)
            return
        for child, inner in _inside(node, places):
            self._read(child, inner, values)

    def _published(self, where: Place, default: Node | None) -> str:
        if where == ("driver",):
            return value_text(self.device.driver)
        if len(where) < 3:
            return value_text(self.device.allow_multiple)
        field, domain, identifier = where
        maps = self.device.attributes if field == "attributes" else self.device.capacity
        published = maps[domain]
        if identifier in published:
            return value_text(published[identifier])
        return value_text(default.value) if isinstance(default, Literal) else "absent"


def _stands_alone(text: str) -> bool:
    """Tell whether the parentheses around ``text`` belong together."""
    try:
        parse(text)
    except InvalidSelectorError:
        return False
    return True


def _with_default(node: Node) -> tuple[Node, Node | None]:
    """Return what ``node`` reads and, if it is ``x.orValue(y)``, the ``y``."""
    if isinstance(node, Call) and node.function == "orValue" and node.target is not None:
        return node.target, node.args[0]
    return node, None


def _inside(node: Node, places: Scope) -> list[tuple[Node, Scope]]:
    """Return the parts of a node, each with what the names in it stand for."""
    match node:
        case Bind():
            inner = {**places, node.name: place(node.value, places)}
            value = [] if inner[node.name] is not None else [(node.value, places)]
            return [*value, (node.body, inner)]
        case Fold():
            inner = {**places, **dict.fromkeys(node.variables)}
            return [(node.source, places), *((part, inner) for part in node.parts)]
        case OptMap():
            return [(node.target, places), (node.body, {**places, node.name: None})]
        case _:
            return [(child, places) for child in children(node)]


def _canonical(where: Place) -> str:
    if len(where) != 3:
        return f"device.{where[0]}"
    field, domain, identifier = where
    plain = identifier.isidentifier() and identifier.isascii()
    step = f".{identifier}" if plain else f"[{value_text(identifier)}]"
    return f"device.{field}[{value_text(domain)}]{step}"


def _guarded_place(span: Span | None, root: Node, places: Scope) -> tuple[str, str, str] | None:
    """Return what the part at ``span`` reads of a device, if it is one published value."""
    pending: list[tuple[Node, Scope]] = [(root, places)]
    while pending:
        node, scope = pending.pop()
        if node.span == span and isinstance(node, Select | Index | Name):
            where = place(node, scope)
            if where is not None and len(where) == 3:
                return (where[0], where[1], where[2])
        pending.extend(_inside(node, scope))
    return None
