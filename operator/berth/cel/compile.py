# SPDX-License-Identifier: Apache-2.0
"""Turns a checked expression into closures; what a rule of CEL says is in the closure of its node.

A closure takes the device and the frame, a list of the local values (``None`` without locals), and
returns a value or raises ``CelRuntimeError``. Nothing is interpreted at run time and nothing is
shared between evaluations, so a compiled expression may be used by many threads.

Source: cel-go ``interpreter``; constants are folded where cel-go folds them, since that decides
whether a mistake shows when compiling or when evaluating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from berth.cel import closures as c
from berth.cel import closures_access as access
from berth.cel import closures_fold as fold
from berth.cel.check import Checked
from berth.cel.library_regex import REGEX_FUNCTIONS, compile_pattern
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
from berth.cel.values import CelType
from berth.errors import CelRuntimeError, InvalidSelectorError

Closure: TypeAlias = Callable[[Any, Any], Any]

_CONVERSIONS = frozenset(
    (
        "bool",
        "bytes",
        "double",
        "duration",
        "dyn",
        "int",
        "string",
        "timestamp",
        "type",
        "uint",
    )
)
_CRASHING = frozenset(("distinct", "sort", "flatten"))


class Compiler:
    """Compiles one expression; ``slots`` is the size of the frame that it needs.

    Parts are visited by ``map``, since a comprehension would be one more level of recursion.
    """

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.slots = 1
        self.constants: dict[Node, Any] = {}
        self.known: dict[Node, Any] = {}
        self.scope: dict[str, tuple[int, bool]] = {}
        self._visitors: dict[type, Callable[[Any], Closure]] = {
            Literal: self._literal,
            Name: self._name,
            Select: self._select,
            Has: self._has,
            Index: self._index,
            Call: self._call,
            Logic: self._logic,
            Conditional: self._conditional,
            ListLiteral: self._list,
            MapLiteral: self._map,
            Fold: self._fold,
            Bind: self._bind,
            OptMap: self._opt_map,
        }

    def compile(self) -> Closure:
        """Return the closure of the expression.

        Raises:
            InvalidSelectorError: If a constant part cannot be evaluated.
        """
        return self.visit(self.checked.root)

    def visit(self, node: Node) -> Closure:
        """Return the closure of ``node``.

        Raises:
            InvalidSelectorError: If a constant part cannot be evaluated.
        """
        return self._visitors[type(node)](node)

    def _literal(self, node: Literal) -> Closure:
        return self._constant(node, node.value)

    def _has(self, node: Has) -> Closure:
        return access.has(self.visit(node.operand), node.field, node.span)

    def _logic(self, node: Logic) -> Closure:
        return c.logic(list(map(self.visit, node.terms)), node.conjunction, node.span)

    def _conditional(self, node: Conditional) -> Closure:
        test, then = self.visit(node.test), self.visit(node.then)
        return c.conditional(test, then, self.visit(node.otherwise), node.span)

    def _bind(self, node: Bind) -> Closure:
        value = self.visit(node.value)
        slot = self._slot()
        return c.bind(slot, value, self._within({node.name: (slot, True)}, node.body))

    def _opt_map(self, node: OptMap) -> Closure:
        target = self.visit(node.target)
        slot = self._slot()
        body = self._within({node.name: (slot, False)}, node.body)
        return c.opt_map(target, slot, body, node.flat, node.span)

    def _constant(self, node: Node, value: Any) -> Closure:
        self.constants[node] = value
        return c.constant(value)

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    def _within(self, names: dict[str, tuple[int, bool]], node: Node) -> Closure:
        outer, self.scope = self.scope, {**self.scope, **names}
        closure = self.visit(node)
        self.scope = outer
        return closure

    def _name(self, node: Name) -> Closure:
        if node.name in self.scope:
            slot, lazy = self.scope[node.name]
            return c.lazy_local(slot) if lazy else c.local(slot)
        if node.name == "device":
            return access.whole_device
        return self._constant(node, CelType(self.checked.types[node].params[0].name))

    def _is_device(self, node: Node) -> bool:
        return isinstance(node, Name) and node.name == "device" and "device" not in self.scope

    def _field(self, node: Node) -> str:
        """Return the field of ``device`` that ``node`` selects, or an empty text."""
        plain = isinstance(node, Select) and not node.optional and self._is_device(node.operand)
        return node.field if plain and isinstance(node, Select) else ""

    def _domain(self, node: Node) -> tuple[str, str] | None:
        """Return which map of ``device`` and which constant domain of it ``node`` reads."""
        if isinstance(node, Index) and not node.optional and isinstance(node.key, Literal):
            field, domain = self._field(node.operand), node.key.value
        elif isinstance(node, Select) and not node.optional:
            field, domain = self._field(node.operand), node.field
        else:
            return None
        if field in ("attributes", "capacity") and type(domain) is str:
            return field, domain
        return None

    def _select(self, node: Select) -> Closure:
        if node.optional:
            return access.optional_select(self.visit(node.operand), node.field)
        field = self._field(node)
        if field:
            return access.DEVICE_FIELDS[field]
        domain = self._domain(node.operand)
        if domain is not None:
            return access.published(*domain, node.field, node.span)
        return access.select(self.visit(node.operand), node.field, node.span)

    def _index(self, node: Index) -> Closure:
        domain = self._domain(node.operand)
        if domain is not None and not node.optional and isinstance(node.key, Literal):
            key = node.key.value
            if type(key) is str:
                return access.published(*domain, key, node.span)
        domain = self._domain(node)
        if domain is not None:
            return access.whole_domain(*domain)
        operand, key_closure = self.visit(node.operand), self.visit(node.key)
        return access.index(operand, key_closure, node.optional, node.span)

    def _call(self, node: Call) -> Closure:
        parts = self._parts(node)
        compiled = self._arguments(node, parts)
        self._check_constant_pattern(node, parts)
        closure = self._operation(node, parts, compiled)
        if self._is_folded(node, parts):
            return self._folded(node, closure)
        if all(part in self.constants or part in self.known for part in parts):
            return self._precomputed(node, closure)
        return closure

    def _parts(self, node: Call) -> tuple[Node, ...]:
        """Return the arguments of a call, the target first, but for the name of a library."""
        if node.target is None or node in self.checked.globals:
            return node.args
        return (node.target, *node.args)

    def _arguments(self, node: Call, parts: tuple[Node, ...]) -> list[Closure]:
        compiled = list(map(self.visit, parts))
        # The meter of these functions crashes upstream when what it looks at has failed, and
        # nothing absorbs that. Kept as it is, since it decides whether a pod is allocated.
        position = 1 if node.function == "flatten" else 0
        metered = node.function in _CRASHING and position < len(parts)
        if metered and len(self.checked.overloads[node]) == 1:
            compiled[position] = self._indispensable(compiled[position], node.span)
        return compiled

    def _indispensable(self, closure: Closure, span: Span) -> Closure:
        return c.indispensable(closure, span)

    def _check_constant_pattern(self, node: Call, parts: tuple[Node, ...]) -> None:
        if node.function in REGEX_FUNCTIONS and len(parts) > 1 and parts[1] in self.constants:
            self._check_pattern(parts[1])

    def _is_folded(self, node: Call, parts: tuple[Node, ...]) -> bool:
        constant = len(parts) == 1 and parts[0] in self.constants
        return constant and node.function in _CONVERSIONS

    def _operation(self, node: Call, parts: tuple[Node, ...], compiled: list[Closure]) -> Closure:
        """Return the closure of a call whose parts are already compiled."""
        candidates = self.checked.overloads[node]
        if node.function in ("or", "orValue"):
            return c.fallback(compiled[0], compiled[1], node.function == "or", node.span)
        if node.function in ("_==_", "_!=_"):
            negated = node.function == "_!=_"
            values = self.constants if parts[1] in self.constants else self.known
            if parts[1] in values:
                return c.equals_constant(compiled[0], values[parts[1]], negated, node.span)
            return c.equals(compiled[0], compiled[1], negated, node.span)
        if node.function == "@in":
            closure = c.member_of_constant(compiled[0], self.constants.get(parts[1]), node.span)
            if closure is not None:
                return closure
        return c.call(node.function, candidates, compiled, node.span)

    def _precomputed(self, node: Node, closure: Closure) -> Closure:
        """Evaluate a call of known values once; unlike a constant, its error waits."""
        try:
            value = closure(None, None)
        except CelRuntimeError:
            return closure
        self.known[node] = value
        return c.constant(value)

    def _folded(self, node: Node, closure: Closure) -> Closure:
        try:
            return self._constant(node, closure(None, None))
        except CelRuntimeError as error:
            raise InvalidSelectorError(self.checked.text, error.detail, node.span) from None

    def _check_pattern(self, node: Node) -> None:
        pattern = self.constants[node]
        if type(pattern) is not str:
            return
        try:
            compile_pattern(pattern)
        except CelRuntimeError as error:
            raise InvalidSelectorError(self.checked.text, error.detail, node.span) from None

    def _list(self, node: ListLiteral) -> Closure:
        items = list(map(self.visit, node.items))
        if not node.optional and all(item in self.constants for item in node.items):
            return self._constant(node, tuple(self.constants[item] for item in node.items))
        return c.list_of(items, node.optional, node.span)

    def _map(self, node: MapLiteral) -> Closure:
        keys = list(map(self.visit, node.keys))
        values = list(map(self.visit, node.values))
        closure = c.map_of(keys, values, node.optional, node.span)
        constant = all(part in self.constants for part in (*node.keys, *node.values))
        return self._folded(node, closure) if constant and not node.optional else closure

    def _fold(self, node: Fold) -> Closure:
        source = self.visit(node.source)
        slots = tuple(self._slot() for _ in node.variables)
        names = {name: (slot, False) for name, slot in zip(node.variables, slots, strict=True)}
        outer, self.scope = self.scope, {**self.scope, **names}
        parts = list(map(self.visit, node.parts))
        self.scope = outer
        return fold.fold(
            node.macro,
            source,
            slots,
            parts,
            self.checked.overloads.get(node, ()),
            node.span,
        )
