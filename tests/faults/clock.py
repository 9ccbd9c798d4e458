# SPDX-License-Identifier: Apache-2.0
"""Runs Berth with a wall clock that can be stepped: ``python -m tests.faults.clock run``.

``time.time`` and ``datetime.now`` are ahead by the seconds in the file that
``BERTH_FAULTS_CLOCK`` names, if there is one. The monotonic clock is left alone, as a step of the
real clock leaves it.
"""

from __future__ import annotations

import datetime
import os
import runpy
import time
from pathlib import Path
from typing import Any

_REAL = datetime.datetime
_real_time = time.time
_LOOK_AGAIN = 0.05
_cached = (float("-inf"), 0.0)


def _offset() -> float:
    global _cached  # noqa: PLW0603 - one clock a process
    looked, value = _cached
    if time.monotonic() - looked > _LOOK_AGAIN:
        try:
            value = float(Path(os.environ.get("BERTH_FAULTS_CLOCK", "")).read_text() or 0)
        except (OSError, ValueError):
            value = 0.0
        _cached = (time.monotonic(), value)
    return value


class _Whatever(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _REAL)


class Stepped(_REAL, metaclass=_Whatever):
    """``datetime``, whose ``now`` is ahead; what it returns are ordinary ones."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _REAL.now(tz) + datetime.timedelta(seconds=_offset())


def install() -> None:
    time.time = lambda: _real_time() + _offset()
    datetime.datetime = Stepped  # type: ignore[misc] # that is the point


if __name__ == "__main__":
    install()
    runpy.run_module("berth", run_name="__main__", alter_sys=True)
