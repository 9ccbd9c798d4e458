# SPDX-License-Identifier: Apache-2.0
"""What an expression reads of a device, found without evaluating it.

Devices that agree in everything that is read agree in the answer, be it an error. Absence counts
as a value, and so does ``CelDevice.problem``, which fails every expression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from berth.cel.syntax import (
    Bind,
    Call,
    Fold,
    Has,
    Index,
    Literal,
    Name,
    Node,
    OptMap,
    Select,
    children,
)


@dataclass(frozen=True, slots=True)
class Projection:
    """What is read: pairs ``(domain, id)`` of attributes and capacity, and two plain fields.

    ``fixed`` is false if more may be read than the pairs say, as with ``size`` of a whole map.
    """

    fixed: bool
    attributes: frozenset[tuple[str, str]]
    capacity: frozenset[tuple[str, str]]
    driver: bool
    allow_multiple: bool


def analyse(root: Node) -> Projection:
    """Return what ``root`` reads."""
    reader = _Reader()
    reader.visit(root, {})
    return Projection(
        reader.fixed,
        frozenset(reader.pairs["attributes"]),
        frozenset(reader.pairs["capacity"]),
        reader.driver,
        reader.allow_multiple,
    )


Place: TypeAlias = tuple[str, ...]
"""A place in ``device``: nothing, a field, ``attributes`` or ``capacity`` with a domain and id."""
Scope: TypeAlias = dict[str, Place | None]
"""What local names stand for; ``None`` where that is no place in ``device``."""


def place(node: Node, scope: Scope) -> Place | None:
    """Return the place that ``node`` stands for, or ``None`` for any other value."""
    return _Reader().path(node, scope)


class _Reader:
    def __init__(self) -> None:
        self.fixed = True
        self.pairs: dict[str, set[tuple[str, str]]] = {"attributes": set(), "capacity": set()}
        self.driver = False
        self.allow_multiple = False

    def path(self, node: Node, scope: Scope) -> Place | None:
        """Return the place that ``node`` stands for, or ``None`` for any other value."""
        match node:
            case Name():
                return scope[node.name] if node.name in scope else _root(node.name)
            case Select() | Has():
                return self._step(node.operand, node.field, scope)
            case Index(key=Literal(value=str() as key)):
                inside = self._step(node.operand, key, scope)
                return inside if inside is not None and len(inside) > 1 else None
            case _:
                return None

    def _step(self, operand: Node, key: str, scope: Scope) -> Place | None:
        inside = self.path(operand, scope)
        return None if inside is None or len(inside) > 2 else (*inside, key)

    def visit(self, node: Node, scope: Scope) -> None:
        path = self.path(node, scope)
        if path is not None:
            self._read(path, is_test=isinstance(node, Has))
            return
        match node:
            case Bind():
                value = self.path(node.value, scope)
                if value is None or len(value) > 2:
                    self.visit(node.value, scope)
                    value = None
                self.visit(node.body, {**scope, node.name: value})
            case Fold():
                self.visit(node.source, scope)
                inner = {**scope, **dict.fromkeys(node.variables)}
                for part in node.parts:
                    self.visit(part, inner)
            case OptMap():
                self.visit(node.target, scope)
                self.visit(node.body, {**scope, node.name: None})
            case Call(function="@in", args=(Literal(value=str() as key), container)):
                inside = self.path(container, scope)
                if inside is not None and len(inside) == 2:
                    self._read((*inside, key), is_test=True)
                else:
                    self.visit(container, scope)
            case _:
                for child in children(node):
                    self.visit(child, scope)

    def _read(self, path: Place, *, is_test: bool) -> None:
        match path:
            case ("driver",):
                self.driver = True
            case ("allowMultipleAllocations",):
                self.allow_multiple = True
            case ("attributes" | "capacity" as field, domain, identifier):
                self.pairs[field].add((domain, identifier))
            case ("attributes" | "capacity", _) if is_test:
                # `has` of a domain is always true, so it reads nothing.
                pass
            case _:
                self.fixed = False


def _root(name: str) -> Place | None:
    return () if name == "device" else None
