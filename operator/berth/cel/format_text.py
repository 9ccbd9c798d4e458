# SPDX-License-Identifier: Apache-2.0
"""``format`` and ``strings.quote``: texts of values.

Source: cel-go ``ext/formatting.go`` and ``ext/strings.go``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from berth.cel.library_convert import double_text
from berth.cel.library_standard import limited
from berth.cel.values import CelType, Uint
from berth.errors import CelRuntimeError

_CLAUSE = re.compile(r"%(?:(%)|(?:\.([0-9]+))?([a-zA-Z])?)")
_MAX_PRECISION = 1000
_DEFAULT_PRECISION = 6
_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def quote(text: str) -> str:
    """Return ``text`` in double quotes with its special characters escaped."""
    return f'"{"".join(_QUOTED.get(character, character) for character in text)}"'


def format_text(template: str, args: tuple[Any, ...]) -> str:
    """Return ``template`` with its clauses (``%s``, ``%d``, ``%.2f``, …) replaced by ``args``."""
    parts: list[str] = []
    end = 0
    used = 0
    for match in _CLAUSE.finditer(template):
        parts.append(template[end : match.start()])
        end = match.end()
        if match[1]:
            parts.append("%")
            continue
        if used >= len(args):
            raise CelRuntimeError(f"index {used} out of range")
        parts.append(_clause(match[3] or "", match[2], args[used]))
        used += 1
        limited(sum(map(len, parts)))
    parts.append(template[end:])
    return "".join(parts)


def _clause(verb: str, precision: str | None, value: Any) -> str:
    digits = _DEFAULT_PRECISION if precision is None else int(precision[:6])
    if digits > _MAX_PRECISION:
        raise CelRuntimeError(f"precision {precision} is greater than {_MAX_PRECISION}")
    if verb in ("e", "f"):
        return _float_clause(verb, digits, value)
    formatter = _VERBS.get(verb)
    if formatter is None:
        raise CelRuntimeError(f'could not parse formatting clause: unrecognized "{verb}"')
    return formatter(value)


def _string(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if kind in (int, Uint):
        return str(int(value))
    if kind is float:
        return _special(value) or double_text(value)
    if kind is bytes:
        return str(value.decode(errors="replace"))
    if kind is CelType:
        return str(value.name)
    if kind is tuple:
        return f"[{', '.join(map(_string, value))}]"
    if isinstance(value, dict):
        entries = sorted((_string(key), _string(item)) for key, item in value.items())
        return "{" + ", ".join(f"{key}: {item}" for key, item in entries) + "}"
    raise CelRuntimeError("no matching overload for string conversion in `format`")


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return ""


def _decimal(value: Any) -> str:
    if type(value) in (int, Uint):
        return str(int(value))
    if type(value) is float and _special(value):
        return _special(value)
    raise CelRuntimeError("decimal clause can only be used on integers")


def _binary(value: Any) -> str:
    if type(value) in (int, Uint, bool):
        return format(int(value), "b")
    raise CelRuntimeError("only integers and bools can be formatted as binary")


def _octal(value: Any) -> str:
    if type(value) in (int, Uint):
        return format(int(value), "o")
    raise CelRuntimeError("octal clause can only be used on integers")


def _hex(value: Any) -> str:
    if type(value) in (int, Uint):
        return format(int(value), "x")
    if type(value) is str:
        return str(value.encode().hex())
    if type(value) is bytes:
        return str(value.hex())
    raise CelRuntimeError("only integers, byte buffers, and strings can be formatted as hex")


def _float_clause(verb: str, digits: int, value: Any) -> str:
    if type(value) is str and value in ("NaN", "Infinity", "-Infinity"):
        return str(value)
    if type(value) not in (float, int, Uint):
        raise CelRuntimeError("fixed-point and scientific clauses can only be used on numbers")
    number = float(value)
    return _special(number) or format(number, f".{digits}{verb}")


_VERBS: dict[str, Callable[[Any], str]] = {
    "s": _string,
    "d": _decimal,
    "b": _binary,
    "o": _octal,
    "x": _hex,
    "X": lambda value: _hex(value).upper(),
}
