# SPDX-License-Identifier: Apache-2.0
"""Carrying out a verdict about a pod: writing and reserving its claims, then letting it go.

Decides what each end of a write means for the ledger and when the pod is looked at again; never
where a pod goes. One task per pod at a time, beside the task that decides. Every write goes
through ``berth.controller.writer``.

Source: ``docs/architecture.md``, the way of one claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace

import structlog

from berth.codec.pods import decode_pod
from berth.controller.answers import (
    ClaimConflict,
    ClaimGone,
    ClaimOutcome,
    ClaimRefused,
    ClaimWritten,
    NotLeader,
    PodConflict,
    PodGone,
    PodRefused,
    Ungated,
)
from berth.controller.apierrors import ApiError
from berth.controller.events import EventRecorder
from berth.controller.lifecycle import AskForClaims, TakeBack, decide_life
from berth.controller.metrics import Metrics
from berth.controller.turns import Turns
from berth.controller.undo import Undo
from berth.controller.writer import Writer, same_decision
from berth.decision import Allocate
from berth.model.claims import MAX_CONSUMERS, ClaimKey, ConsumerReference, ResourceClaim
from berth.model.placement import Placed
from berth.model.pods import Pod, PodKey
from berth.model.results import AllocationResult
from berth.state.cluster import Cluster

DRAIN_SECONDS = 3.0
"""How long a stop waits for writes under way."""
RETRY_SECONDS = 5.0
"""Pause before a pod is decided again that only time can cure."""

ALLOCATED = "ClaimsAllocated"
FAILED = "ClaimAllocationFailed"

log = structlog.get_logger("berth.reconcile")


class CarryOut:
    """Executes verdicts; each pod is in the hands of at most one task.

    ``changed`` is called when a pod became dirty in the ledger, ``gave`` when the claims of a pod
    without a gate are allocated, with the node and the claims.
    """

    def __init__(  # noqa: PLR0913 - the parts it connects, each named
        self,
        cluster: Cluster,
        writer: Writer,
        events: EventRecorder,
        metrics: Metrics,
        *,
        changed: Callable[[], None],
        gave: Callable[[Pod, str, tuple[ResourceClaim, ...]], None],
    ) -> None:
        self._cluster = cluster
        self._writer = writer
        self._events = events
        self._metrics = metrics
        self._changed = changed
        self._gave = gave
        self._undo = Undo(cluster, writer, events)
        self._turns: Turns[ClaimKey] = Turns()
        self._tasks: dict[PodKey, asyncio.Task[None]] = {}
        self._timers: dict[PodKey, asyncio.TimerHandle] = {}
        self._changed_meanwhile: set[PodKey] = set()

    @property
    def busy(self) -> AbstractSet[PodKey]:
        """The pods that something is being written for."""
        return self._tasks.keys()

    def decide_again(self, pods: Iterable[PodKey]) -> None:
        """Have those of ``pods`` that are busy decided anew when they are no more."""
        self._changed_meanwhile |= self._tasks.keys() & set(pods)

    def allocate(self, pod: Pod, verdict: Allocate) -> None:
        """Begin to write what was decided, which is in the ledger as assumed."""
        self._start(pod, self._carry_out(pod, verdict))

    def release_gate(self, pod: Pod) -> None:
        """Begin to remove the gate, without pinning the pod."""
        self._start(pod, self._release(pod))

    def take_back(self, pod: Pod, verdict: TakeBack) -> None:
        """Begin to undo allocations; none of their consumers is let go meanwhile."""
        self._cluster.forget(pod.key)
        others = tuple(each.key for each in verdict.consumers)
        self._start(pod, self._undo.take_back(pod, verdict), beside=others)
        self._changed_meanwhile.update((pod.key, *others))

    def ask_for_claims(self, pod: Pod, verdict: AskForClaims, attempt: int) -> None:
        """Begin to wake whoever generates claims, for the ``attempt``-th time."""
        self._start(pod, self._undo.ask_for_claims(pod, verdict, attempt))
        self.retry_later(pod.key)

    def retry_later(self, key: PodKey, seconds: float = RETRY_SECONDS) -> None:
        """Have the pod decided again in a while, unless that is due already."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(key)
        if known is not None:
            if known.when() <= loop.time() + seconds:
                return
            known.cancel()

        def again() -> None:
            del self._timers[key]
            self._cluster.mark_dirty(key)
            self._changed()

        self._timers[key] = loop.call_later(seconds, again)

    async def drain(self) -> None:
        """Let the writes under way end; what is not known by then the next leader reads."""
        for timer in self._timers.values():
            timer.cancel()
        tasks = set(self._tasks.values())
        if not tasks:
            return
        _, unfinished = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)

    def _start(
        self,
        pod: Pod,
        work: Coroutine[object, object, None],
        *,
        beside: tuple[PodKey, ...] = (),
    ) -> None:
        """Run ``work`` for ``pod``; the pods ``beside`` it are busy as long."""
        keys = (pod.key, *beside)
        task = asyncio.get_running_loop().create_task(
            self._guarded(pod, work, keys), name=f"write {pod.key}"
        )
        self._tasks.update(dict.fromkeys(keys, task))

    async def _guarded(
        self, pod: Pod, work: Coroutine[object, object, None], keys: tuple[PodKey, ...]
    ) -> None:
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
            self.retry_later(pod.key)
        finally:
            for key in keys:
                del self._tasks[key]
                if key in self._changed_meanwhile:
                    self._changed_meanwhile.discard(key)
                    self._cluster.mark_dirty(key)
                    self._changed()

    async def _carry_out(self, pod: Pod, verdict: Allocate) -> None:
        consumer = ConsumerReference(resource="pods", name=pod.name, uid=pod.uid)
        placed = verdict.placed
        for claim, result in zip(verdict.claims, placed.results, strict=True):
            if not await self._write_claim(pod, claim, result, consumer):
                return
        for claim in verdict.allocated:
            if any(known.uid == pod.uid for known in claim.reserved_for):
                continue
            # kube-scheduler reserves it, and takes the entry back whenever an attempt of it fails.
            if not pod.is_gated and claim.allocation is not None and claim.allocation.timestamp:
                continue
            if not await self._reserve(pod, claim, consumer):
                return
        if not self._still_stands(pod, placed.node):
            # The node stays assumed: the pod may only have to wait for its devices there.
            self._changed_meanwhile.add(pod.key)
            return
        if not pod.is_gated:
            self._gave(pod, placed.node, verdict.claims)
        elif not await self._let_go(pod, placed.node if placed.pin else None):
            return
        self._metrics.allocated()
        devices = describe_devices(verdict.claims, verdict.allocated, placed)
        self._events.post(pod, "Normal", ALLOCATED, f"node {placed.node}: {devices}")

    def _still_stands(self, pod: Pod, node: str) -> bool:
        """Tell whether what was written is still worth starting with: letting go is for ever."""
        current = self._cluster.pods.get(pod.key)
        return node in self._cluster.nodes and (
            current is None or decide_life(self._cluster, current) is None
        )

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
                self._events.post(pod, "Warning", FAILED, f"claim {claim.key}: {detail}")
                log.error("claim write refused", claim=str(claim.key), error=detail)
                # No event will cure it, so neither a hot loop nor silence: try again in a while.
                self.retry_later(pod.key)
                return False
        self._changed_meanwhile.add(pod.key)
        return False

    async def _reserve(self, pod: Pod, claim: ResourceClaim, consumer: ConsumerReference) -> bool:
        # One after the other: of many pods that share a claim all but one would be refused.
        async with self._turns.of(claim.key):
            current = self._cluster.claims.get(claim.key)
            if current is not None and consumer in current.reserved_for:
                return True
            answer: ClaimOutcome
            if current is not None and _takes_more(claim, current):
                answer = await self._writer.reserve(current, consumer)
            else:
                answer = ClaimConflict(current, "it is not as it was decided upon")
            if isinstance(answer, ClaimWritten):
                self._cluster.confirm_claim(answer.claim)
                return True
        match answer:
            case ClaimConflict(current, detail) if current is not None:
                self._cluster.apply_claim(current)
                log.info("claim changed under the write", claim=str(claim.key), reason=detail)
            case ClaimRefused(detail):
                self._events.post(pod, "Warning", FAILED, f"claim {claim.key}: {detail}")
                self.retry_later(pod.key)
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
                self._events.post(
                    pod, "Warning", FAILED, f"the scheduling gate could not be removed: {detail}"
                )
                log.error("ungating refused", pod=str(pod.key), error=detail)
                self.retry_later(pod.key)
        return False


def _takes_more(decided: ResourceClaim, current: ResourceClaim) -> bool:
    """Tell whether ``current`` is allocated as ``decided`` was, with room for a consumer."""
    return (
        current.uid == decided.uid
        and current.allocation == decided.allocation
        and not current.deleting
        and len(current.reserved_for) < MAX_CONSUMERS
    )


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
