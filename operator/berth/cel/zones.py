# SPDX-License-Identifier: Apache-2.0
"""How far a named time zone is ahead of UTC at a point in time.

The one place where an expression's answer comes from files: the time zone database, read by the
standard library when a zone is first named, from the system or from the ``tzdata`` package. It is
part of the dialect as Go's is, holds nothing of this machine's own zone, and tells no time.

Source: CEL language definition, "Timestamps and Durations"; Go ``time.LoadLocation``.
"""

from __future__ import annotations

import functools
import zoneinfo
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = int((datetime(1, 1, 3, tzinfo=UTC) - _EPOCH).total_seconds())
_LAST = int((datetime(9999, 12, 29, tzinfo=UTC) - _EPOCH).total_seconds())


class UnknownZoneError(ValueError):
    """A name that the time zone database does not have."""


def named_offset(zone: str, seconds: int) -> int:
    """Return the seconds that ``zone`` is ahead of UTC.

    Args:
        zone: A name such as ``Europe/Berlin``.
        seconds: The point in time, in seconds since 1970-01-01T00:00:00Z.

    Raises:
        UnknownZoneError: If there is no such zone.
    """
    info = _known(zone)
    if info is None:
        raise UnknownZoneError(f"unknown time zone `{zone[:64]}`")
    # At the very ends of the calendar the local time would have no year.
    moment = _EPOCH + timedelta(seconds=min(max(seconds, _FIRST), _LAST))
    offset = moment.astimezone(info).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


@functools.lru_cache(maxsize=1024)
def _known(zone: str) -> zoneinfo.ZoneInfo | None:
    # To look for a file that is not there takes long, and a loop may ask for it each time.
    try:
        return zoneinfo.ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return None
