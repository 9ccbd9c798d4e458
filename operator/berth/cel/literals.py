# SPDX-License-Identifier: Apache-2.0
"""Decodes the literals of CEL: numbers, and strings and bytes with their escapes.

Source: CEL language definition, "Values" and "String and Bytes Values".
"""

from __future__ import annotations

import re

from berth.cel.values import MAX_INT, MAX_UINT, Uint

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})"
    r"|([0-3][0-7]{2})|(.?))",
    re.DOTALL,
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class LiteralError(ValueError):
    """A literal that has the form of one, but no value."""


def decode_int(text: str, *, negative: bool) -> int:
    """Return the value of an int literal; the sign is given apart."""
    value = _digits(text)
    if value > MAX_INT + negative:
        raise LiteralError(f"`{'-' if negative else ''}{text}` does not fit an int of 64 bits")
    return -value if negative else value


def decode_uint(text: str) -> Uint:
    """Return the value of a uint literal, which ends in ``u``."""
    value = _digits(text[:-1])
    if value > MAX_UINT:
        raise LiteralError(f"`{text}` does not fit a uint of 64 bits")
    return Uint(value)


def decode_float(text: str) -> float:
    """Return the value of a double literal."""
    value = float(text)
    if value == float("inf"):
        raise LiteralError(f"`{text}` is out of the range of a double")
    return value


def decode_string(text: str) -> str:
    """Return the value of a string literal with its quotes and prefix."""
    raw, body = _body(text)
    if raw:
        return body
    return _ESCAPE.sub(_unescape, body) if "\\" in body else body


def decode_bytes(text: str) -> bytes:
    """Return the value of a bytes literal; escapes by number are bytes, the rest is UTF-8."""
    raw, body = _body(text.replace("b", "", 1) if text[0] == "b" else _drop_b(text))
    if raw or "\\" not in body:
        return _utf8(body)
    parts: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(body):
        parts.append(_utf8(body[end : match.start()]))
        end = match.end()
        if match[3] or match[4]:
            raise LiteralError(f"`{match[0]}` is not allowed in bytes")
        number = int(match[2], 16) if match[2] else int(match[5], 8) if match[5] else -1
        parts.append(bytes([number]) if number >= 0 else _utf8(_unescape(match)))
    parts.append(_utf8(body[end:]))
    return b"".join(parts)


def _digits(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text, 16)
    digits = text.lstrip("0") or "0"
    # Longer ones fit no integer of CEL, and Python limits how many digits it reads.
    return int(digits) if len(digits) <= 20 else MAX_UINT * MAX_UINT


def _drop_b(text: str) -> str:
    position = min(i for i in (text.find("b"), text.find("B")) if i >= 0)
    return text[:position] + text[position + 1 :]


def _body(text: str) -> tuple[bool, str]:
    raw = text[0] in "rR"
    if raw:
        text = text[1:]
    width = 3 if text[:3] in ('"""', "'''") and len(text) >= 6 else 1
    body = text[width:-width]
    if width == 3:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    return raw, body


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise LiteralError("the literal holds half of a surrogate pair") from None


def _unescape(match: re.Match[str]) -> str:
    if match[1]:
        return _SIMPLE.get(match[1], match[1])
    if match[6] is not None:
        raise LiteralError(f"`{match[0]}` is no escape sequence")
    code = int(match[5], 8) if match[5] else int(match[2] or match[3] or match[4], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise LiteralError(f"`{match[0]}` is no Unicode character")
    return chr(code)
