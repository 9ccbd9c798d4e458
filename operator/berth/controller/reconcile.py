# SPDX-License-Identifier: Apache-2.0
"""The allocation task: which pods, in which order, and carrying out what was decided.

One task decides, so that no two decisions see the same free device; what it decides is entered
in the ledger as assumed before anything is written. Writes run beside it. Explanations are made
when no allocation is waiting. Never blocks the event loop for longer than a slice.

Source: ``docs/architecture.md``, the way of one claim.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace

import structlog

from berth.codec.pods import decode_pod
from berth.controller.answers import (
    ClaimConflict,
    ClaimGone,
    ClaimRefused,
    ClaimWritten,
    NotLeader,
    PodConflict,
    PodGone,
    PodRefused,
    Ungated,
)
from berth.controller.apierrors import ApiError
from berth.controller.decide import (
    Allocate,
    Blocked,
    Leave,
    NoFit,
    ReleaseGate,
    Stuck,
    Verdict,
    decide,
    with_share_ids,
)
from berth.controller.events import EventRecorder
from berth.controller.metrics import Metrics
from berth.controller.writer import Writer, same_decision
from berth.decision import why_not, why_not_fully
from berth.explain.line import cause_key, one_line
from berth.model.claims import ConsumerReference, ResourceClaim
from berth.model.placement import Placed
from berth.model.pods import Pod, PodKey
from berth.model.results import AllocationResult
from berth.state.cluster import Cluster

SLICE_SECONDS = 0.02
"""How long the task may work before it lets the event loop turn."""
EXPLAINED_PER_ROUND = 64
"""Explanations made before the task looks for allocation work again."""

DRAIN_SECONDS = 3.0
"""How long a stop waits for writes under way."""
RETRY_SECONDS = 5.0
"""Pause before a pod is decided again that only time can cure."""

ALLOCATED = "ClaimsAllocated"
FAILED = "ClaimAllocationFailed"
UNSCHEDULABLE = "AllocatedPodUnschedulable"

log = structlog.get_logger("berth.reconcile")


class Reconciler:
    """Decides dirty pods in order of priority, creation and uid, and carries decisions out.

    Every pod is in at most one of: dirty (in the ledger), being carried out, waiting.
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
    ) -> None:
        self._cluster = cluster
        self._writer = writer
        self._events = events
        self._metrics = metrics
        self._may_write = may_write
        self._budget = budget
        self._wake = asyncio.Event()
        self._carrying_out: dict[PodKey, asyncio.Task[None]] = {}
        self._changed_meanwhile: set[PodKey] = set()
        self._to_explain: dict[PodKey, None] = {}
        self._said: dict[PodKey, tuple[str, str]] = {}
        self._slice_began = 0.0

    def poke(self) -> None:
        """Say that the ledger has changed; cheap, may be called for every event."""
        self._wake.set()

    async def run(self) -> None:
        """Decide until cancelled; then wait for the writes in flight."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._may_write():
                    await self._decide_dirty()
                    await self._explain_some()
        finally:
            await self._drain()

    async def _drain(self) -> None:
        """Let the writes under way end; what is not known by then the next leader reads."""
        tasks = list(self._carrying_out.values())
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    # --- deciding

    async def _decide_dirty(self) -> None:
        self._slice_began = asyncio.get_running_loop().time()
        dirty = self._cluster.take_dirty()
        self._changed_meanwhile |= dirty & self._carrying_out.keys()
        pods = (self._cluster.pods.get(key) for key in dirty - self._carrying_out.keys())
        for pod in sorted((pod for pod in pods if pod is not None), key=_order):
            self._decide_one(pod.key)
            await self._let_others_run()
        self._metrics.pods_pending.set(len(self._carrying_out) + len(self._cluster.waiting))

    def _decide_one(self, key: PodKey) -> None:
        # Taken anew: since the batch was sorted the loop has turned and the pod may have changed.
        pod = self._cluster.pods.get(key)
        if pod is None:
            self._said.pop(key, None)
            return
        if key in self._carrying_out:
            return
        with self._metrics.allocation_seconds.time():
            verdict = self._decided(pod)
        self._metrics.decided(type(verdict).__name__)
        match verdict:
            case Leave():
                self._cluster.stop_waiting(key)
            case ReleaseGate(why):
                log.info("gate removed", pod=str(key), reason=why)
                self._start(pod, self._release(pod))
            case Blocked(message):
                self._cluster.wait(key)
                self._say_failed(pod, message, message)
            case NoFit():
                self._cluster.wait(key)
                self._to_explain[key] = None
            case Stuck(message):
                self._say(pod, "Warning", UNSCHEDULABLE, message)
            case Allocate():
                self._cluster.stop_waiting(key)
                self._to_explain.pop(key, None)
                self._said.pop(key, None)
                placed = with_share_ids(verdict.placed, lambda: str(uuid.uuid4()))
                verdict = replace(verdict, placed=placed)
                results = placed.results
                self._cluster.assume(
                    key,
                    placed.node,
                    {
                        claim.key: result
                        for claim, result in zip(verdict.claims, results, strict=True)
                    },
                )
                self._start(pod, self._carry_out(pod, verdict))

    def _decided(self, pod: Pod) -> Verdict:
        """Decide; a mistake of ours that one pod brings to light must not stop all others."""
        try:
            return decide(self._cluster, pod, budget=self._budget)
        except AssertionError:
            # A broken invariant: nothing that was decided on this ledger can be trusted.
            raise
        except Exception as error:
            log.exception("decision failed", pod=str(pod.key), error=repr(error))
            return Blocked(f"pod {pod.key}: internal error of Berth, please report it: {error!r}")

    async def _explain_some(self) -> None:
        """Say why, for pods that still do not fit; allocation work comes first."""
        for key in list(self._to_explain)[:EXPLAINED_PER_ROUND]:
            if self._wake.is_set():
                break
            del self._to_explain[key]
            pod = self._cluster.pods.get(key)
            if pod is None or key in self._carrying_out:
                continue
            # Decided anew, because the explanation must speak of the cluster as it is now.
            verdict = self._decided(pod)
            if not isinstance(verdict, NoFit):
                self._cluster.mark_dirty(key)
                self._wake.set()
                continue
            cause = cause_key(why_not(self._cluster, pod, verdict, budget=self._budget))
            if self._said.get(key) != (pod.uid, cause):
                # What would help is looked for only where something is going to be said.
                full = why_not_fully(self._cluster, pod, verdict, budget=self._budget)
                self._say_failed(pod, one_line(full), cause)
            await self._let_others_run()
        if self._to_explain:
            self._wake.set()

    async def _let_others_run(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._slice_began > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._slice_began = loop.time()

    # --- carrying out

    def _start(self, pod: Pod, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(
            self._guarded(pod, work), name=f"write {pod.key}"
        )
        self._carrying_out[pod.key] = task

    async def _guarded(self, pod: Pod, work: Coroutine[object, object, None]) -> None:
        """Run ``work``; whatever happens, the pod can be decided again afterwards."""
        try:
            await work
        except NotLeader:
            # Nothing was sent; the next leader decides from what the API server says.
            self._cluster.forget(pod.key)
            log.info("write dropped: not the leader", pod=str(pod.key))
        except ApiError as error:
            # Answered, so known: nothing in doubt. The pod is decided anew, a little later.
            self._cluster.forget(pod.key)
            log.warning("write refused", pod=str(pod.key), error=str(error))
            self._retry_later(pod.key)
        finally:
            del self._carrying_out[pod.key]
            if pod.key in self._changed_meanwhile:
                self._changed_meanwhile.discard(pod.key)
                self._cluster.mark_dirty(pod.key)
                self.poke()

    def _retry_later(self, key: PodKey) -> None:
        def again() -> None:
            self._cluster.mark_dirty(key)
            self.poke()

        asyncio.get_running_loop().call_later(RETRY_SECONDS, again)

    async def _carry_out(self, pod: Pod, verdict: Allocate) -> None:
        consumer = ConsumerReference(resource="pods", name=pod.name, uid=pod.uid)
        placed = verdict.placed
        for claim, result in zip(verdict.claims, placed.results, strict=True):
            if not await self._write_claim(pod, claim, result, consumer):
                return
        for claim in verdict.allocated:
            if any(known.uid == pod.uid for known in claim.reserved_for):
                continue
            if not await self._reserve(pod, claim, consumer):
                return
        if await self._let_go(pod, placed.node if placed.pin else None):
            self._metrics.allocated()
            devices = describe_devices(verdict.claims, verdict.allocated, placed)
            self._say(pod, "Normal", ALLOCATED, f"node {placed.node}: {devices}")

    async def _write_claim(
        self, pod: Pod, claim: ResourceClaim, result: AllocationResult, consumer: ConsumerReference
    ) -> bool:
        answer = await self._writer.write_claim(claim, result, (consumer,))
        match answer:
            case ClaimWritten(written):
                self._cluster.confirm_claim(written)
                log.info("claim allocated", claim=str(claim.key), consumer=str(pod.key))
                return True
            case ClaimConflict(current, detail):
                self._cluster.forget(pod.key)
                if current is not None:
                    self._cluster.apply_claim(current)
                log.info("claim changed under the write", claim=str(claim.key), reason=detail)
            case ClaimGone(detail):
                self._cluster.forget(pod.key)
                self._cluster.remove_claim(claim.key, claim.uid)
                log.info("claim is gone", claim=str(claim.key), reason=detail)
            case ClaimRefused(detail):
                self._cluster.forget(pod.key)
                self._say(pod, "Warning", FAILED, f"claim {claim.key}: {detail}")
                log.error("claim write refused", claim=str(claim.key), error=detail)
                # No event will cure it, so neither a hot loop nor silence: try again in a while.
                self._retry_later(pod.key)
                return False
        self._changed_meanwhile.add(pod.key)
        return False

    async def _reserve(self, pod: Pod, claim: ResourceClaim, consumer: ConsumerReference) -> bool:
        match await self._writer.reserve(claim, consumer):
            case ClaimWritten(written):
                self._cluster.confirm_claim(written)
                return True
            case ClaimConflict(current, detail) if current is not None:
                self._cluster.apply_claim(current)
                log.info("claim changed under the write", claim=str(claim.key), reason=detail)
            case ClaimRefused(detail):
                self._say(pod, "Warning", FAILED, f"claim {claim.key}: {detail}")
                self._retry_later(pod.key)
                return False
            case _:
                self._cluster.remove_claim(claim.key, claim.uid)
        self._cluster.forget(pod.key)
        self._changed_meanwhile.add(pod.key)
        return False

    async def _release(self, pod: Pod) -> None:
        await self._let_go(pod, None)

    def _as_decided(self, pod: Pod) -> Pod:
        """Return the pod with the names of its claims, and as new as it is known to be.

        Its claims are recorded in its status while they are being allocated. A patch on the older
        version would be refused, and the pod decided a second time for nothing.
        """
        claims = {
            reference.name: claim.name
            for reference in pod.claims
            if reference.template_name is not None
            and (claim := self._cluster.claim_of(pod, reference)) is not None
        }
        pod = replace(pod, claim_names={**claims, **pod.claim_names})
        current = self._cluster.pods.get(pod.key)
        if current is None or not same_decision(pod, current):
            return pod  # The API server knows better, and the writer asks it.
        return replace(pod, resource_version=current.resource_version)

    async def _let_go(self, pod: Pod, node: str | None) -> bool:
        """Remove the gate, and pin the pod to ``node`` if given; tell whether the pod went."""
        pod = self._as_decided(pod)
        match await self._writer.ungate(pod, node):
            case Ungated(raw):
                self._cluster.confirm_pod(decode_pod(raw))
                return True
            case PodGone():
                self._cluster.remove_pod(pod.key, pod.uid)
            case PodConflict(raw):
                self._cluster.confirm_pod(decode_pod(raw))
                self._changed_meanwhile.add(pod.key)
            case PodRefused(detail):
                self._say(
                    pod, "Warning", FAILED, f"the scheduling gate could not be removed: {detail}"
                )
                log.error("ungating refused", pod=str(pod.key), error=detail)
                self._retry_later(pod.key)
        return False

    def _say_failed(self, pod: Pod, message: str, cause: str) -> None:
        """Say why, unless it was said: numbers that only go up and down are no news."""
        if self._said.get(pod.key) != (pod.uid, cause):
            self._said[pod.key] = (pod.uid, cause)
            self._say(pod, "Warning", FAILED, message)

    def _say(self, pod: Pod, kind: str, reason: str, message: str) -> None:
        self._events.post(pod, kind, reason, message)


def _order(pod: Pod) -> tuple[int, str, str]:
    return (-pod.priority, pod.created, pod.uid)


def describe_devices(
    claims: tuple[ResourceClaim, ...], allocated: tuple[ResourceClaim, ...], placed: Placed
) -> str:
    """Return the claims with their devices, as the event ``ClaimsAllocated`` shows them.

    One part a claim, in the order new claims then already allocated ones:
    ``claim ml/train-gpu: gpu-0, gpu-1``.
    """
    pairs = [(claim, result) for claim, result in zip(claims, placed.results, strict=True)]
    pairs += [(claim, claim.allocation) for claim in allocated if claim.allocation is not None]
    return "; ".join(
        f"claim {claim.name}: "
        + (", ".join(str(device.device_id) for device in result.devices) or "no devices asked")
        for claim, result in pairs
    )
