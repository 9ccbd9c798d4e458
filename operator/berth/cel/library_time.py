# SPDX-License-Identifier: Apache-2.0
"""Durations and timestamps.

Time zones are UTC, a fixed offset such as ``+02:00``, or a name that ``berth.cel.zones`` knows.
Fields of a duration are totals, as in cel-go.

Source: CEL language definition, "Timestamps and Durations"; Go ``time``; RFC 3339.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from berth.cel.library_standard import timestamp
from berth.cel.overloads import Overload, function, member
from berth.cel.types import DURATION, INT, STRING, TIMESTAMP
from berth.cel.values import MAX_INT, MIN_INT, Duration, Timestamp
from berth.cel.zones import UnknownZoneError, named_offset
from berth.errors import CelRuntimeError

_SECOND = 10**9
_DAY = 86_400
_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": _SECOND,
    "m": 60 * _SECOND,
    "h": 3600 * _SECOND,
}
_TERM = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_OFFSET = re.compile(r"([+-]?)([0-9]{1,2}):([0-9]{1,2})")
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _duration(text: str) -> Duration:
    body = text.lstrip("+-")
    if len(text) - len(body) > 1 or len(body) > 256:
        raise CelRuntimeError(f"`{text[:64]}` is no duration")
    if body == "0":
        return Duration(0)
    nanos, position = 0, 0
    while match := _TERM.match(body, position):
        whole, fraction = match[1], match[2] or ""
        if not whole and not fraction:
            break
        unit = _UNITS[match[3]]
        nanos += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
        position = match.end()
    if not position or position != len(body):
        raise CelRuntimeError(f"`{text[:64]}` is no duration")
    return _bounded(-nanos if text[0] == "-" else nanos)


def _bounded(nanos: int) -> Duration:
    if not MIN_INT <= nanos <= MAX_INT:
        raise CelRuntimeError("duration overflow")
    return Duration(nanos)


def _timestamp(text: str) -> Timestamp:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise CelRuntimeError(f"`{text[:64]}` is no timestamp of the form of RFC 3339")
    year, month, day, hour, minute, second = (int(part) for part in match.group(1, 2, 3, 4, 5, 6))
    if not _is_day(year, month, day) or hour > 23 or minute > 59 or second > 59:
        raise CelRuntimeError(f"`{text[:64]}` is no timestamp: a part is out of range")
    offset = 0
    if match[8]:
        if int(match[9]) > 24 or int(match[10]) > 60:
            raise CelRuntimeError(f"`{text[:64]}` is no timestamp: the offset is out of range")
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        offset = -offset if match[8] == "-" else offset
    seconds = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - offset
    fraction = int(f"{match[7] or '':0<9}"[:9])
    return timestamp(seconds * _SECOND + fraction)


def is_date(text: str) -> bool:
    """Tell whether ``text`` is a day such as ``2024-02-29``."""
    match = _DATE.fullmatch(text)
    return match is not None and _is_day(int(match[1]), int(match[2]), int(match[3]))


def _is_day(year: int, month: int, day: int) -> bool:
    if not 1 <= month <= 12:
        return False
    leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 1 <= day <= _MONTH_LENGTHS[month - 1] + leap


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 in the Gregorian calendar."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    return era * 146_097 + day_of_era - 719_468


def _date(days: int) -> tuple[int, int, int]:
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return year, month, day_of_year - (153 * shifted + 2) // 5 + 1


def _offset(zone: str, seconds: int) -> int:
    if zone in ("", "UTC"):
        return 0
    match = _OFFSET.fullmatch(zone)
    if match is None:
        try:
            return named_offset(zone, seconds)
        except UnknownZoneError as error:
            raise CelRuntimeError(str(error)) from None
    offset = int(match[2]) * 3600 + int(match[3]) * 60
    return -offset if match[1] == "-" else offset


def _fields(moment: Timestamp, zone: str) -> tuple[int, int]:
    seconds = moment.nanos // _SECOND
    return divmod(seconds + _offset(zone, seconds), _DAY)


def _year(moment: Timestamp, zone: str = "") -> int:
    return _date(_fields(moment, zone)[0])[0]


def _month(moment: Timestamp, zone: str = "") -> int:
    return _date(_fields(moment, zone)[0])[1] - 1


def _day(moment: Timestamp, zone: str = "") -> int:
    return _date(_fields(moment, zone)[0])[2]


def _day_from_zero(moment: Timestamp, zone: str = "") -> int:
    return _day(moment, zone) - 1


def _day_of_week(moment: Timestamp, zone: str = "") -> int:
    return (_fields(moment, zone)[0] + 4) % 7


def _day_of_year(moment: Timestamp, zone: str = "") -> int:
    days = _fields(moment, zone)[0]
    return days - _days(_date(days)[0], 1, 1)


def _hours(moment: Timestamp, zone: str = "") -> int:
    return _fields(moment, zone)[1] // 3600


def _minutes(moment: Timestamp, zone: str = "") -> int:
    return _fields(moment, zone)[1] // 60 % 60


def _seconds(moment: Timestamp, zone: str = "") -> int:
    return _fields(moment, zone)[1] % 60


def _milliseconds(moment: Timestamp, zone: str = "") -> int:
    _fields(moment, zone)
    return moment.nanos % _SECOND // 10**6


def _total(unit: int) -> Callable[[Duration], int]:
    def body(span: Duration) -> int:
        total = abs(span.nanos) // unit
        return -total if span.nanos < 0 else total

    return body


def _duration_text(span: Duration) -> str:
    whole, rest = divmod(abs(span.nanos), _SECOND)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{'-' if span.nanos < 0 else ''}{whole}{fraction}s"


def _timestamp_text(moment: Timestamp) -> str:
    days, seconds = _fields(moment, "")
    year, month, day = _date(days)
    rest = moment.nanos % _SECOND
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}{fraction}Z"


def _accessors(name: str, body: Callable[..., int]) -> tuple[Overload, Overload]:
    return (
        member(name, (TIMESTAMP,), INT, body),
        member(name, (TIMESTAMP, STRING), INT, body),
    )


OVERLOADS: tuple[Overload, ...] = (
    function("duration", (DURATION,), DURATION, lambda span: span),
    function("duration", (INT,), DURATION, Duration),
    function("duration", (STRING,), DURATION, _duration),
    function("timestamp", (TIMESTAMP,), TIMESTAMP, lambda moment: moment),
    function("timestamp", (INT,), TIMESTAMP, lambda seconds: timestamp(seconds * _SECOND)),
    function("timestamp", (STRING,), TIMESTAMP, _timestamp),
    function("int", (DURATION,), INT, lambda span: span.nanos),
    function("int", (TIMESTAMP,), INT, lambda moment: moment.nanos // _SECOND),
    function("string", (DURATION,), STRING, _duration_text),
    function("string", (TIMESTAMP,), STRING, _timestamp_text),
    *_accessors("getFullYear", _year),
    *_accessors("getMonth", _month),
    *_accessors("getDate", _day),
    *_accessors("getDayOfMonth", _day_from_zero),
    *_accessors("getDayOfWeek", _day_of_week),
    *_accessors("getDayOfYear", _day_of_year),
    *_accessors("getHours", _hours),
    *_accessors("getMinutes", _minutes),
    *_accessors("getSeconds", _seconds),
    *_accessors("getMilliseconds", _milliseconds),
    member("getHours", (DURATION,), INT, _total(3600 * _SECOND)),
    member("getMinutes", (DURATION,), INT, _total(60 * _SECOND)),
    member("getSeconds", (DURATION,), INT, _total(_SECOND)),
    member("getMilliseconds", (DURATION,), INT, _total(10**6)),
)
