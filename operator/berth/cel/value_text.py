# SPDX-License-Identifier: Apache-2.0
"""The text of a published value as an expression would write it, to be shown to people.

Versions and quantities are shown bare, as devices publish them. Never used by an expression.
"""

from __future__ import annotations

from typing import Any

from berth.cel.format_text import quote
from berth.cel.library_convert import double_text
from berth.cel.library_semver import Semver
from berth.cel.quantities import CelQuantity
from berth.quantity import NANO, Quantity, QuantityFormat

_KIBI = 1024


def value_text(value: Any) -> str:
    """Return the text of a value of a simple type, a version, a quantity or a list of them."""
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int():
            return str(value)
        case float():
            return double_text(value)
        case str():
            return quote(value)
        case tuple():
            return f"[{', '.join(map(value_text, value))}]"
        case Semver():
            return _version(value)
        case CelQuantity():
            # The notation is not kept; a multiple of 1024 was most likely written as one.
            binary = value.nanos % (_KIBI * NANO) == 0
            notation = QuantityFormat.BINARY_SI if binary else QuantityFormat.DECIMAL_SI
            return str(Quantity(value.nanos, notation))
        case _:
            return repr(value)


def _version(value: Semver) -> str:
    identifiers = [text or str(number) for _, number, text in value.key[4]]
    before = f"-{'.'.join(identifiers)}" if identifiers else ""
    return f"{value.major}.{value.minor}.{value.patch}{before}"
