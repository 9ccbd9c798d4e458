# SPDX-License-Identifier: Apache-2.0
"""Claims whose consumers come and go for ever: a livelock of other controllers, found.

Decides from the changes of ``status.reservedFor`` alone. Consumers that join or leave are no
sign; one that leaves and joins again, many times in seconds, is. Reads no clock, writes nothing.

Source: kubernetes issue 141274: kube-controller-manager reserves a claim for a finished pod and
drops the reservation again, where something keeps the claim allocated.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

RETURNS = 10
WINDOW_SECONDS = 10.0
QUIET_SECONDS = 600.0
"""After a claim was told of, it is told of again when it flaps after so long."""
MAX_CLAIMS = 1000


@dataclass(slots=True)
class _Track:
    left: set[str] = field(default_factory=set)
    returns: deque[float] = field(default_factory=lambda: deque(maxlen=RETURNS))
    told: float | None = None


class FlappingClaims:
    """Watches consumers of claims; remembers those of which one left last, up to a limit."""

    __slots__ = ("_claims",)

    def __init__(self) -> None:
        self._claims: OrderedDict[str, _Track] = OrderedDict()

    def changed(
        self, claim_uid: str, before: AbstractSet[str], after: AbstractSet[str], now: float
    ) -> bool:
        """Note a change of a claim's consumers, by uid; tell whether it has begun to flap."""
        gone = before - after
        track = self._claims.get(claim_uid)
        if track is None:
            if not gone:
                return False
            track = self._claims[claim_uid] = _Track()
            if len(self._claims) > MAX_CLAIMS:
                self._claims.popitem(last=False)
        self._claims.move_to_end(claim_uid)
        back = (after - before) & track.left
        track.left = (track.left | gone) - back
        if not back:
            return False
        track.returns.append(now)
        flaps = len(track.returns) == RETURNS and now - track.returns[0] <= WINDOW_SECONDS
        if not flaps or (track.told is not None and now - track.told < QUIET_SECONDS):
            return False
        track.told = now
        return True
