# SPDX-License-Identifier: Apache-2.0
"""Static types of an expression: every node gets one, and every call its overloads.

Refuses what the API server's checker refuses. Evaluates nothing; what can be found out from
constants is ``berth.cel.constants``.

Source: cel-go ``checker/checker.go``; validator of homogeneous literals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from berth.cel import types as t
from berth.cel.homogeneity import Items, find_mixture
from berth.cel.library import UNSUPPORTED_FUNCTIONS, overloads
from berth.cel.overloads import Overload
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
from berth.cel.types import Type
from berth.cel.values import Uint
from berth.errors import InvalidSelectorError

DEVICE_FIELDS = {
    "driver": t.STRING,
    "attributes": t.map_of(t.STRING, t.map_of(t.STRING, t.DYN)),
    "capacity": t.map_of(t.STRING, t.map_of(t.STRING, t.QUANTITY)),
    "allowMultipleAllocations": t.BOOL,
}
_TYPE_NAMES = {
    "bool": t.BOOL,
    "int": t.INT,
    "uint": t.UINT,
    "double": t.DOUBLE,
    "string": t.STRING,
    "bytes": t.BYTES,
    "null_type": t.NULL,
    "list": t.list_of(t.DYN),
    "map": t.map_of(t.DYN, t.DYN),
    "type": t.type_of(t.DYN),
    "optional_type": t.optional_of(t.DYN),
}
_NAMESPACES = frozenset(("google", "kubernetes", "net"))
_LITERALS: dict[type, Type] = {
    bool: t.BOOL,
    int: t.INT,
    Uint: t.UINT,
    float: t.DOUBLE,
    str: t.STRING,
    bytes: t.BYTES,
    type(None): t.NULL,
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A well-typed expression: the type of each node, and the candidates of each call."""

    text: str
    root: Node
    types: dict[Node, Type]
    overloads: dict[Node, tuple[Overload, ...]]
    globals: frozenset[Node]
    """Calls whose target is the namespace of a function, as in ``sets.contains(a, b)``."""


def check(text: str, root: Node) -> Checked:
    """Return ``root`` with its types.

    Raises:
        InvalidSelectorError: If the expression is not well typed.
    """
    checker = _Checker(text)
    checker.visit(root)
    mixture = find_mixture(root, checker.literals, checker.mapping)
    if mixture is not None:
        raise checker.fail(*mixture)
    types = {
        node: t.substitute(checker.mapping, kind, free_to_dyn=True)
        for node, kind in checker.types.items()
    }
    return Checked(text, root, types, checker.overloads, frozenset(checker.globals))


class _Checker:
    def __init__(self, text: str) -> None:
        self.text = text
        self.table = overloads()
        self.mapping: t.Mapping = {}
        self.types: dict[Node, Type] = {}
        self.overloads: dict[Node, tuple[Overload, ...]] = {}
        self.globals: set[Node] = set()
        self.scope: dict[str, Type] = {}
        self.variables = 0
        self.literals: list[Items] = []
        self._visitors: dict[type, Callable[[Any], Type]] = {
            Literal: self._literal,
            Name: self._name,
            Select: self._plain_select,
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

    def fail(self, detail: str, span: Span, *, unsupported: bool = False) -> InvalidSelectorError:
        return InvalidSelectorError(self.text, detail, span, unsupported=unsupported)

    def visit(self, node: Node) -> Type:
        kind = self._visitors[type(node)](node)
        self.types[node] = kind
        return kind

    def _literal(self, node: Literal) -> Type:
        return _LITERALS[type(node.value)]

    def _plain_select(self, node: Select) -> Type:
        return self._select(node, node.operand, node.field, optional=node.optional)

    def _has(self, node: Has) -> Type:
        self._select(node, node.operand, node.field, optional=False)
        return t.BOOL

    def _index(self, node: Index) -> Type:
        args = (self.visit(node.operand), self.visit(node.key))
        return self._resolve(node, "_[?_]" if node.optional else "_[_]", args)

    def _conditional(self, node: Conditional) -> Type:
        parts = (self.visit(node.test), self.visit(node.then), self.visit(node.otherwise))
        return self._resolve(node, "_?_:_", parts)

    def _bind(self, node: Bind) -> Type:
        return self._within({node.name: self.visit(node.value)}, node.body)

    def resolved(self, kind: Type) -> Type:
        return t.substitute(self.mapping, kind)

    def assignable(self, first: Type, second: Type) -> bool:
        attempt = dict(self.mapping)
        if t.assign(attempt, first, second):
            self.mapping = attempt
            return True
        return False

    def expect(self, kind: Type, wanted: Type, span: Span) -> None:
        if not self.assignable(kind, wanted):
            got = self._shown(kind)
            raise self.fail(f"expected type `{self._shown(wanted)}` but found `{got}`", span)

    def _shown(self, kind: Type) -> str:
        return str(t.substitute(self.mapping, kind, free_to_dyn=True))

    def _fresh(self) -> Type:
        self.variables += 1
        return Type(f"%{self.variables}")

    def _within(self, names: dict[str, Type], node: Node) -> Type:
        outer, self.scope = self.scope, {**self.scope, **names}
        kind = self.visit(node)
        self.scope = outer
        return kind

    def _name(self, node: Name) -> Type:
        if node.name in self.scope:
            return self.scope[node.name]
        if node.name == "device":
            return t.DEVICE
        if node.name in _TYPE_NAMES:
            return t.type_of(_TYPE_NAMES[node.name])
        if node.name in _NAMESPACES:
            raise self.fail(
                f"names under `{node.name}` are not supported", node.span, unsupported=True
            )
        raise self.fail(f"undeclared reference to `{node.name}`", node.span)

    def _select(self, node: Node, operand: Node, field: str, *, optional: bool) -> Type:
        kind = self.resolved(self.visit(operand))
        inside = kind.params[0] if kind.name == "optional_type" else kind
        if inside.name == "map":
            result = inside.params[1]
        elif inside == t.DEVICE:
            if field not in DEVICE_FIELDS:
                raise self.fail(f"undefined field `{field}` of `device`", node.span)
            result = DEVICE_FIELDS[field]
        elif inside.is_variable:
            self.assignable(t.DYN, inside)
            result = t.DYN
        elif t.is_dyn(inside):
            result = t.DYN
        else:
            raise self.fail(
                f"type `{self._shown(inside)}` does not support field selection", node.span
            )
        return t.optional_of(result) if optional or inside is not kind else result

    def _call(self, node: Call) -> Type:
        if node.target is not None:
            name = self._qualified(node.target)
            if name is not None and (f"{name}.{node.function}", False) in self.table:
                self.globals.add(node)
                args = tuple(map(self.visit, node.args))
                return self._resolve(node, f"{name}.{node.function}", args)
        member = node.target is not None
        if (node.function, member) not in self.table:
            other = (node.function, not member) in self.table
            how = "a function" if member else "a method"
            detail = f", which is {how} only" if other else ""
            raise self.fail(
                f"undeclared reference to `{node.function}`{detail}",
                node.span,
                unsupported=node.function in UNSUPPORTED_FUNCTIONS,
            )
        parts = node.args if node.target is None else (node.target, *node.args)
        args = tuple(map(self.visit, parts))
        return self._resolve(node, node.function, args, member=member)

    def _qualified(self, node: Node) -> str | None:
        if isinstance(node, Name):
            return None if node.name in self.scope else node.name
        if isinstance(node, Select) and not node.optional:
            name = self._qualified(node.operand)
            return None if name is None else f"{name}.{node.field}"
        return None

    def _resolve(
        self, node: Node, function: str, args: tuple[Type, ...], *, member: bool = False
    ) -> Type:
        result: Type | None = None
        found: list[Overload] = []
        for overload in self.table[function, member]:
            params, returned = self._instance(overload)
            attempt = dict(self.mapping)
            if not t.assign_all(attempt, args, params):
                continue
            self.mapping = attempt
            found.append(overload)
            returned = self.resolved(returned)
            if result is None:
                result = returned
            elif result not in (t.DYN, returned):
                result = t.DYN
        if result is None:
            shown = ", ".join(self._shown(arg) for arg in args)
            raise self.fail(f"no overload of `{function}` for ({shown})", node.span)
        self.overloads[node] = tuple(found)
        return result

    def _instance(self, overload: Overload) -> tuple[tuple[Type, ...], Type]:
        fresh = {"%A": self._fresh(), "%B": self._fresh()}
        params = tuple(t.substitute(fresh, param) for param in overload.params)
        return params, t.substitute(fresh, overload.result)

    def _logic(self, node: Logic) -> Type:
        operator = "_&&_" if node.conjunction else "_||_"
        for term in node.terms:
            kind = self.visit(term)
            if not self.assignable(kind, t.BOOL):
                raise self.fail(
                    f"no overload of `{operator}` for a term of type `{self._shown(kind)}`",
                    term.span,
                )
        return t.BOOL

    def _join(self, previous: Type | None, current: Type) -> Type:
        if previous is None:
            return current
        if not self.assignable(previous, current):
            # Whether that may be is decided for the whole literal in `berth.cel.homogeneity`.
            return t.DYN
        return t.most_general(previous, current)

    def _element(self, node: Node, kind: Type, *, optional: bool) -> Type:
        if not optional:
            return kind
        kind = self.resolved(kind)
        if kind.name == "optional_type":
            return kind.params[0]
        if t.is_dyn(kind):
            return kind
        raise self.fail(f"expected an optional value but found `{self._shown(kind)}`", node.span)

    def _list(self, node: ListLiteral) -> Type:
        joined: Type | None = None
        kinds: list[Type] = []
        for position, item in enumerate(node.items):
            kind = self._element(item, self.visit(item), optional=position in node.optional)
            kinds.append(kind)
            joined = self._join(joined, kind)
        self.literals.append(Items(node, node.items, tuple(kinds)))
        return t.list_of(joined or self._fresh())

    def _map(self, node: MapLiteral) -> Type:
        key_type: Type | None = None
        value_type: Type | None = None
        keys: list[Type] = []
        values: list[Type] = []
        for position, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            keys.append(self.visit(key))
            key_type = self._join(key_type, keys[-1])
            kind = self._element(value, self.visit(value), optional=position in node.optional)
            values.append(kind)
            value_type = self._join(value_type, kind)
        self.literals.append(Items(node, node.keys, tuple(keys)))
        self.literals.append(Items(node, node.values, tuple(values)))
        return t.map_of(key_type or self._fresh(), value_type or self._fresh())

    def _fold(self, node: Fold) -> Type:
        names = self._range(node)
        *filters, last = node.parts
        for part in filters:
            self.expect(self._within(names, part), t.BOOL, part.span)
        kind = self._within(names, last)
        match node.macro:
            case "all" | "exists" | "exists_one" | "existsOne":
                self.expect(kind, t.BOOL, last.span)
                return t.BOOL
            case "filter":
                self.expect(kind, t.BOOL, last.span)
                return self._appended(node, next(iter(names.values())))
            case "map" | "transformList":
                return self._appended(node, kind)
            case "sortBy":
                source = self.resolved(self.types[node.source])
                keys = self._appended(node, kind)
                return self._resolve(node, "@sortBy", (source, keys), member=True)
            case _:
                entry = (next(iter(names.values())), kind)
                accumulator = t.map_of(self._fresh(), self._fresh())
                added = entry if node.macro == "transformMap" else (kind,)
                step = self._resolve(node, "@insert", (accumulator, *added))
                self.expect(step, accumulator, node.span)
                return self.resolved(accumulator)

    def _appended(self, node: Node, item: Type) -> Type:
        """Return the type of a list to which ``item`` is added again and again."""
        accumulator = t.list_of(self._fresh())
        step = self._resolve(node, "_+_", (accumulator, t.list_of(item)))
        self.expect(step, accumulator, node.span)
        return self.resolved(accumulator)

    def _range(self, node: Fold) -> dict[str, Type]:
        kind = self.resolved(self.visit(node.source))
        first: Type
        second: Type
        if kind.name == "list":
            first, second = kind.params[0], kind.params[0]
            if len(node.variables) == 2:
                first = t.INT
        elif kind.name == "map":
            first, second = kind.params
        elif t.is_dyn(kind) or kind.is_variable:
            self.assignable(t.DYN, kind)
            first = second = t.DYN
        else:
            raise self.fail(
                f"type `{self._shown(kind)}` cannot be the range of a macro", node.source.span
            )
        return dict(zip(node.variables, (first, second), strict=False))

    def _opt_map(self, node: OptMap) -> Type:
        target = self.visit(node.target)
        self._resolve(node, "hasValue", (target,), member=True)
        value = self._resolve(node, "value", (target,), member=True)
        body = self._within({node.name: value}, node.body)
        nothing = t.optional_of(self._fresh())
        if node.flat:
            return self._resolve(node, "_?_:_", (t.BOOL, body, nothing))
        return self._resolve(node, "_?_:_", (t.BOOL, t.optional_of(body), nothing))
