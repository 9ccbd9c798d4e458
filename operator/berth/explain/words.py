# SPDX-License-Identifier: Apache-2.0
"""Numbers, lists of names and amounts as text, the same in every sentence.

Decides no content; same input, same text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MAX_NAMES = 4
"""A list of more items says how many were left out."""
MAX_EXPRESSION = 160
"""Longer expressions are cut; the whole one is in the claim or class."""
RUN = 3
"""So many names in a row, as ``gpu-0``, ``gpu-1``, ``gpu-2``, are written as a range."""

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>0|[1-9][0-9]*)")
_BYTE_RESOURCES = frozenset({"memory", "ephemeral-storage"})
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def plural(count: int, noun: str) -> str:
    """Return ``1 device`` or ``2 devices``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def verb(count: int, singular: str, other: str) -> str:
    """Return the form of a verb that goes with ``count``."""
    return singular if count == 1 else other


def name_list(names: Sequence[str], limit: int = MAX_NAMES) -> str:
    """Return names joined by commas: runs of numbered names as a range, a long list cut.

    Args:
        names: Unique names in their order; not sorted here.
        limit: How many items, ranges counted once, are written out.
    """
    items = _runs(names)
    text = ", ".join(item for item, _ in items[:limit])
    left_out = sum(size for _, size in items[limit:])
    return f"{text} and {left_out} more" if left_out else text


def _runs(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return the items to write, each with the number of names that it stands for."""
    items: list[tuple[str, int]] = []
    start = 0
    while start < len(names):
        end = start + 1
        while end < len(names) and _follows(names[end - 1], names[end]):
            end += 1
        if end - start >= RUN:
            items.append((f"{names[start]} … {names[end - 1]}", end - start))
        else:
            items.extend((name, 1) for name in names[start:end])
        start = end
    return items


def _follows(first: str, second: str) -> bool:
    one, two = _NUMBERED.fullmatch(first), _NUMBERED.fullmatch(second)
    return (
        one is not None
        and two is not None
        and one["stem"] == two["stem"]
        and int(one["number"]) + 1 == int(two["number"])
    )


def expression_text(expression: str) -> str:
    """Return a CEL expression on one line, cut where it is very long."""
    line = " ".join(expression.split())
    return line if len(line) <= MAX_EXPRESSION else f"{line[: MAX_EXPRESSION - 1]}…"


def amount(resource: str, units: int) -> str:
    """Return an amount of a node resource as a user writes it: ``1500m``, ``16Gi``, ``3``.

    Args:
        resource: The resource's name; ``cpu`` is counted in milli-units, all else in units.
        units: The amount; may be negative.
    """
    if resource == "cpu":
        return str(units // 1000) if units % 1000 == 0 else f"{units}m"
    if resource not in _BYTE_RESOURCES:
        return str(units)
    step = 0
    while units and units % 1024 == 0 and step + 1 < len(_BINARY_SUFFIXES):
        units, step = units // 1024, step + 1
    return f"{units}{_BINARY_SUFFIXES[step]}"
