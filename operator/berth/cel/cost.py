# SPDX-License-Identifier: Apache-2.0
"""The worst-case cost of an expression, estimated from its types and the limits of the API.

The API server refuses an expression whose estimate is above the limit when it is written; here
it is data, and tells whether an evaluation must be metered. It equals upstream's number.

Source: cel-go ``checker/cost.go``; expansion of the macros in ``parser/macro.go`` and ``ext``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from berth.cel.check import Checked
from berth.cel.cost_calls import call_estimate
from berth.cel.cost_units import LIST, MAP
from berth.cel.estimate import Entries, Estimate, Path, size_of
from berth.cel.overloads import Overload
from berth.cel.ranges import EMPTY, NOTHING, ONE, Range, exactly
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
)
from berth.cel.types import Type, list_of

_LIST = exactly(LIST)
_MAP = exactly(MAP)
_WITH_FIELDS = ("map", "DRADevice")
_SHARED = 3
"""Steps from ``device`` to the attributes or capacity of one domain."""

_NO_ITEMS = Entries(is_list=True, key=ONE, value=NOTHING)


def worst_case(checked: Checked) -> tuple[int, Mapping[Node, int]]:
    """Return the worst-case cost in upstream's units, and the longest range of each loop."""
    coster = _Coster(checked)
    return coster.visit(checked.root).cost.high, coster.ranges


class _Coster:
    """Two calls per level of nesting, as everything that recurses over a tree."""

    def __init__(self, checked: Checked) -> None:
        self.checked = checked
        self.scope: dict[str, tuple[Path, Range | None, Entries | None]] = {}
        self.ranges: dict[Node, int] = {}
        self._visitors: dict[type, Callable[[Any, Type], Estimate]] = {
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

    def visit(self, node: Node) -> Estimate:
        return self._visitors[type(node)](node, self.checked.types[node])

    def _literal(self, node: Literal, kind: Type) -> Estimate:
        value = node.value
        size = len(value) if isinstance(value, str | bytes) else 1
        return Estimate(NOTHING, kind, node, exactly(size))

    def _name(self, node: Name, kind: Type) -> Estimate:
        path, size, entries = self.scope.get(node.name, ((node.name,), None, None))
        return Estimate(ONE, kind, node, size_of(kind, path) or size, entries, path)

    def _select(self, node: Select, kind: Type) -> Estimate:
        operand = self.visit(node.operand)
        if node.optional:
            return Estimate(operand.cost.plus(ONE), kind, node, size_of(kind, ()))
        cost = operand.cost.plus(ONE) if operand.type.name in _WITH_FIELDS else operand.cost
        path = (*operand.path, node.field)
        return Estimate(cost, kind, node, size_of(kind, path), None, path)

    def _has(self, node: Has, kind: Type) -> Estimate:
        return Estimate(self.visit(node.operand).cost, kind, node, ONE)

    def _index(self, node: Index, kind: Type) -> Estimate:
        operand, key = self.visit(node.operand), self.visit(node.key)
        cost = operand.cost.plus(key.cost).plus(ONE)
        path: Path = ()
        size: Range | None = None
        for overload in self.checked.overloads[node]:
            container = overload.params[0].name
            if not node.optional and container in ("list", "map"):
                size = operand.entries.value if operand.entries else None
                path = (*operand.path, "@items" if container == "list" else "@values")
            size = size or size_of(kind, path)
        return Estimate(cost, kind, node, size, None, path)

    def _call(self, node: Call, kind: Type) -> Estimate:
        parts = node.args
        if node.target is not None and node not in self.checked.globals:
            parts = (node.target, *node.args)
        args = list(map(self.visit, parts))
        if node.function == "dyn" and node.target is None:
            cost = args[0].cost.plus(ONE)
            return Estimate(cost, kind, node, args[0].size, args[0].entries)
        return self._applied(self.checked.overloads[node], node, kind, args)

    def _applied(
        self,
        overloads: tuple[Overload, ...],
        node: Node | None,
        kind: Type,
        args: list[Estimate],
    ) -> Estimate:
        cost, size = EMPTY, None
        for overload in overloads:
            own, result = call_estimate(overload, args)
            cost = cost.union(own)
            if result is not None:
                size = result if size is None else size.union(result)
            size = size or size_of(kind, ())
        for arg in args:
            cost = cost.plus(arg.cost)
        entries = None
        if overloads[0].function == "_+_" and args[0].entries and args[1].entries:
            entries = args[0].entries.union(args[1].entries)
        return Estimate(cost, kind, node, size, entries)

    def _logic(self, node: Logic, kind: Type) -> Estimate:
        first, *others = map(self.visit, node.terms)
        cost = first.cost
        for term in others:
            cost = Range(first.cost.low, cost.plus(term.cost).high)
        return Estimate(cost, kind, node, ONE)

    def _conditional(self, node: Conditional, kind: Type) -> Estimate:
        test, then, otherwise = map(self.visit, (node.test, node.then, node.otherwise))
        cost = test.cost.plus(then.cost.union(otherwise.cost))
        size = then.size_or_any.union(otherwise.size_or_any)
        entries = None
        if then.entries and otherwise.entries:
            entries = then.entries.union(otherwise.entries)
        return Estimate(cost, kind, node, size, entries)

    def _list(self, node: ListLiteral, kind: Type) -> Estimate:
        cost, item = _LIST, EMPTY if node.items else NOTHING
        for part in map(self.visit, node.items):
            cost = cost.plus(part.cost)
            item = item.union(part.size_or_any)
        size = exactly(len(node.items))
        return Estimate(cost, kind, node, size, Entries(is_list=True, key=ONE, value=item))

    def _map(self, node: MapLiteral, kind: Type) -> Estimate:
        cost = _MAP
        key = value = EMPTY if node.keys else NOTHING
        for part in map(self.visit, node.keys):
            cost, key = cost.plus(part.cost), key.union(part.size_or_any)
        for part in map(self.visit, node.values):
            cost, value = cost.plus(part.cost), value.union(part.size_or_any)
        entries = Entries(is_list=False, key=key, value=value)
        return Estimate(cost, kind, node, exactly(len(node.keys)), entries)

    def _bind(self, node: Bind, kind: Type) -> Estimate:
        value = self.visit(node.value)
        outer = self.scope
        self.scope = {**outer, node.name: (value.path, value.size, value.entries)}
        body = self.visit(node.body)
        self.scope = outer
        # The range that upstream's expansion never goes through is an empty list.
        cost = value.cost.plus(body.cost).plus(_LIST)
        return Estimate(cost, kind, node, body.size or size_of(kind, ()), body.entries)

    def _opt_map(self, node: OptMap, kind: Type) -> Estimate:
        target = self.visit(node.target)
        outer = self.scope
        inside = target.type.params[0] if target.type.params else target.type
        self.scope = {**outer, node.name: ((), size_of(inside, ()), None)}
        body = self.visit(node.body)
        self.scope = outer
        # Upstream evaluates the target once to see whether it is there, and once for its value.
        asked = target.cost.plus(ONE)
        present = asked.plus(_LIST).plus(body.cost)
        if not node.flat:
            present = present.plus(ONE)
        size = body.size_or_any if node.flat else size_of(kind, ()) or Range(0, (1 << 64) - 1)
        none = size_of(kind, ()) or Range(0, (1 << 64) - 1)
        return Estimate(asked.plus(present.union(ONE)), kind, node, size.union(none))

    def _fold(self, node: Fold, kind: Type) -> Estimate:
        source = self.visit(node.source)
        self.ranges[node] = source.size_or_any.high
        outer = self.scope
        names = _variables(source, node)
        self.scope = {**outer, **names}
        *filters, last = map(self.visit, node.parts)
        self.scope = outer
        step, entries = _step(node.macro, filters, last, names[node.variables[-1]][1])
        size: Range | None = ONE
        if node.macro in _QUANTIFIERS:
            setup, entries = _QUANTIFIERS[node.macro], None
        else:
            size = source.size_or_any
            setup = ONE.plus(_MAP if node.macro.startswith("transformMap") else _LIST)
        # A list that is sorted is bound to a name first, and read by it twice.
        ranged = ONE if node.macro == "sortBy" else source.cost
        cost = ranged.plus(setup).plus(source.size_or_any.times(step))
        folded = Estimate(cost, list_of(last.type), None, size, entries)
        if node.macro != "sortBy":
            return Estimate(cost, kind, node, size, entries)
        named = Estimate(ONE, source.type, None, source.size, source.entries, source.path)
        result = self._applied(self.checked.overloads[node], None, kind, [named, folded])
        whole = source.cost.plus(_LIST).plus(result.cost)
        return Estimate(whole, kind, node, result.size)


def _variables(
    source: Estimate, node: Fold
) -> dict[str, tuple[Path, Range | None, Entries | None]]:
    entries = source.entries
    is_list = entries.is_list if entries else source.type.name == "list"
    key = entries.key if entries else None
    value = entries.value if entries else None
    of_key = ((*source.path, "@indices" if is_list else "@keys"), key, None)
    of_value = ((*source.path, "@items" if is_list else "@values"), value, None)
    if len(node.variables) == 2:
        if len(source.path) == _SHARED:
            # Upstream's slices share their memory here, so the key is taken for the value.
            of_key = (of_value[0], key, None)
        return {node.variables[0]: of_key, node.variables[1]: of_value}
    return {node.variables[0]: of_value if is_list else of_key}


_QUANTIFIERS = {
    # What it costs to read the result.
    "all": ONE,
    "exists": ONE,
    "exists_one": exactly(2),
    "existsOne": exactly(2),
}


def _step(
    macro: str, filters: list[Estimate], last: Estimate, item: Range | None
) -> tuple[Range, Entries | None]:
    """Return what one step of the loop costs that a macro stands for, and what it collects."""
    entries: Entries | None = None
    match macro:
        case "all":
            return Range(3, last.cost.plus(exactly(3)).high), None
        case "exists":
            return Range(4, last.cost.plus(exactly(4)).high), None
        case "exists_one" | "existsOne":
            return last.cost.plus(Range(1, 2)), None
        case "filter":
            collected = Entries(is_list=True, key=ONE, value=item or Range(0, (1 << 64) - 1))
            return last.cost.plus(Range(1, 13)), _NO_ITEMS.union(collected)
        case "transformMap":
            step = last.cost.plus(exactly(3))
        case "transformMapEntry":
            step = last.cost.plus(exactly(2))
        case _:
            step = last.cost.plus(exactly(2)).plus(_LIST)
            entries = _NO_ITEMS.union(Entries(is_list=True, key=ONE, value=last.size_or_any))
    for test in filters:
        step = test.cost.plus(step.union(ONE))
    return step, entries
