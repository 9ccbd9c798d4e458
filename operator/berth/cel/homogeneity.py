# SPDX-License-Identifier: Apache-2.0
"""Refuses list and map literals whose items differ in type; ``dyn`` is a type of its own.

Source: cel-go ``cel.ValidateHomogeneousAggregateLiterals``; arguments of ``format`` are exempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from berth.cel.syntax import Call, Node, Span, children
from berth.cel.types import Mapping, Type, substitute

_EXEMPT = "format"


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """The items of one literal (of a map: its keys or its values) with their types."""

    literal: Node
    nodes: tuple[Node, ...]
    types: tuple[Type, ...]


def find_mixture(
    root: Node, literals: Iterable[Items], mapping: Mapping
) -> tuple[str, Span] | None:
    """Return what is wrong with the first literal of mixed types, and where."""
    exempt = _below_format(root)
    for items in literals:
        if items.literal in exempt:
            continue
        finals = [substitute(mapping, kind, free_to_dyn=True) for kind in items.types]
        for node, kind in zip(items.nodes, finals, strict=True):
            if kind != finals[0]:
                return (
                    f"expected type `{finals[0]}` of the first item but found `{kind}`",
                    node.span,
                )
    return None


def _below_format(root: Node) -> frozenset[Node]:
    exempt: set[Node] = set()
    pending = [(root, False)]
    while pending:
        node, below = pending.pop()
        if below:
            exempt.add(node)
        below = below or (isinstance(node, Call) and node.function == _EXEMPT)
        pending.extend((child, below) for child in children(node))
    return frozenset(exempt)
