# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: the order in which pods are decided, fair between namespaces.

Decides by priority, then by what a namespace has cost lately, then by creation and uid. The same
pods and costs give the same order. Never decides about a pod, reads no clock: times and costs are
given.

Source: ``docs/adr/0013-fair-between-namespaces.md``.
"""

from __future__ import annotations

import heapq
import math
from typing import NamedTuple

from berth.model.pods import Pod, PodKey

HALF_LIFE_SECONDS = 5.0
"""After so long, time that was spent counts half."""
ALLOWANCE_SECONDS = 0.25
"""What a namespace may spend before it comes behind others; each doubling is one step further."""
PACE = 9.0
"""Part of the time, as its inverse, that "no" after "no" to one namespace may take from others."""
BESIDE_HALF_LIFE_SECONDS = 60.0
"""The same as `HALF_LIFE_SECONDS` for work in threads, which slows down everything else."""
BESIDE_PACE = 50.0
"""The same as `PACE` for work in threads."""
RECENT_SECONDS = 2.0
"""Who was decided for within this time counts as others at work."""
SOON_SECONDS = 1e-6
"""Less than this is no time to wait; sums of floating-point numbers never come out even."""
MANY = 256
"""So many accounts are kept before those that have run out are looked for."""
FORGOTTEN = 0.001
"""Seconds; a namespace that has this little on its account has no account."""


class Spent:
    """Seconds spent for each namespace, old ones counting less and less."""

    __slots__ = ("_accounts", "_half_life", "_kept")

    def __init__(self, half_life: float = HALF_LIFE_SECONDS) -> None:
        self._half_life = half_life
        self._kept = MANY
        self._accounts: dict[str, tuple[float, float]] = {}

    def of(self, namespace: str, now: float) -> float:
        """Return what counts of the time that was spent for ``namespace``."""
        seconds, when = self._accounts.get(namespace, (0.0, now))
        return seconds * math.pow(0.5, (now - when) / self._half_life)

    def level(self, namespace: str, now: float) -> int:
        """Return 0 for a namespace within its allowance, one more for each doubling above."""
        spent = self.of(namespace, now) / ALLOWANCE_SECONDS
        return 0 if spent <= 1 else 1 + int(math.log2(spent))

    def charge(self, namespace: str, seconds: float, now: float) -> None:
        """Add ``seconds`` that ended at ``now``."""
        self._accounts[namespace] = (self.of(namespace, now) + seconds, now)
        if len(self._accounts) > 2 * self._kept:
            self._forget_old(now)
            self._kept = max(MANY, len(self._accounts))

    def others_since(self, namespace: str, when: float) -> bool:
        """Tell whether another namespace was charged since ``when``."""
        return any(
            charged >= when for name, (_, charged) in self._accounts.items() if name != namespace
        )

    def _forget_old(self, now: float) -> None:
        """Drop the accounts that have run out, so that their number stays bounded."""
        gone = [name for name in self._accounts if self.of(name, now) < FORGOTTEN]
        for name in gone:
            if now - self._accounts[name][1] > RECENT_SECONDS:
                del self._accounts[name]


class Shares:
    """What decisions have cost lately, and what follows for whose turn it is.

    Namespaces above their allowance of "no" after "no" together have a turn only now and then while
    others are at work. ``beside`` makes an account for work beside decisions: it neither changes
    their order nor delays them, and has its turn while those of ``beside`` are at work.
    """

    __slots__ = ("_is_beside", "_not_before", "_wasted", "spent")

    def __init__(self, beside: Shares | None = None) -> None:
        self._is_beside = beside is not None
        self.spent: Spent = Spent() if beside is None else beside.spent
        self._wasted = Spent() if beside is None else Spent(BESIDE_HALF_LIFE_SECONDS)
        self._not_before = 0.0

    def charge(self, namespace: str, seconds: float, now: float, *, wasted: bool) -> None:
        """Charge a namespace for work that ended at ``now``; ``wasted`` if it was a "no"."""
        if not self._is_beside:
            self.spent.charge(namespace, seconds, now)
        if wasted:
            self._wasted.charge(namespace, seconds, now)
            if self.is_over(namespace, now):
                self._not_before = now + seconds * (BESIDE_PACE if self._is_beside else PACE)

    def is_over(self, namespace: str, now: float) -> bool:
        """Tell whether a namespace has had more "no" lately than its allowance covers."""
        return self._wasted.level(namespace, now) > 0

    def pause(self, namespace: str, now: float) -> float:
        """Return the seconds until a namespace may have its turn."""
        left = self._not_before - now
        if left < SOON_SECONDS or not self.is_over(namespace, now):
            return 0.0
        return left if self.spent.others_since(namespace, now - RECENT_SECONDS) else 0.0


class Order(NamedTuple):
    """The order of pods of one namespace and one priority."""

    created: str
    uid: str
    key: PodKey


class FairQueue:
    """The pods that are to be decided; each is in it once.

    At equal priority the namespace that has spent least has its turn, in steps of doubles, and
    among those of the same step the pod that was created first.
    """

    __slots__ = ("_heaps", "_queued", "_shares")

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._queued: dict[PodKey, tuple[int, Order]] = {}
        self._heaps: dict[int, dict[str, list[Order]]] = {}

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, pod: Pod) -> None:
        """Enter a pod; one that is in it already has the place of what it is now."""
        place = (pod.priority, Order(pod.created, pod.uid, pod.key))
        if self._queued.get(pod.key) == place:
            return
        self._queued[pod.key] = place
        heap = self._heaps.setdefault(pod.priority, {}).setdefault(pod.namespace, [])
        heapq.heappush(heap, place[1])

    def discard(self, key: PodKey) -> None:
        """Take a pod out, if it is in it."""
        self._queued.pop(key, None)

    def take(self, now: float) -> PodKey | None:
        """Take out the pod whose turn it is; ``None`` where all that are left have to wait."""
        for priority in sorted(self._heaps, reverse=True):
            heaps = self._heaps[priority]
            ready = []
            for namespace in list(heaps):
                head = self._head(priority, namespace)
                if head is None:
                    del heaps[namespace]
                elif self._shares.pause(namespace, now) <= 0:
                    ready.append((self._shares.spent.level(namespace, now), head))
            if not heaps:
                del self._heaps[priority]
            if ready:
                _, order = min(ready)
                heapq.heappop(heaps[order.key.namespace])
                del self._queued[order.key]
                return order.key
        return None

    def pause(self, now: float) -> float | None:
        """Return the seconds until `take` has something to give; ``None`` where it is empty."""
        namespaces = {key.namespace for key in self._queued}
        return min((self._shares.pause(each, now) for each in namespaces), default=None)

    def _head(self, priority: int, namespace: str) -> Order | None:
        heap = self._heaps[priority][namespace]
        while heap and self._queued.get(heap[0].key) != (priority, heap[0]):
            heapq.heappop(heap)  # It was taken out, or has another place by now.
        return heap[0] if heap else None
