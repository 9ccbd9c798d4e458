# SPDX-License-Identifier: Apache-2.0
"""Judges costly selectors beside the allocation task, in a thread, one device at a time.

Decides whose selector is next: namespaces take turns, and pause while others are at work. Never
decides about a pod: one that waits for a verdict is decided again when it is there.

Source: ``docs/adr/0013-fair-between-namespaces.md``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from berth.controller.fairness import Shares
from berth.engine.patience import JudgementPending
from berth.engine.records import DeviceRecord
from berth.engine.verdicts import SelectorTable
from berth.model.pods import Pod, PodKey

log = structlog.get_logger("berth.judging")

JUDGED_LATER = "SelectorJudgedLater"
SWITCH_SECONDS = 0.001
"""How long the thread may keep the event loop from going on, at a time."""


class Question(NamedTuple):
    """What one selector says of one device."""

    table: SelectorTable
    record: DeviceRecord


class Judge:
    """Takes questions of pods; ``run`` answers them and calls ``judged`` for each pod."""

    def __init__(self, shares: Shares, *, judged: Callable[[PodKey], None]) -> None:
        self._shares = shares
        self._judged = judged
        self._questions: dict[str, dict[Question, dict[PodKey, None]]] = {}
        self._of_pod: dict[PodKey, Question] = {}
        self._wake = asyncio.Event()

    def ask(self, pod: PodKey, pending: JudgementPending) -> None:
        """Have a selector judged for ``pod``, which has one open question at a time."""
        question = Question(pending.table, pending.record)
        if self._of_pod.get(pod) == question:
            return
        self.forget(pod)
        self._of_pod[pod] = question
        self._questions.setdefault(pod.namespace, {}).setdefault(question, {})[pod] = None
        self._wake.set()

    def forget(self, pod: PodKey) -> None:
        """Drop the question of a pod that is gone, unless others ask the same."""
        question = self._of_pod.pop(pod, None)
        if question is None:
            return
        questions = self._questions[pod.namespace]
        del questions[question][pod]
        if not questions[question]:
            del questions[question]
        if not questions:
            del self._questions[pod.namespace]

    async def run(self) -> None:
        """Answer until cancelled."""
        # Else a thread that computes holds up the loop by five milliseconds at each turn.
        sys.setswitchinterval(SWITCH_SECONDS)
        clock = asyncio.get_running_loop().time
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._questions:
                # In order of the last turn: who had one goes to the end.
                pauses = [self._shares.pause(each, clock()) for each in self._questions]
                if (pause := min(pauses)) > 0:
                    await asyncio.sleep(pause)
                    continue
                namespace = list(self._questions)[pauses.index(pause)]
                seconds = await self._answer_one(namespace)
                self._shares.charge(namespace, seconds, clock(), wasted=True)

    async def _answer_one(self, namespace: str) -> float:
        questions = self._questions.pop(namespace)
        self._questions[namespace] = questions
        question = next(iter(questions))
        try:
            seconds = await asyncio.to_thread(_timed, question)
        except Exception as error:
            # A mistake of ours; other pods must not wait for this one's verdict for ever.
            log.exception("judging failed", device=str(question.record.id), error=repr(error))
            for pod in list(questions.get(question, ())):
                self.forget(pod)
            return 0.0
        # Pods may have come and gone meanwhile, and with the last one the question.
        for pod in list(questions.get(question, ())):
            self.forget(pod)
            self._judged(pod)
        return seconds


def _timed(question: Question) -> float:
    began = time.thread_time()
    question.table.judge(question.record)
    return time.thread_time() - began


def too_costly(pod: Pod) -> str:
    """Return what is said of a pod that fits nowhere and cannot be explained in reasonable time."""
    return (
        f"pod {pod.key}: fits on no node: a selector of its claims is too costly to tell why, "
        "device by device: use a simpler one"
    )


def judged_later(pod: Pod) -> str:
    """Return what is said about a pod that waits for verdicts."""
    return (
        f"pod {pod.key}: a selector of its claims is costly: it is judged device by device, beside "
        "other work, which takes a while"
    )
