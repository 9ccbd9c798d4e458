# SPDX-License-Identifier: Apache-2.0
"""What a step of a macro costs at least, in upstream's units.

Upstream ends an evaluation that costs more than a million units. Only macros can cost that much,
so their steps are charged with a lower bound that is known when compiling: an expression that
upstream still evaluates is never ended here. Exact costs and estimates are not computed.

Source: cel-go ``interpreter/runtimecost.go``; expansion of the macros in ``parser/macro.go``.
"""

from __future__ import annotations

from typing import Final

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
from berth.cel.values import Uint

LIMIT: Final = 1_000_000
"""Units that one evaluation may cost, as upstream."""

_LIST, _MAP = 10, 30
_ON_NUMBERS = frozenset(("_<_", "_<=_", "_>_", "_>=_", "_==_", "_!=_", "_-_", "_*_", "_/_", "_%_"))
_OVERHEAD = {
    # Condition and accumulator of the loop that a macro stands for.
    "all": 3,
    "exists": 4,
    "map": 2,
    "transformList": 2,
    "sortBy": 2,
}
_COLLECTING = frozenset(("map", "transformList", "sortBy"))


def least_step_cost(fold: Fold) -> int:
    """Return how much one step of ``fold`` costs at least, and never less than 1."""
    first = fold.parts[0]
    if len(fold.parts) > 1:
        # The condition may be false, so nothing else need be evaluated.
        return max(1, least_cost(first))
    collected = fold.macro in _COLLECTING and not _is_constant(first)
    return max(1, _OVERHEAD.get(fold.macro, 0) + least_cost(first) + _LIST * collected)


def least_cost(node: Node) -> int:
    """Return how much the evaluation of ``node`` costs at least, whatever its values are."""
    match node:
        case Name() | Has():
            return 1
        case Select() | Index():
            # A path ends where it fails, so only its start is certain, and the step after it.
            return least_cost(node.operand) + isinstance(node.operand, Name)
        case Call():
            return _least_call(node)
        case Logic():
            return least_cost(node.terms[0])
        case Conditional():
            # The name at the start of a branch is not charged.
            return least_cost(node.test)
        case ListLiteral():
            return 0 if _is_constant(node) else _LIST
        case MapLiteral():
            return 0 if _is_constant(node) else _MAP
        case Fold():
            return least_cost(node.source)
        case Bind():
            return least_cost(node.body)
        case OptMap():
            return least_cost(node.target)
        case Literal():
            return 0


def _least_call(node: Call) -> int:
    parts = node.args if node.target is None else (node.target, *node.args)
    if len(parts) > 2:
        # Arguments after one that fails are not evaluated.
        return least_cost(parts[0])
    if node.function == "@in":
        # Membership in a constant list costs no more than its left side, or nothing at all.
        return 0
    # The cost of a call on texts depends on their length and may be nothing.
    numeric = node.function in _ON_NUMBERS and any(
        isinstance(part, Literal) and type(part.value) in (int, Uint, float) for part in parts
    )
    return sum(map(least_cost, parts)) + numeric


def _is_constant(node: Node) -> bool:
    match node:
        case Literal():
            return True
        case ListLiteral():
            return all(map(_is_constant, node.items))
        case MapLiteral():
            return all(map(_is_constant, (*node.keys, *node.values)))
        case Call(target=None, args=(argument,)):
            return _is_constant(argument)
        case _:
            return False
