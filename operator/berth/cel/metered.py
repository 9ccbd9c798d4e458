# SPDX-License-Identifier: Apache-2.0
"""The second compiled form of an expression: the same answers, with every step counted.

Used where the estimate does not rule out that the limit is reached. What is counted equals
upstream's number: both sides of an operator are evaluated even if the first fails, a path costs
one unit and one for each step of it, and the loops of macros go on after an error.

Source: cel-go ``interpreter/runtimecost.go``, ``interpretable.go`` and ``attributes.go``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from berth.cel import closures as c
from berth.cel import meters, meters_fold
from berth.cel import meters_calls as calls
from berth.cel import meters_values as values
from berth.cel.charges import charge_of
from berth.cel.check import Checked
from berth.cel.compile import Closure, Compiler
from berth.cel.cost_units import LIST, MAP
from berth.cel.library_regex import REGEX_FUNCTIONS
from berth.cel.parse import MAX_LENGTH
from berth.cel.syntax import (
    Bind,
    Call,
    Conditional,
    Fold,
    Has,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Name,
    Node,
    OptMap,
    Select,
    Span,
)
from berth.errors import CelRuntimeError

_PATHS = (Name, Select, Index)


class MeteredCompiler(Compiler):
    """Compiles one expression so that its frame holds the cost at index 0, free steps at 1."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        self.slots = 2
        self._bare: dict[type, Any] = {
            Name: self._bare_name,
            Select: self._bare_select,
            Index: self._bare_index,
        }

    def compile(self) -> Closure:
        """Return the closure of the expression, which raises its errors.

        Raises:
            InvalidSelectorError: If a constant part cannot be evaluated.
        """
        return meters.raising(self.visit(self.checked.root))

    def _is_path(self, node: Node) -> bool:
        """Tell whether ``node`` is a variable with steps from it, or any value with steps."""
        if not isinstance(node, Name):
            return isinstance(node, _PATHS)
        return node.name in self.scope or node.name == "device"

    def bare(self, node: Node) -> Closure:
        """Return the closure of a path without the unit for the path as a whole."""
        if self._is_path(node):
            closure: Closure = self._bare[type(node)](node)
            return closure
        return self.visit(node)

    def _name(self, node: Name) -> Closure:
        if not self._is_path(node):
            return super()._name(node)
        if node.name in self.scope and not self.scope[node.name][1]:
            return meters.paid_local(self.scope[node.name][0], node.span)
        return meters.more(self._bare_name(node), 1, node.span)

    def _bare_name(self, node: Name) -> Closure:
        if node.name in self.scope and self.scope[node.name][1]:
            return values.lazy_local(self.scope[node.name][0])
        return super()._name(node)

    def _select(self, node: Select) -> Closure:
        return meters.more(self._bare_select(node), 1, node.span)

    def _index(self, node: Index) -> Closure:
        return meters.more(self._bare_index(node), 1, node.span)

    def _bare_select(self, node: Select) -> Closure:
        domain = None if node.optional else self._domain(node.operand)
        if domain is not None:
            return meters.published(*domain, node.field, node.span)
        operand = self.bare(node.operand)
        return meters.select(operand, node.field, optional=node.optional, span=node.span)

    def _bare_index(self, node: Index) -> Closure:
        domain = None if node.optional else self._domain(node.operand)
        if domain is not None and isinstance(node.key, Literal) and type(node.key.value) is str:
            return meters.published(*domain, node.key.value, node.span)
        operand, key = self.bare(node.operand), self.bare(node.key)
        return meters.index(operand, key, optional=node.optional, span=node.span)

    def _has(self, node: Has) -> Closure:
        return meters.presence(self.bare(node.operand), node.field, node.span)

    def _logic(self, node: Logic) -> Closure:
        terms = list(map(self.visit, node.terms))
        free = [term in self.constants or term in self.known for term in node.terms]
        return values.logic(terms, free, conjunction=node.conjunction, span=node.span)

    def _conditional(self, node: Conditional) -> Closure:
        test, then = self.visit(node.test), self.bare(node.then)
        otherwise = self.bare(node.otherwise)
        known = self.constants.get(node.test)
        if type(known) is bool:
            return values.counted(then if known else otherwise)
        return values.conditional(test, then, otherwise, node.span)

    def _bind(self, node: Bind) -> Closure:
        value = self.visit(node.value)
        slot = self._slot()
        return values.bind(slot, value, self._within({node.name: (slot, True)}, node.body))

    def _call(self, node: Call) -> Closure:
        parts = self._parts(node)
        compiled = self._arguments(node, parts)
        self._check_constant_pattern(node, parts)
        if node.function in ("or", "orValue"):
            keep = node.function == "or"
            return values.fallback(compiled[0], compiled[1], keep=keep, span=node.span)
        candidates = self.checked.overloads[node]
        if node.function == "@in":
            members = self.constants.get(parts[1])
            closure = c.member_of_constant(meters.given, members, node.span)
            if closure is not None and parts[0] in self.constants:
                return self._settled(node, values.applied(closure, compiled[0], node.span))
            if closure is not None:
                return values.applied(closure, compiled[0], node.span)
        if self._is_folded(node, parts):
            value = c.constant(self.constants[parts[0]])
            return self._folded(node, c.call(node.function, candidates, [value], node.span))
        charge = charge_of(candidates[0].function, candidates)
        prepared = node.function in REGEX_FUNCTIONS and parts[1] in self.constants
        both = len(parts) == 2 and not prepared and node.function not in _IN_ORDER
        closure = calls.call(node.function, candidates, compiled, charge, both=both, span=node.span)
        small = self.checked.types[node].name not in _LARGE
        if small and all(part in self.constants or part in self.known for part in parts):
            return self._settled(node, closure)
        return closure

    def _settled(self, node: Node, closure: Closure) -> Closure:
        """Evaluate a call of known values once; what it costs counts each time."""
        frame = [0, 0]
        try:
            value = closure(None, frame)
        except CelRuntimeError:
            return closure
        long = isinstance(value, str | bytes) and len(value) > MAX_LENGTH
        if long or type(value) is CelRuntimeError:
            return closure
        self.known[node] = value
        return meters.settled(value, frame[0], closure)

    def _indispensable(self, closure: Closure, span: Span) -> Closure:
        return values.indispensable(closure, span)

    def _list(self, node: ListLiteral) -> Closure:
        items = list(map(self.visit, node.items))
        if not node.optional and all(item in self.constants for item in node.items):
            return self._constant(node, tuple(self.constants[item] for item in node.items))
        return meters.more(values.list_of(items, node.optional, node.span), LIST, node.span)

    def _map(self, node: MapLiteral) -> Closure:
        keys = list(map(self.visit, node.keys))
        entries = list(map(self.visit, node.values))
        constant = all(part in self.constants for part in (*node.keys, *node.values))
        if constant and not node.optional:
            return self._folded(node, c.map_of(keys, entries, node.optional, node.span))
        closure = values.map_of(keys, entries, node.optional, node.span)
        return meters.more(closure, MAP, node.span)

    def _opt_map(self, node: OptMap) -> Closure:
        target = self.visit(node.target)
        slot = self._slot()
        body = self._within({node.name: (slot, True)}, node.body)
        return values.opt_map(target, slot, body, flat=node.flat, span=node.span)

    def _fold(self, node: Fold) -> Closure:
        source = self.visit(node.source)
        slots = tuple(self._slot() for _ in node.variables)
        names = {name: (slot, False) for name, slot in zip(node.variables, slots, strict=True)}
        outer, self.scope = self.scope, {**self.scope, **names}
        parts: Sequence[Closure] = list(map(self.visit, node.parts))
        self.scope = outer
        constant = node.parts[-1] in self.constants
        candidates = self.checked.overloads.get(node, ())
        return meters_fold.fold(node, source, slots, parts, candidates, constant=constant)


_IN_ORDER = frozenset(("format",))
"""Functions of two arguments that upstream calls like those of many: the first error ends it."""

_LARGE = frozenset(("list", "map", "dyn"))
"""Types of results that may be large, and are made anew each time."""
