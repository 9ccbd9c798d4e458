# SPDX-License-Identifier: Apache-2.0
"""The false part of a selector in words: what a device has, and what the selector wants.

Decides the wording only; which part is false is found by ``berth.cel``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from berth.explain.conflict import FalsePart
from berth.explain.words import expression_text

MAX_VALUES = 3
"""So many different values are written out."""
MAX_PARTS = 2
"""So many false parts are told; one of them is enough for a selector to be false."""

_READ = re.compile(
    r"device\.(?P<kind>attributes|capacity)\[[^\]]*\]"
    r"(?:\.\??(?P<name>\w+)|\[\??[\"'](?P<key>[^\"']+)[\"']\])"
    r"(?P<default>\.orValue\([^()]*\))?"
)
_COMPARED = re.compile(
    r"\.compareTo\((?:quantity|semver)\([\"'](?P<amount>[^\"']+)[\"']\)\) "
    r"(?P<operator>==|!=|<|<=|>|>=) 0"
)
_OPERATORS = frozenset({"!=", "<", "<=", ">", ">=", "in"})
_KINDS = {"attributes": "attribute", "capacity": "capacity"}


def false_sentence(parts: Sequence[FalsePart]) -> str:
    """Say what is false: ``attribute model is "a100", selector wants "h100"``; or nothing."""
    return ", and ".join(_part(part) for part in parts[:MAX_PARTS])


def _part(part: FalsePart) -> str:
    wanted = f"`{expression_text(part.text)}`"
    if not part.values:
        return f"{wanted} is false"
    read = " and ".join(f"{_short(name)} is {_listed(values)}" for name, values in part.values)
    if len(part.values) == 1:
        wanted = _wanted(part.text, part.values[0][0]) or wanted
    return f"{read}, selector wants {wanted}"


def _wanted(text: str, name: str) -> str:
    """Return what a part asks of the one thing that it read; empty where that cannot be cut out."""
    if text == name:
        return "true"
    if not text.startswith(name):
        return ""
    rest = " ".join(text[len(name) :].split())
    compared = _COMPARED.fullmatch(rest)
    if compared is not None:
        return f"{compared['operator']} {compared['amount']}"
    operator, _, operand = rest.partition(" ")
    if operator == "==":
        return operand
    if operator in _OPERATORS:
        return f"`{rest}`"
    return f"`{rest[1:]}`" if rest.startswith(".") else ""


def _short(name: str) -> str:
    """Return ``attribute model`` for ``device.attributes["gpu.example.com"].model``."""
    if name == "device.driver":
        return "driver"
    found = _READ.fullmatch(name)
    if found is None:
        return f"`{expression_text(name)}`"
    return f"{_KINDS[found['kind']]} {found['name'] or found['key']}"


def _listed(values: Sequence[str]) -> str:
    shown = [expression_text(value) for value in values[:MAX_VALUES]]
    left_out = len(values) - len(shown)
    return " or ".join(shown) + (f" or {left_out} more" if left_out else "")
