# SPDX-License-Identifier: Apache-2.0
"""Texts out of API objects as they may be shown, and times as numbers.

Decides no content. Dumps come from anywhere, and field managers and consumers have free names: a
control character in one of them must not reach a terminal, a log or an event.

Source: ``meta/v1`` Time.
"""

from __future__ import annotations

import re

_MOMENT = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?Z"
)
_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def printable(text: str) -> str:
    """Return ``text`` with everything that is no visible character or blank written as escapes.

    Marks that turn the direction of writing count as invisible.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def seconds_of(moment: str) -> int | None:
    """Return the seconds since 1970 of a time as the API stores it, ``None`` where it is none."""
    match = _MOMENT.fullmatch(moment)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    # Days of the Gregorian calendar, with the year beginning in March: then a leap day is last.
    year -= month <= 2  # noqa: PLR2004 - January and February belong to the year before
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = year * 365 + year // 4 - year // 100 + year // 400 + day_of_year - 719_468
    return days * 86_400 + hour * 3600 + minute * 60 + second


def is_long_ago(moment: str, now: int, seconds: int) -> bool:
    """Tell whether ``moment`` is at least ``seconds`` ago; a time that is not told counts so."""
    then = seconds_of(moment)
    return then is None or now - then >= seconds


def age(moment: str, now: int) -> str:
    """Return ``, for 3 hours`` in the largest unit that fits; empty where the time is not told."""
    then = seconds_of(moment)
    if then is None or now <= then:
        return ""
    size, unit = next(each for each in _UNITS if now - then >= each[0])
    count = (now - then) // size
    return f" for {count} {unit}{'' if count == 1 else 's'}"
