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
from berth.cel import closures_access as access
from berth.cel import meters, meters_fold
from berth.cel.charges import charge_of
from berth.cel.check import Checked
from berth.cel.compile import Closure, Compiler
from berth.cel.cost_units import LIST, MAP
from berth.cel.library_regex import REGEX_FUNCTIONS
from berth.cel.syntax import (
    Call,
    Conditional,
    Fold,
    Has,
    Index,
    ListLiteral,
    MapLiteral,
    Name,
    Node,
    OptMap,
    Select,
)

_PATHS = (Name, Select, Index)


class MeteredCompiler(Compiler):
    """Compiles one expression so that its frame holds the cost at index 0."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        self._bare: dict[type, Any] = {
            Name: super()._name,
            Select: self._bare_select,
            Index: self._bare_index,
        }

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
        closure = super()._name(node)
        return meters.more(closure, 1, node.span) if self._is_path(node) else closure

    def _select(self, node: Select) -> Closure:
        return meters.more(self._bare_select(node), 1, node.span)

    def _index(self, node: Index) -> Closure:
        return meters.more(self._bare_index(node), 1, node.span)

    def _bare_select(self, node: Select) -> Closure:
        step = (
            access.optional_select(meters.given, node.field)
            if node.optional
            else access.select(meters.given, node.field, node.span)
        )
        return meters.step(self.bare(node.operand), step, optional=node.optional, span=node.span)

    def _bare_index(self, node: Index) -> Closure:
        operand, key = self.bare(node.operand), self.bare(node.key)
        step = access.index(meters.argument(0), meters.argument(1), node.optional, node.span)
        return meters.index(operand, key, step, optional=node.optional, span=node.span)

    def _has(self, node: Has) -> Closure:
        test = access.has(meters.given, node.field, node.span)
        return meters.presence(self.bare(node.operand), test, node.span)

    def _conditional(self, node: Conditional) -> Closure:
        test, then = self.visit(node.test), self.bare(node.then)
        return c.conditional(test, then, self.bare(node.otherwise), node.span)

    def _call(self, node: Call) -> Closure:
        parts = self._parts(node)
        compiled = self._arguments(node, parts)
        self._check_constant_pattern(node, parts)
        if node.function in ("or", "orValue"):
            return self._operation(node, parts, compiled)
        if node.function == "@in":
            members = c.member_of_constant(compiled[0], self.constants.get(parts[1]), node.span)
            if members is not None:
                return members
        operation = self._operation(node, parts, list(map(meters.argument, range(len(parts)))))
        if self._is_folded(node, parts):
            value = self.constants[parts[0]]
            return self._folded(node, lambda _device, _frame: operation([value], None))
        candidates = self.checked.overloads[node]
        charge = charge_of(candidates[0].function, candidates)
        prepared = node.function in REGEX_FUNCTIONS and parts[1] in self.constants
        both = len(parts) == 2 and not prepared and node.function not in _IN_ORDER
        return meters.call(operation, compiled, charge, both=both, span=node.span)

    def _list(self, node: ListLiteral) -> Closure:
        closure = super()._list(node)
        return closure if node in self.constants else meters.more(closure, LIST, node.span)

    def _map(self, node: MapLiteral) -> Closure:
        closure = super()._map(node)
        return closure if node in self.constants else meters.more(closure, MAP, node.span)

    def _opt_map(self, node: OptMap) -> Closure:
        target = self.visit(node.target)
        slot = self._slot()
        body = self._within({node.name: (slot, True)}, node.body)
        return meters.opt_map(target, slot, body, flat=node.flat, span=node.span)

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
