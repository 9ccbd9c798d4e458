# SPDX-License-Identifier: Apache-2.0
"""Tells from the text of an expression whether what costs nothing in it could take long.

Decides only whether steps are counted while the expression is evaluated, which makes it slower;
the answer is the same. Most selectors have no loop and no name, and so nothing to count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from berth.cel.check import Checked
from berth.cel.library_regex import REGEX_FUNCTIONS, program_size
from berth.cel.syntax import (
    Bind,
    Call,
    Fold,
    ListLiteral,
    Literal,
    MapLiteral,
    Node,
    OptMap,
    children,
)
from berth.cel.types import Type

_MOST: Final = 50_000
"""Nodes that may be evaluated without being counted."""

_SHORT, _SMALL = 256, 1000
"""Characters and instructions of a pattern that is not a large one."""

_REPEATING = (Bind, Fold, OptMap)
_BUILDING = (ListLiteral, MapLiteral, Fold)
_NESTING = frozenset(("list", "map", "dyn"))


def need_counting(checked: Checked, sizes: Mapping[Node, int]) -> bool:
    """Tell whether free steps must be counted; ``sizes`` are the longest ranges of the loops."""
    total, repeats, builds = 0, False, False
    pending: list[tuple[Node, int]] = [(checked.root, 1)]
    while pending:
        node, times = pending.pop()
        total += times
        if total > _MOST:
            return True
        repeats = repeats or isinstance(node, _REPEATING)
        builds = builds or _may_grow(node, checked)
        if isinstance(node, Fold):
            pending.append((node.source, times))
            within = times * min(sizes[node], _MOST)
            pending.extend((part, within) for part in node.parts)
        else:
            pending.extend((child, times) for child in children(node))
    # Repeated once with each name, a value doubles at no cost.
    return repeats and builds


def _may_grow(node: Node, checked: Checked) -> bool:
    """Tell whether the value of ``node`` may hold a list or map, or be a longer one, for free."""
    if isinstance(node, Call):
        joins = node.function == "_+_" and checked.types[node].name in _NESTING
        large = node.function in REGEX_FUNCTIONS and not _small_pattern(node)
        return joins or large or node.function == "format"
    return isinstance(node, _BUILDING) and any(map(_nests, checked.types[node].params))


def _small_pattern(node: Call) -> bool:
    """Tell whether a call has a pattern that takes no longer than its length lets expect."""
    pattern = node.args[-1] if node.function != "findAll" or len(node.args) < 2 else node.args[0]
    text = pattern.value if isinstance(pattern, Literal) else None
    return isinstance(text, str) and len(text) < _SHORT and program_size(text) < _SMALL


def _nests(kind: Type) -> bool:
    return kind.is_variable or kind.name in _NESTING or any(map(_nests, kind.params))
