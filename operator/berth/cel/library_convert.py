# SPDX-License-Identifier: Apache-2.0
"""Conversions between the simple types of CEL, and the texts of numbers as Go writes them.

Source: cel-go ``common/types`` (``ConvertToType``); Go ``strconv``.
"""

from __future__ import annotations

import math
import re
from typing import Any

from berth.cel.overloads import Overload, function
from berth.cel.types import BOOL, BYTES, DOUBLE, INT, STRING, UINT
from berth.cel.values import MAX_INT, MAX_UINT, MIN_INT, Uint, checked_int, checked_uint
from berth.errors import CelRuntimeError

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_HEX = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))
_MAX_DIGITS = 25
_EXPONENT_FORM = 6
"""Go writes the shortest form of a double with an exponent from 10^6 on."""


def double_text(value: float) -> str:
    """Return the shortest text of a double, in the form that Go's ``%g`` gives."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    shortest = repr(value)
    digits, _, shift = shortest.partition("e")
    sign = "-" if digits.startswith("-") else ""
    whole, _, fraction = digits.lstrip("-").partition(".")
    significant = (whole + fraction).lstrip("0").rstrip("0")
    if not significant:
        return f"{sign}0"
    exponent = len(whole) - 1 + int(shift or 0)
    if whole.strip("0") == "":
        exponent = -1 - (len(fraction) - len(fraction.lstrip("0"))) + int(shift or 0)
    if -4 <= exponent < _EXPONENT_FORM:
        return sign + _plain(significant, exponent)
    tail = f".{significant[1:]}" if len(significant) > 1 else ""
    return f"{sign}{significant[0]}{tail}e{'+' if exponent >= 0 else '-'}{abs(exponent):02d}"


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    if len(digits) <= exponent + 1:
        return digits + "0" * (exponent + 1 - len(digits))
    return f"{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


def _int_from_text(text: str) -> int:
    if _WHOLE.fullmatch(text) is None or len(text) > _MAX_DIGITS + text.count("0"):
        raise CelRuntimeError("type conversion error: the text is no int")
    return checked_int(_bounded(text))


def _uint_from_text(text: str) -> Uint:
    if _WHOLE.fullmatch(text) is None or text[0] in "+-":
        raise CelRuntimeError("type conversion error: the text is no uint")
    return checked_uint(_bounded(text))


def _bounded(text: str) -> int:
    digits = text.lstrip("+-").lstrip("0") or "0"
    value = int(digits) if len(digits) <= _MAX_DIGITS else MAX_UINT + 1
    return -value if text[0] == "-" else value


def _double_from_text(text: str) -> float:
    if _SPECIAL.fullmatch(text) or _DECIMAL.fullmatch(text):
        value = float(text)
        if math.isinf(value) and not _SPECIAL.fullmatch(text):
            raise CelRuntimeError("type conversion error: the number is out of range")
        return value
    if _HEX.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            raise CelRuntimeError("type conversion error: the number is out of range") from None
    raise CelRuntimeError("type conversion error: the text is no double")


def _int_from_double(value: float) -> int:
    # The bounds themselves are excluded, as upstream does: 2^63 is no int.
    if not MIN_INT < value < MAX_INT:
        raise CelRuntimeError("integer overflow")
    return int(value)


def _uint_from_double(value: float) -> Uint:
    if not 0 <= value < MAX_UINT:
        raise CelRuntimeError("unsigned integer overflow")
    return Uint(int(value))


def _bool_from_text(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise CelRuntimeError("type conversion error: the text is no bool")


def _text_from_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise CelRuntimeError("invalid UTF-8 in bytes, cannot convert to string") from None


def _text_from_number(value: int) -> str:
    return str(int(value))


def _text_from_bool(value: Any) -> str:
    return "true" if value else "false"


def _same(value: Any) -> Any:
    return value


OVERLOADS: tuple[Overload, ...] = (
    function("bool", (BOOL,), BOOL, _same),
    function("bool", (STRING,), BOOL, _bool_from_text),
    function("bytes", (BYTES,), BYTES, _same),
    function("bytes", (STRING,), BYTES, str.encode),
    function("double", (DOUBLE,), DOUBLE, _same),
    function("double", (INT,), DOUBLE, float),
    function("double", (STRING,), DOUBLE, _double_from_text),
    function("double", (UINT,), DOUBLE, float),
    function("int", (INT,), INT, _same),
    function("int", (DOUBLE,), INT, _int_from_double),
    function("int", (STRING,), INT, _int_from_text),
    function("int", (UINT,), INT, lambda value: checked_int(int(value))),
    function("uint", (UINT,), UINT, _same),
    function("uint", (DOUBLE,), UINT, _uint_from_double),
    function("uint", (INT,), UINT, checked_uint),
    function("uint", (STRING,), UINT, _uint_from_text),
    function("string", (STRING,), STRING, _same),
    function("string", (BOOL,), STRING, _text_from_bool),
    function("string", (BYTES,), STRING, _text_from_bytes),
    function("string", (DOUBLE,), STRING, double_text),
    function("string", (INT,), STRING, _text_from_number),
    function("string", (UINT,), STRING, _text_from_number),
)
