# SPDX-License-Identifier: Apache-2.0
"""Says why pods fit nowhere, beside the allocation and never in its way.

Decides when which pod is explained: after allocation work, one at a time, the longest waiting
first, and a pod again only after a while. The explanation itself is made by a thread on a copy
(``berth.inquiry``), so that the event loop turns meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from berth.controller.fairness import Shares
from berth.decision import NoFit, NotFound, why_not_fully
from berth.explain.conflict import Conflict
from berth.inquiry import Inquiry, answered, inquire
from berth.model.pods import Pod, PodKey
from berth.state.cluster import Cluster

AGAIN_SECONDS = 3.0
"""Least time between two explanations of one pod."""
REST = 2.0
"""After each explanation the thread rests so many times as long as it took."""
MOST_REST_SECONDS = 1.0
HARD_SECONDS = 0.1
"""Where the first search takes longer, the explanation would take seconds."""
MANY = 1000
"""So many namespaces are remembered with their last turn."""

log = structlog.get_logger("berth.explainer")


class Explainer:
    """Explains the pods that it is asked about, until they are forgotten.

    ``decided`` decides a pod anew, quickly; ``say`` is given the explanation, ``changed`` is
    called for a pod that has another verdict by now. ``shares`` tells whose namespace must wait.
    """

    def __init__(  # noqa: PLR0913 - whom it asks and tells, each named
        self,
        cluster: Cluster,
        *,
        decided: Callable[[Pod], object],
        say: Callable[[Pod, Conflict], None],
        changed: Callable[[PodKey], None],
        shares: Shares,
        budget: int,
    ) -> None:
        self._cluster = cluster
        self._shares = shares
        self._decided = decided
        self._say = say
        self._changed = changed
        self._budget = budget
        self._asked: dict[PodKey, None] = {}
        self._explained: dict[PodKey, float] = {}
        self._turns: dict[str, float] = {}
        self._work = asyncio.Event()
        self.idle = asyncio.Event()
        """Set while no allocation work waits; explanations are begun only then."""
        self.idle.set()

    def ask(self, key: PodKey) -> None:
        """Have the pod explained when its turn comes."""
        self._asked[key] = None
        self._work.set()

    def forget(self, key: PodKey) -> None:
        """Take back what was asked for; the pod is gone, or gets devices."""
        self._asked.pop(key, None)
        self._explained.pop(key, None)

    async def run(self) -> None:
        """Explain until cancelled."""
        while True:
            await self._work.wait()
            await self.idle.wait()
            wait = self._seconds_until_next()
            if wait is None:
                self._work.clear()
            elif wait > 0:
                await asyncio.sleep(wait)
            else:
                await self._explain_next()

    def _seconds_until_next(self) -> float | None:
        """Return how long nobody's turn comes; ``None`` where nobody asked."""
        now = time.monotonic()
        return min((self._wait_of(key, now) for key in self._asked), default=None)

    def _wait_of(self, key: PodKey, now: float) -> float:
        due = self._explained.get(key, 0.0) + AGAIN_SECONDS - now
        return max(due, self._shares.pause(key.namespace, now), 0.0)

    async def _explain_next(self) -> None:
        now = time.monotonic()
        # Namespaces take turns, so that one with many pods does not keep others from their answer.
        key = min(
            (key for key in self._asked if self._wait_of(key, now) <= 0),
            key=lambda each: self._turns.get(each.namespace, 0.0),
        )
        del self._asked[key]
        self._turns[key.namespace] = now
        if len(self._turns) > MANY:
            self._turns = dict.fromkeys((each.namespace for each in self._asked), 0.0)
        pod = self._cluster.pods.get(key)
        if pod is None:
            return
        is_over = self._shares.is_over(key.namespace, now)
        # Decided anew, because the explanation must speak of the cluster as it is now.
        verdict = self._decided(pod)
        conflict: Conflict | None = None
        if isinstance(verdict, NotFound):
            inquiry = inquire(self._cluster, pod, verdict, budget=self._budget)
            conflict = await asyncio.to_thread(_answered, inquiry, briefly=is_over)
        elif isinstance(verdict, NoFit):
            conflict = why_not_fully(self._cluster, pod, verdict, budget=self._budget)
        took = time.monotonic() - now
        self._explained[key] = now + took
        self._shares.charge(key.namespace, took, now + took, wasted=True)
        if conflict is None:
            self._changed(key)
        elif (known := self._cluster.pods.get(key)) is not None and known.uid == pod.uid:
            self._say(known, conflict)
        await asyncio.sleep(min(REST * took, MOST_REST_SECONDS))


def _answered(inquiry: Inquiry, *, briefly: bool) -> Conflict | None:
    began = time.thread_time()
    return answered(inquiry, briefly=lambda: briefly or time.thread_time() - began > HARD_SECONDS)
