# SPDX-License-Identifier: Apache-2.0
"""The syntax tree of a CEL expression: small immutable nodes, each with its place in the text.

The parser makes the nodes and already expands macros into ``Fold``, ``Bind``, ``OptMap`` and
``Has``; the checker, the analyses and the compiler read them. Nodes are compared by identity, so
that facts about a node can be kept in dictionaries beside the tree. Nothing here evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Start and end of a node in characters of the expression."""


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A constant of a simple type: bool, int, Uint, float, str, bytes or None."""

    span: Span
    value: object


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """A variable, a local name of a macro, or the name of a type."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """``operand.field``, or ``operand.?field`` where ``optional``."""

    span: Span
    operand: Node
    field: str
    optional: bool


@dataclass(frozen=True, slots=True, eq=False)
class Has:
    """``has(operand.field)``."""

    span: Span
    operand: Node
    field: str


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """``operand[key]``, or ``operand[?key]`` where ``optional``."""

    span: Span
    operand: Node
    key: Node
    optional: bool


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function or operator; operators are named as in CEL, ``_+_``, ``!_``, ``@in``."""

    span: Span
    function: str
    target: Node | None
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Logic:
    """A chain of ``&&`` (``conjunction``) or ``||``, flat however long it is."""

    span: Span
    conjunction: bool
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Conditional:
    """``test ? then : otherwise``."""

    span: Span
    test: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral:
    """``[a, ?b]``; ``optional`` holds the indexes of the items written with ``?``."""

    span: Span
    items: tuple[Node, ...]
    optional: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class MapLiteral:
    """``{k: v, ?k: v}``; ``optional`` holds the indexes of the entries written with ``?``."""

    span: Span
    keys: tuple[Node, ...]
    values: tuple[Node, ...]
    optional: frozenset[int]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A macro that goes through a list or map; ``macro`` is its name, ``parts`` its expressions."""

    span: Span
    macro: str
    variables: tuple[str, ...]
    source: Node
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bind:
    """``cel.bind(name, value, body)``."""

    span: Span
    name: str
    value: Node
    body: Node


@dataclass(frozen=True, slots=True, eq=False)
class OptMap:
    """``target.optMap(name, body)``, or ``optFlatMap`` where ``flat``."""

    span: Span
    target: Node
    name: str
    body: Node
    flat: bool


Node: TypeAlias = (
    Literal
    | Name
    | Select
    | Has
    | Index
    | Call
    | Logic
    | Conditional
    | ListLiteral
    | MapLiteral
    | Fold
    | Bind
    | OptMap
)


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct parts of ``node`` in the order in which they are written."""
    match node:
        case Literal() | Name():
            return ()
        case Select() | Has():
            return (node.operand,)
        case Index():
            return (node.operand, node.key)
        case Call():
            return node.args if node.target is None else (node.target, *node.args)
        case Logic():
            return node.terms
        case Conditional():
            return (node.test, node.then, node.otherwise)
        case ListLiteral():
            return node.items
        case MapLiteral():
            return tuple(part for pair in zip(node.keys, node.values, strict=True) for part in pair)
        case Fold():
            return (node.source, *node.parts)
        case Bind():
            return (node.value, node.body)
        case OptMap():
            return (node.target, node.body)
