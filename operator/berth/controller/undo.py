# SPDX-License-Identifier: Apache-2.0
"""Carrying out what the life of a claim asks for: undoing an allocation, asking for a lost claim.

Decides what each end of such a write means for the ledger, and what is said about it. Never
decides that it is to be done (``berth.controller.lifecycle``).

Source: KEP-4381; ``docs/reference/life-of-a-claim.md``.
"""

from __future__ import annotations

import structlog

from berth.codec.pods import decode_pod
from berth.controller.answers import (
    ClaimConflict,
    ClaimGone,
    ClaimRefused,
    ClaimWritten,
    PodConflict,
    PodGone,
    PodRefused,
    Touched,
)
from berth.controller.events import EventRecorder, ObjectReference
from berth.controller.lifecycle import AskForClaims, Missing, TakeBack
from berth.controller.writer import Writer
from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.pods import Pod
from berth.state.cluster import Cluster

RELEASED = "ClaimReleased"
NOT_RELEASED = "ClaimReleaseFailed"
ASKED = "ClaimRegenerationRequested"
NOT_ASKED = "ClaimRegenerationFailed"

log = structlog.get_logger("berth.lifecycle")


class Undo:
    """The writes beside those of an allocation; the pods concerned are busy meanwhile."""

    def __init__(self, cluster: Cluster, writer: Writer, events: EventRecorder) -> None:
        self._cluster = cluster
        self._writer = writer
        self._events = events

    async def take_back(self, pod: Pod, verdict: TakeBack) -> None:
        """Undo allocations, and say so on every pod that waits for them and on the claim."""
        gated = (pod, *verdict.consumers)
        for lost in verdict.lost:
            claim = lost.claim
            match await self._writer.release(claim, gated):
                case ClaimWritten(written):
                    self._cluster.confirm_claim(written)
                    log.warning("claim released", claim=str(claim.key), reason=lost.why)
                    text = f"the allocation was taken back, to decide anew: {lost.why}"
                    self._say(gated, claim, RELEASED, text)
                case ClaimConflict(current, detail):
                    if current is not None:
                        self._cluster.apply_claim(current)
                    log.info("claim not released", claim=str(claim.key), reason=detail)
                case ClaimGone(detail):
                    self._cluster.remove_claim(claim.key, claim.uid)
                    log.info("claim is gone", claim=str(claim.key), reason=detail)
                case ClaimRefused(detail):
                    self._say(gated, claim, NOT_RELEASED, f"{lost.why}; {detail}")
                    log.error("claim write refused", claim=str(claim.key), error=detail)

    async def ask_for_claims(self, pod: Pod, verdict: AskForClaims, attempt: int) -> None:
        """Touch the pod, once for all its missing claims."""
        value = ",".join(each.claim for each in verdict.missing) + f"/{attempt}"
        for each in verdict.missing:
            if not await self._is_there(pod, each):
                await self._touch(pod, each, value, attempt)
                return

    async def _is_there(self, pod: Pod, missing: Missing) -> bool:
        key = ClaimKey(pod.namespace, missing.claim)
        claim = await self._writer.read_claim(key)
        if claim is None or claim.controller_uid != pod.uid:
            return False
        # There after all: its event is under way.
        self._cluster.apply_claim(claim)
        return True

    async def _touch(self, pod: Pod, missing: Missing, value: str, attempt: int) -> None:
        claim = f"{pod.namespace}/{missing.claim}"
        match await self._writer.touch(pod, value):
            case Touched(raw):
                self._cluster.confirm_pod(decode_pod(raw))
                message = (
                    f"pod {pod.key}, claim reference {missing.reference.name}: claim {claim} is "
                    "gone: asked for a new one"
                )
                self._events.post(pod, "Normal", ASKED, message, "Generate")
                log.info("claim asked for", claim=claim, pod=str(pod.key), attempt=attempt)
            case PodConflict(raw):
                self._cluster.confirm_pod(decode_pod(raw))
            case PodGone():
                self._cluster.remove_pod(pod.key, pod.uid)
            case PodRefused(detail):
                self._events.post(pod, "Warning", NOT_ASKED, f"claim {claim} is gone; {detail}")
                log.error("touching refused", pod=str(pod.key), error=detail)

    def _say(self, pods: tuple[Pod, ...], claim: ResourceClaim, reason: str, text: str) -> None:
        message = f"claim {claim.key}: {text}"
        for pod in pods:
            self._events.post(pod, "Warning", reason, message, "Release")
        about = ObjectReference(
            "resource.k8s.io/v1", "ResourceClaim", claim.namespace, claim.name, claim.uid
        )
        self._events.post_about(about, "Warning", reason, message, "Release")
