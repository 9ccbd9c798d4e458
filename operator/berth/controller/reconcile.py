# SPDX-License-Identifier: Apache-2.0
"""The allocation task: which pods are decided, in which order, and what is said about them.

One task decides, so that no two decisions see the same free device; what it decides is entered
in the ledger as assumed before anything is written. Writes run beside it
(``berth.controller.carry_out``), and so are explanations made (``berth.controller.explainer``).
Never blocks the event loop for longer than a slice.

Source: ``docs/architecture.md``, the way of one claim.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import structlog

from berth.controller.avoided import Avoided
from berth.controller.backoff import Backoff
from berth.controller.carry_out import FAILED, CarryOut
from berth.controller.decide import (
    Allocate,
    Blocked,
    Leave,
    NoFit,
    NotFound,
    Refused,
    ReleaseGate,
    Stuck,
    Verdict,
    decide,
    with_share_ids,
)
from berth.controller.events import EventRecorder
from berth.controller.explainer import Explainer
from berth.controller.fairness import FairQueue, Shares
from berth.controller.fence_watch import FenceWatch
from berth.controller.given import Given
from berth.controller.judging import JUDGED_LATER, Judge, judged_later, too_costly
from berth.controller.lifecycle import (
    Asked,
    AskForClaims,
    AwaitBinding,
    Doomed,
    LifeVerdict,
    TakeBack,
    decide_life,
    nobody_generates,
    reconsider,
    take_back,
)
from berth.controller.metrics import Metrics
from berth.controller.writer import Writer
from berth.engine.patience import JudgementPending, has_costly_selector
from berth.explain import messages
from berth.explain.conflict import Conflict
from berth.explain.line import cause_key, one_line
from berth.model.pods import Pod, PodKey
from berth.satisfiable import is_idle
from berth.state.assumed import pinned_node
from berth.state.cluster import Cluster

SLICE_SECONDS = 0.02
"""How long the task may work before it lets the event loop turn."""
UNSCHEDULABLE = "AllocatedPodUnschedulable"
AWAIT_BINDING = "WaitingForDeviceBinding"
BINDING_SECONDS = 5.0
"""Least time between two looks at devices that are overdue and cannot be taken back."""
TAKEN_BACK = "AllocationTakenBack"

log = structlog.get_logger("berth.reconcile")


class Reconciler:
    """Decides dirty pods in the order of ``berth.controller.fairness``, and carries decisions out.

    Every pod is in at most one of: dirty (in the ledger), being carried out, waiting. ``fenced``
    tells that pods without a gate are allocated as well, as far as the fence reaches.
    """

    def __init__(  # noqa: PLR0913 - the parts it connects, each named
        self,
        cluster: Cluster,
        writer: Writer,
        events: EventRecorder,
        metrics: Metrics,
        *,
        may_write: Callable[[], bool],
        budget: int,
        generates: bool = False,
        binding_timeout: float = 600.0,
        fenced: bool = False,
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._metrics = metrics
        self._may_write = may_write
        self._budget = budget
        self._fenced = fenced
        self._generates = generates
        self._binding_timeout = binding_timeout
        self.avoided = Avoided(cluster, changed=self.poke)
        self._releases: Backoff[PodKey] = Backoff()
        self._asked = Asked()
        self._wake = asyncio.Event()
        self._given = Given(time.monotonic)
        self._fence = FenceWatch(cluster, self.poke)
        self._carrying_out = CarryOut(
            cluster, writer, events, metrics, changed=self.poke, gave=self._given.gave
        )
        self._nodes_gone: set[str] = set()
        self._shares = Shares()
        beside = Shares(self._shares)
        self._explainer = Explainer(
            cluster,
            decided=self._decided,
            say=self._explain,
            changed=self._decide_again,
            shares=beside,
            budget=budget,
        )
        self._said: dict[PodKey, tuple[str, str]] = {}
        self._dirty = FairQueue(self._shares)
        self._judge = Judge(beside, judged=self._decide_again)
        self._timer: asyncio.TimerHandle | None = None
        self._slice_began = 0.0

    def poke(self) -> None:
        """Say that the ledger has changed; cheap, may be called for every event."""
        self._wake.set()

    def node_gone(self, name: str) -> None:
        """Say that a node is gone: pods that are pinned to it are looked at again."""
        self._nodes_gone.add(name)
        self._wake.set()

    async def run(self) -> None:
        """Decide until cancelled; then wait for the writes in flight."""
        explaining = asyncio.create_task(self._explainer.run(), name="explain")
        judging = asyncio.create_task(self._judge.run(), name="judge")
        # None ends by itself; what one of them ends with ends this task too.
        for beside in (explaining, judging):
            beside.add_done_callback(lambda _: self._wake.set())
        try:
            while not explaining.done() and not judging.done():
                await self._wake.wait()
                self._wake.clear()
                self._fence.look()
                if self._may_write():
                    self._explainer.idle.clear()
                    await self._decide_dirty()
                    self._explainer.idle.set()
            for beside in (explaining, judging):
                if beside.done():
                    beside.result()
        finally:
            explaining.cancel()
            judging.cancel()
            self._go_on_after(None)
            self.avoided.close()
            await self._carrying_out.drain()

    # --- deciding

    async def _decide_dirty(self) -> None:
        self._slice_began = asyncio.get_running_loop().time()
        if self._nodes_gone:
            # One look for all of them: a whole rack may go at once.
            for pod in self._cluster.pods.values():
                if not pod.node_name and pinned_node(pod) in self._nodes_gone:
                    self._cluster.mark_dirty(pod.key)
            self._nodes_gone.clear()
        clock = asyncio.get_running_loop().time
        self._collect()
        while (key := self._dirty.take(clock())) is not None:
            began = clock()
            helped = self._decide_one(key)
            self._shares.charge(key.namespace, clock() - began, clock(), wasted=not helped)
            await self._let_others_run(key)
            # Who came meanwhile may have an earlier turn than those that are left.
            self._collect()
        self._go_on_after(self._dirty.pause(clock()))
        self._metrics.pods_pending.set(len(self._carrying_out.busy) + len(self._cluster.waiting))

    def _collect(self) -> None:
        dirty = self._cluster.take_dirty()
        self._carrying_out.decide_again(dirty)
        for key in dirty - self._carrying_out.busy:
            pod = self._cluster.pods.get(key)
            if pod is not None:
                self._dirty.add(pod)

    def _go_on_after(self, pause: float | None) -> None:
        """Look again when the turn comes of those that are left, if there are any."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if pause is not None:
            self._timer = asyncio.get_running_loop().call_later(pause, self.poke)

    def _decide_one(self, key: PodKey) -> bool:
        """Decide a pod; tell whether that was of use to anybody."""
        # Taken anew: since it was queued the loop has turned and the pod may have changed.
        pod = self._cluster.pods.get(key)
        if pod is None:
            self._forget(key)
            return True
        if key in self._carrying_out.busy:
            return True
        if self._rests(pod):
            self._cluster.stop_waiting(key)  # Nobody waits behind a pod that is not looked at.
            return True
        with self._metrics.allocation_seconds.time():
            verdict = self._decided(pod)
        self._metrics.decided(type(verdict).__name__)
        self._act(pod, verdict)
        return isinstance(verdict, Allocate | Leave | ReleaseGate)

    def _forget(self, key: PodKey) -> None:
        self._said.pop(key, None)
        for each in (self._judge, self._explainer, self._given, self._releases, self._asked):
            each.forget(key)

    def _act(self, pod: Pod, verdict: Verdict | LifeVerdict | JudgementPending) -> None:
        key = pod.key
        match verdict:
            case Leave():
                self._cluster.stop_waiting(key)
            case ReleaseGate(why):
                log.info("gate removed", pod=str(key), reason=why)
                self._carrying_out.release_gate(pod)
            case Blocked(message, question):
                self._cluster.wait(key, question)
                self._say_failed(pod, message, message)
            case JudgementPending():
                self._cluster.stop_waiting(key)
                self._judge.ask(key, verdict)
                self._say(pod, "Normal", JUDGED_LATER, judged_later(pod))
            case NoFit() | NotFound():
                self._fits_nowhere(pod, verdict)
            case TakeBack() | AwaitBinding() | AskForClaims() | Doomed():
                self._about_life(pod, verdict)
            case Stuck() | Refused():
                self._left_to_scheduler(pod, verdict)
            case Allocate():
                self._allocate(pod, verdict)

    def _fits_nowhere(self, pod: Pod, verdict: NoFit | NotFound) -> None:
        self._cluster.wait(pod.key, verdict.question if isinstance(verdict, NotFound) else None)
        if has_costly_selector(self._cluster.snapshot(), verdict.claims):
            self._say_failed(pod, too_costly(pod), "costly")
        else:
            self._explainer.ask(pod.key)

    def _about_life(self, pod: Pod, verdict: LifeVerdict) -> None:
        self._cluster.wait(pod.key)
        match verdict:
            case TakeBack():
                self._take_back(pod, verdict)
            case AwaitBinding():
                self._await_binding(pod, verdict)
            case AskForClaims():
                self._ask_for_claims(pod, verdict)
            case Doomed(message):
                # A node of that name may yet come, so the pod waits as well.
                self._say(pod, "Warning", UNSCHEDULABLE, message)

    def _take_back(self, pod: Pod, verdict: TakeBack) -> None:
        now = asyncio.get_running_loop().time()
        pause = self._releases.pause(pod.key, now)
        if pause:
            self._carrying_out.retry_later(pod.key, pause)
        elif not any(each.key in self._carrying_out.busy for each in verdict.consumers):
            self._releases.tried(pod.key, now)
            self._said.pop(pod.key, None)
            self.avoided.avoid(device for lost in verdict.lost for device in lost.avoid)
            self._carrying_out.take_back(pod, verdict)

    def _await_binding(self, pod: Pod, verdict: AwaitBinding) -> None:
        left = self._binding_timeout
        if verdict.since:
            waited = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(verdict.since)
            left -= waited.total_seconds()
        lost = verdict.overdue(self._binding_timeout) if left <= 0 else ()
        if lost and all(is_idle(self._cluster, each.claim) for each in lost):
            self._take_back(pod, take_back(self._cluster, pod, lost))
            return
        self._say(pod, "Normal", AWAIT_BINDING, verdict.message(pod))
        self._carrying_out.retry_later(pod.key, left if left > 0 else BINDING_SECONDS)

    def _ask_for_claims(self, pod: Pod, verdict: AskForClaims) -> None:
        if self._generates:
            return  # Berth's own generator has had the claim's deletion as an event.
        now = asyncio.get_running_loop().time()
        pause = self._asked.pause(pod, verdict, now)
        if pause is None:
            message = nobody_generates(pod, verdict)
            self._say_failed(pod, message, message)
        elif pause:
            self._carrying_out.retry_later(pod.key, pause)
        else:
            attempt = self._asked.ask(pod.key, now)
            self._carrying_out.ask_for_claims(pod, verdict, attempt)

    def _allocate(self, pod: Pod, verdict: Allocate) -> None:
        self._cluster.stop_waiting(pod.key)
        self._explainer.forget(pod.key)
        self._said.pop(pod.key, None)
        placed = with_share_ids(verdict.placed, lambda: str(uuid.uuid4()))
        results = zip(verdict.claims, placed.results, strict=True)
        self._cluster.assume(pod.key, placed.node, {claim.key: result for claim, result in results})
        self._carrying_out.allocate(pod, replace(verdict, placed=placed))

    def _left_to_scheduler(self, pod: Pod, verdict: Stuck | Refused) -> None:
        if isinstance(verdict, Refused):
            self._cluster.wait(pod.key)
            self._say_failed(pod, verdict.message, "refused")
            self._carrying_out.retry_later(pod.key, self._given.next_try(pod))
        elif self._given.is_news(pod):
            self._say(pod, "Warning", UNSCHEDULABLE, verdict.message)

    def _rests(self, pod: Pod) -> bool:
        """Tell whether ``pod`` has to wait, because kube-scheduler takes back what it is given."""
        if pod.node_name or pod.is_terminal:
            self._given.forget(pod.key)
            return False
        node = self._given.taken_back(self._cluster, pod)
        if node:
            self._cluster.forget(pod.key)
            self._metrics.allocated("taken_back")
            log.warning("allocation taken back", pod=str(pod.key), node=node)
            message = messages.taken_back(pod, node, pod.unschedulable_message)
            self._say(pod, "Warning", TAKEN_BACK, message)
        pause = self._given.pause(pod)
        if pause:
            self._carrying_out.retry_later(pod.key, pause)
        return pause > 0

    def _decided(self, pod: Pod) -> Verdict | LifeVerdict | JudgementPending:
        """Decide; a mistake of ours that one pod brings to light must not stop all others."""
        patience = self._cluster.published.inventory.patience
        patience.later = True
        try:
            return decide_life(self._cluster, pod) or reconsider(
                self._cluster,
                pod,
                decide(
                    self._cluster,
                    pod,
                    budget=self._budget,
                    fenced=self._fenced,
                    refused=self._given.refused(pod),
                ),
                budget=self._budget,
            )
        except JudgementPending as pending:
            return pending
        except AssertionError:
            # A broken invariant: nothing that was decided on this ledger can be trusted.
            raise
        except Exception as error:
            log.exception("decision failed", pod=str(pod.key), error=repr(error))
            return Blocked(f"pod {pod.key}: internal error of Berth, please report it: {error!r}")
        finally:
            patience.later = False

    def _explain(self, pod: Pod, conflict: Conflict) -> None:
        self._say_failed(pod, one_line(conflict), cause_key(conflict))

    def _decide_again(self, key: PodKey) -> None:
        self._cluster.mark_dirty(key)
        self.poke()

    async def _let_others_run(self, after: PodKey) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._slice_began > SLICE_SECONDS or self._shares.is_over(after.namespace, now):
            await asyncio.sleep(0)
            self._slice_began = loop.time()

    def _say_failed(self, pod: Pod, message: str, cause: str) -> None:
        """Say why, unless it was said: numbers that only go up and down are no news."""
        if self._said.get(pod.key) != (pod.uid, cause):
            self._said[pod.key] = (pod.uid, cause)
            self._say(pod, "Warning", FAILED, message)

    def _say(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        self._events.post(pod, kind, reason, message)
