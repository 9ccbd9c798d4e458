# SPDX-License-Identifier: Apache-2.0
"""Bounds what costs nothing upstream but takes time all the same.

Some steps are free in upstream's count, whatever they do: a term of ``&&``, an item that a filter
leaves out, a comparison of lists inside of lists. An expression made of them would run for hours
at no cost. They are counted here, and end the evaluation far beyond what any selector needs.

Decides nothing about what an evaluation costs. Source: no counterpart upstream, which leaves it to
the caller to give up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from berth.cel.library_regex import program_size
from berth.cel.syntax import Span
from berth.cel.values import CelAbortError, DomainMap, Optional

MOST: Final = 250_000
"""Free steps that one evaluation may take."""

TOO_LONG: Final = "the evaluation takes too many steps that cost nothing"
RAISED: Final = 4
"""Steps that an error counts for which had to be raised."""

SLOW: Final = 4
"""Steps that a call of a function counts for which is not in ``QUICK``."""

SLOWER: Final = frozenset(
    (
        *("ip", "isIP", "ip.isCanonical", "cidr", "isCIDR", "containsIP", "containsCIDR"),
        *("url", "isURL", "timestamp", "format", "validate"),
    )
)
"""Functions of which a call counts for four times as many."""

QUICK: Final = frozenset(
    (
        *("!_", "-_", "_+_", "_-_", "_*_", "_/_", "_%_", "_<_", "_<=_", "_>_", "_>=_", "@in"),
        *("size", "type", "dyn", "contains", "startsWith", "endsWith", "charAt"),
        *("optional.of", "optional.none", "hasValue", "value", "first", "last", "lists.range"),
        *("add", "sub", "compareTo", "isGreaterThan", "isLessThan", "sign", "isInteger"),
        *("major", "minor", "patch", "family", "getScheme", "getHost"),
    )
)
"""Functions that take no longer than what they cost lets expect."""

_CONTAINERS = (tuple, dict)
NESTED = (tuple, dict, Optional)
"""Classes of values that have others inside."""
_NESTING = frozenset((*NESTED, DomainMap))
_COPIED = 5
"""As a power of two: items that are copied in the time of one step."""
_READ = 2
"""As a power of two: characters or items that are read in the time of one step."""
_MATCHED = 9
"""As a power of two: instructions of a pattern that are tried in the time of one step."""
_CLAUSE = 8
"""Steps that a clause of ``format`` counts for."""


def work(frame: Any, amount: int, span: Span | None) -> None:
    """Count free steps, which are at index 1 of the frame.

    Raises:
        CelAbortError: If there are too many of them now.
    """
    frame[1] += amount
    if frame[1] > MOST:
        raise CelAbortError(TOO_LONG, span)


def weigh(value: Any, frame: Any, span: Span | None) -> int:
    """Count the items at every depth of ``value`` as free steps, and return how many there are.

    Raises:
        CelAbortError: If there are too many of them.
    """
    if type(value) is Optional:
        value = value.value
    if not isinstance(value, _CONTAINERS):
        return 1
    total = 0
    pending: list[Any] = [value]
    room = MOST - frame[1]
    while pending:
        items = pending.pop()
        total += len(items) + 1
        if total > room:
            break
        inside = items if type(items) is tuple else items.values()
        if _NESTING.isdisjoint(map(type, inside)):
            continue
        for item in inside:
            kept = item.value if type(item) is Optional else item
            if isinstance(kept, _CONTAINERS):
                pending.append(kept)
    work(frame, total, span)
    return total


def _concatenated(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    if type(args[0]) is tuple:
        work(frame, (len(args[0]) + len(args[1])) >> _COPIED, span)


def _sought(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    if isinstance(args[0], _CONTAINERS):
        weigh(args[1], frame, span)


def _searched(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    weigh(args[0], frame, span)


def _each_with_each(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    """The first list is gone through once for each item of the last."""
    if not _NESTING.isdisjoint(map(type, args[0])):
        work(frame, weigh(args[0], frame, span) * len(args[-1]), span)


def _each_with_each_twice(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    _each_with_each(args, frame, span)
    _each_with_each(args[::-1], frame, span)


def _formatted(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    work(frame, args[0].count("%") * _CLAUSE, span)
    weigh(args[1], frame, span)


def _joined(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    work(frame, len(args[0]) >> _READ, span)


def _matched(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    # A pattern with large repetitions takes that long for each character.
    work(frame, len(args[0]) * program_size(args[1]) >> _MATCHED, span)


def _matched_often(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    _matched(args, frame, span)
    # There may be a match at each character.
    work(frame, len(args[0]) * SLOW * 2, span)


def _taken_apart(args: Sequence[Any], frame: Any, span: Span | None) -> None:
    work(frame, len(args[0].text) >> _READ, span)


WEIGHTS: Mapping[str, Callable[[Sequence[Any], Any, Span | None], None]] = MappingProxyType(
    {
        "_+_": _concatenated,
        "@in": _sought,
        **dict.fromkeys(
            ("indexOf", "lastIndexOf", "includes", "flatten", "sum", "min", "max", "isSorted"),
            _searched,
        ),
        **dict.fromkeys(("distinct", "sets.contains", "sets.intersects"), _each_with_each),
        "sets.equivalent": _each_with_each_twice,
        "format": _formatted,
        "join": _joined,
        **dict.fromkeys(("matches", "find"), _matched),
        "findAll": _matched_often,
        **dict.fromkeys(
            ("getEscapedPath", "getHost", "getHostname", "getPort", "getQuery"), _taken_apart
        ),
    }
)
"""Counts the free steps of a call, by function; takes arguments of the right types."""
