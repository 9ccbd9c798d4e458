# SPDX-License-Identifier: Apache-2.0
"""String functions: those of the standard library, and cel-go's strings extension, version 2.

Positions count characters, not bytes.

Source: cel-go ``ext/strings.go``; Go ``strings``.
"""

from __future__ import annotations

from berth.cel.format_text import format_text, quote
from berth.cel.library_standard import limited
from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, DYN, INT, STRING, list_of
from berth.errors import CelRuntimeError

_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + ("\u2028\u2029\u202f\u205f\u3000")
)
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}


def _char_at(text: str, position: int) -> str:
    _within(position, len(text))
    return text[position : position + 1]


def _within(position: int, last: int) -> None:
    if not 0 <= position <= last:
        raise CelRuntimeError(f"index out of range: {position}")


def _index_of(text: str, part: str, offset: int = 0) -> int:
    if not part:
        return offset
    if offset < 0:
        raise CelRuntimeError(f"index out of range: {offset}")
    return text.find(part, offset)


def _last_index_of(text: str, part: str) -> int:
    return text.rfind(part)


def _last_index_of_before(text: str, part: str, offset: int) -> int:
    if not part:
        return offset
    if offset < 0:
        raise CelRuntimeError(f"index out of range: {offset}")
    # From the end of the text on there is nothing to find, as upstream sees it.
    return -1 if offset >= len(text) else text.rfind(part, 0, offset + len(part))


def _join(parts: tuple[str, ...], separator: str = "") -> str:
    if any(type(part) is not str for part in parts):
        raise CelRuntimeError("no such overload: `join` of a list with other things than strings")
    limited(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old)
    limited(len(text) + max(0, (found if count < 0 else min(found, count)) * len(new)))
    return text.replace(old, new, max(count, -1))


def _split(text: str, separator: str) -> tuple[str, ...]:
    return tuple(text.split(separator)) if separator else tuple(text)


def _split_at_most(text: str, separator: str, count: int) -> tuple[str, ...]:
    if count < 0:
        return _split(text, separator)
    if count == 0:
        return ()
    if separator:
        return tuple(text.split(separator, min(count, len(text) + 1) - 1))
    if len(text) <= count:
        return tuple(text)
    return (*text[: count - 1], text[count - 1 :])


def _substring(text: str, start: int) -> str:
    _within(start, len(text))
    return text[start:]


def _substring_between(text: str, start: int, end: int) -> str:
    if start > end:
        raise CelRuntimeError(f"invalid substring range: start {start}, end {end}")
    _within(start, len(text))
    _within(end, len(text))
    return text[start:end]


OVERLOADS: tuple[Overload, ...] = (
    member("contains", (STRING, STRING), BOOL, lambda text, part: part in text),
    member("startsWith", (STRING, STRING), BOOL, str.startswith),
    member("endsWith", (STRING, STRING), BOOL, str.endswith),
    member("charAt", (STRING, INT), STRING, _char_at),
    member("format", (STRING, list_of(DYN)), STRING, format_text),
    member("indexOf", (STRING, STRING), INT, _index_of),
    member("indexOf", (STRING, STRING, INT), INT, _index_of),
    member("join", (list_of(STRING),), STRING, _join),
    member("join", (list_of(STRING), STRING), STRING, _join),
    member("lastIndexOf", (STRING, STRING), INT, _last_index_of),
    member("lastIndexOf", (STRING, STRING, INT), INT, _last_index_of_before),
    member("lowerAscii", (STRING,), STRING, lambda text: text.translate(_LOWER)),
    member("upperAscii", (STRING,), STRING, lambda text: text.translate(_UPPER)),
    member("replace", (STRING, STRING, STRING), STRING, _replace),
    member("replace", (STRING, STRING, STRING, INT), STRING, _replace),
    member("split", (STRING, STRING), list_of(STRING), _split),
    member("split", (STRING, STRING, INT), list_of(STRING), _split_at_most),
    member("substring", (STRING, INT), STRING, _substring),
    member("substring", (STRING, INT, INT), STRING, _substring_between),
    member("trim", (STRING,), STRING, lambda text: text.strip(_SPACE)),
    function("strings.quote", (STRING,), STRING, quote),
)
