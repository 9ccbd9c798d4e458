# SPDX-License-Identifier: Apache-2.0
"""How long something must rest before it is tried once more.

Decides a pause for each key: none before the first try, then twice as long each time, up to a
limit. Forgets a key that was quiet for long enough. Reads no clock: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_SECONDS = 1.0
MOST_SECONDS = 60.0
QUIET_SECONDS = 600.0
"""A key that was not tried for so long begins anew."""
SWEEP_ABOVE = 1024
"""So many keys are kept before those that were quiet are looked for."""


@dataclass(slots=True)
class _Tries:
    count: int
    last: float


class Backoff(Generic[K]):
    """Pauses by key; ``now`` is in seconds of any clock that never goes back."""

    __slots__ = ("_first", "_most", "_quiet", "_tries")

    def __init__(
        self,
        first: float = FIRST_SECONDS,
        most: float = MOST_SECONDS,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._first = first
        self._most = most
        self._quiet = quiet
        self._tries: dict[K, _Tries] = {}

    def pause(self, key: K, now: float) -> float:
        """Return the seconds until ``key`` may be tried; 0 if it may be tried now."""
        tries = self._tries.get(key)
        if tries is None or self._is_over(tries, now):
            return 0.0
        rest = min(self._most, self._first * 2.0 ** (tries.count - 1))
        return max(0.0, tries.last + rest - now)

    def tried(self, key: K, now: float) -> None:
        """Note that ``key`` is being tried."""
        tries = self._tries.get(key)
        if tries is None or self._is_over(tries, now):
            self._sweep(now)
            self._tries[key] = _Tries(1, now)
        else:
            # Counted no further than matters: a power of two must not overflow.
            tries.count = min(tries.count + 1, 64)
            tries.last = now

    def __len__(self) -> int:
        """Return how many keys are remembered."""
        return len(self._tries)

    def forget(self, key: K) -> None:
        """Let ``key`` begin anew."""
        self._tries.pop(key, None)

    def _is_over(self, tries: _Tries, now: float) -> bool:
        return now - tries.last > self._quiet

    def _sweep(self, now: float) -> None:
        if len(self._tries) > SWEEP_ABOVE:
            for key in [key for key, tries in self._tries.items() if self._is_over(tries, now)]:
                del self._tries[key]
