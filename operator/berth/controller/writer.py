# SPDX-License-Identifier: Apache-2.0
"""Carries decisions to the API server: claims are allocated and reserved, pods are let go.

Decides the order of the writes of one decision, and what each end means for it. Never returns
before it is known how a write ended (``berth.controller.sender``), and never decides anew.

Source: ``docs/architecture.md``; KEP-4381 for finalizer, allocation and reservation.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.codec.results import encode_allocation
from berth.codec.versions import V1
from berth.controller.answers import (
    ClaimConflict,
    ClaimGone,
    ClaimOutcome,
    ClaimRefused,
    ClaimWritten,
    NotLeader,
    PodConflict,
    PodGone,
    PodOutcome,
    PodRefused,
    Touched,
    Ungated,
    difference,
    is_changed,
    is_taken,
    normalised,
    refusal,
)
from berth.controller.api import ApiClient, claim_path, pod_path
from berth.controller.bodies import (
    REGENERATE_ANNOTATION,
    allocation_patch,
    finalizer_patch,
    release_patch,
    reserve_patch,
    timestamp,
    touch_patch,
    ungate_and_pin_patch,
)
from berth.controller.sender import Changed, End, Gone, Refused, Sender, Stored, Withdrawn
from berth.errors import DecodeError
from berth.model.claims import (
    DELETE_PROTECTION_FINALIZER,
    ClaimKey,
    ConsumerReference,
    ResourceClaim,
)
from berth.model.devices import DeviceID
from berth.model.pods import SCHEDULING_GATE, Pod
from berth.model.results import AllocationResult

if TYPE_CHECKING:
    from berth.controller.metrics import Metrics

__all__ = [
    "ClaimConflict",
    "ClaimGone",
    "ClaimOutcome",
    "ClaimRefused",
    "ClaimWritten",
    "NotLeader",
    "PodConflict",
    "PodGone",
    "PodOutcome",
    "PodRefused",
    "Ungated",
    "Writer",
]

CONFLICT_ATTEMPTS = 5
"""How often a pod's patch is sent anew when only its version has changed."""

log = structlog.get_logger("berth.writer")


class Writer:
    """Writes claims and pods; any number of calls may run at the same time.

    At most ``concurrency`` requests are under way. Every method raises `NotLeader` if nothing
    was sent because ``may_write`` said no; what was in doubt before is settled first.
    ``version`` is the one in which claims are served. ``overtaken`` tells, right before an
    allocation is sent, which of its devices another claim has by now.
    """

    def __init__(  # noqa: PLR0913 - what it writes with, and how
        self,
        api: ApiClient,
        may_write: Callable[[], bool],
        *,
        concurrency: int = 32,
        clock_now: Callable[[], dt.datetime],
        metrics: Metrics | None = None,
        version: str = V1,
        overtaken: Callable[[ClaimKey, AllocationResult], DeviceID | None] = lambda *_: None,
    ) -> None:
        self._overtaken = overtaken
        self._claim_path = partial(claim_path, version=version)
        self._sender = Sender(api, may_write, concurrency=concurrency)
        self._clock_now = clock_now
        self._metrics = metrics

    # --- claims

    async def write_claim(
        self,
        claim: ResourceClaim,
        allocation: AllocationResult,
        consumers: tuple[ConsumerReference, ...],
    ) -> ClaimOutcome:
        """Allocate an unallocated claim and reserve it for ``consumers``.

        First the delete protection, unless it is there, then allocation and consumers in one
        patch. If the API server stores the allocation otherwise than it was sent, it is taken
        back.

        Raises:
            NotLeader: If the claim was not allocated because this replica may not write.
        """
        began = time.monotonic()
        outcome = await self._allocate(claim, allocation, consumers)
        self._measure("allocate", outcome, began)
        return outcome

    async def reserve(self, claim: ResourceClaim, consumer: ConsumerReference) -> ClaimOutcome:
        """Add a consumer to an allocated claim.

        Raises:
            NotLeader: If nothing was written because this replica may not write.
        """
        began = time.monotonic()
        end = await self._sender.send(
            f"{self._claim_path(claim.key)}/status",
            reserve_patch(claim, consumer),
            "strategic",
            lambda raw: consumer in decode_claim(raw).reserved_for,
        )
        what = f"reserving claim {claim.key}"
        outcome = _claim_outcome(end, what)
        if isinstance(end, Refused) and is_changed(end.error):
            outcome = await self._conflict_or_gone(claim, "it can take no new consumer")
        self._measure("reserve", outcome, began)
        return outcome

    async def release(self, claim: ResourceClaim, gated: Sequence[Pod]) -> ClaimOutcome:
        """Undo an allocation with all its reservations, while the pods of it are still gated.

        Each of the pods ``gated`` is read first. One that has lost its gate may be starting with
        the claim, and then the claim is left as it is.

        Raises:
            NotLeader: If nothing was written because this replica may not write.
        """
        began = time.monotonic()
        outcome: ClaimOutcome | None = await self._started(claim, gated)
        if outcome is None:
            end = await self._send_release(claim)
            outcome = _claim_outcome(end, f"releasing the allocation of claim {claim.key}")
        self._measure("release", outcome, began)
        return outcome

    async def _started(self, claim: ResourceClaim, gated: Sequence[Pod]) -> ClaimConflict | None:
        for pod in gated:
            raw = await self._sender.read_until_known(pod_path(pod.key))
            if raw is not None and raw["metadata"]["uid"] == pod.uid and _is_ungated(raw):
                return ClaimConflict(claim, f"pod {pod.key} has been let go")
        return None

    async def _send_release(self, claim: ResourceClaim) -> End:
        return await self._sender.send(
            f"{self._claim_path(claim.key)}/status",
            release_patch(claim),
            "merge",
            lambda raw: decode_claim(raw).allocation is None,
        )

    async def _allocate(
        self,
        claim: ResourceClaim,
        allocation: AllocationResult,
        consumers: tuple[ConsumerReference, ...],
    ) -> ClaimOutcome:
        # The API server would accept an allocation of a claim that is being deleted.
        if claim.deleting:
            return ClaimConflict(claim, "the claim is being deleted")
        if claim.allocation is not None:
            return ClaimConflict(claim, "the claim is allocated already")
        if DELETE_PROTECTION_FINALIZER not in claim.finalizers:
            protected = await self._protect(claim)
            if not isinstance(protected, ClaimWritten):
                return protected
            claim = protected.claim
            if claim.deleting or claim.allocation is not None:
                return ClaimConflict(claim, "the claim changed while it was being protected")
        allocated_at = timestamp(self._clock_now())
        sent = normalised(allocation, allocated_at)
        try:
            end = await self._sender.send(
                f"{self._claim_path(claim.key)}/status",
                allocation_patch(claim, encode_allocation(allocation), allocated_at, consumers),
                "strategic",
                lambda raw: difference(sent, decode_claim(raw).allocation) is None,
                lambda: self._overtaken(claim.key, allocation) is None,
            )
        except Withdrawn:
            return ClaimConflict(claim, "another claim has got one of the devices meanwhile")
        if isinstance(end, Refused) and is_taken(end.error):
            return await self._conflict_or_gone(claim, "somebody else allocated the claim first")
        outcome = _claim_outcome(end, f"allocating claim {claim.key}")
        if isinstance(outcome, ClaimWritten):
            lost = difference(sent, outcome.claim.allocation)
            if lost is not None:
                return await self._take_back(outcome.claim, lost)
        return outcome

    async def _protect(self, claim: ResourceClaim) -> ClaimOutcome:
        end = await self._sender.send(
            self._claim_path(claim.key),
            finalizer_patch(claim),
            "merge",
            lambda raw: DELETE_PROTECTION_FINALIZER in decode_claim(raw).finalizers,
        )
        return _claim_outcome(end, f"protecting claim {claim.key} from deletion")

    async def _take_back(self, claim: ResourceClaim, lost: str) -> ClaimOutcome:
        end = await self._send_release(claim)
        log.error("allocation taken back", claim=str(claim.key), reason=lost)
        match end:
            case Stored() | Gone():
                return ClaimRefused(f"{lost}; the allocation was taken back")
            case Changed(raw, detail):
                text = f"{lost}; the allocation could not be taken back: {detail}"
                return _conflict(raw, text)
            case Refused(error):
                return ClaimRefused(f"{lost}; {refusal('taking the allocation back', error)}")

    async def _conflict_or_gone(self, claim: ResourceClaim, detail: str) -> ClaimOutcome:
        raw = await self._sender.read_until_known(self._claim_path(claim.key))
        if raw is None:
            return ClaimGone(f"claim {claim.key} was deleted")
        return _conflict(raw, detail)

    # --- pods

    async def ungate(self, pod: Pod, node: str | None) -> PodOutcome:
        """Remove Berth's gate from a pod, and pin it to ``node`` in the same patch if given.

        If the pod changed in nothing that was decided upon, the patch is sent anew.

        Raises:
            NotLeader: If nothing was written because this replica may not write.
        """
        began = time.monotonic()
        outcome = await self._ungate(pod, node)
        self._measure("ungate", outcome, began)
        return outcome

    async def read_claim(self, key: ClaimKey) -> ResourceClaim | None:
        """Return the claim as it is now, ``None`` if there is none."""
        raw = await self._sender.read_until_known(self._claim_path(key))
        return None if raw is None else decode_claim(raw)

    async def touch(self, pod: Pod, value: str) -> Touched | PodGone | PodConflict | PodRefused:
        """Change an annotation of a pod, so that who generates claims looks at it again.

        Raises:
            NotLeader: If nothing was written because this replica may not write.
        """
        began = time.monotonic()
        end = await self._sender.send(
            pod_path(pod.key),
            touch_patch(pod, value),
            "merge",
            lambda raw: (
                (raw["metadata"].get("annotations") or {}).get(REGENERATE_ANNOTATION) == value
            ),
        )
        outcome: Touched | PodGone | PodConflict | PodRefused
        match end:
            case Gone():
                outcome = PodGone()
            case Refused(error):
                outcome = PodRefused(refusal(f"touching pod {pod.key}", error))
            case Changed(raw, _):
                outcome = PodConflict(raw)
            case Stored(raw):
                outcome = Touched(raw)
        self._measure("touch", outcome, began)
        return outcome

    async def _ungate(self, pod: Pod, node: str | None) -> PodOutcome:
        what = f"removing the gate of pod {pod.key}"
        for _ in range(CONFLICT_ATTEMPTS):
            end = await self._sender.send(
                pod_path(pod.key),
                ungate_and_pin_patch(pod, SCHEDULING_GATE, node),
                "strategic",
                _is_ungated,
            )
            match end:
                case Gone():
                    return PodGone()
                case Refused(error):
                    return PodRefused(refusal(what, error))
                case Stored(raw) if _is_ungated(raw):
                    return Ungated(raw)
                case Stored(raw):
                    return PodRefused(f"{what} was accepted, but it is there again")
                case Changed(raw, _):
                    try:
                        fresh = decode_pod(raw)
                    except DecodeError as error:
                        return PodRefused(str(error))
                    if not same_decision(pod, fresh):
                        return PodConflict(raw)
                    pod = replace(pod, resource_version=fresh.resource_version)
        return PodConflict(raw)

    def _measure(
        self, kind: str, outcome: ClaimOutcome | PodOutcome | Touched, began: float
    ) -> None:
        if self._metrics is not None:
            self._metrics.wrote(kind, _RESULTS[type(outcome)], time.monotonic() - began)


_RESULTS: Mapping[type, str] = {
    ClaimWritten: "ok",
    ClaimConflict: "conflict",
    ClaimGone: "gone",
    ClaimRefused: "refused",
    Ungated: "ok",
    Touched: "ok",
    PodConflict: "conflict",
    PodGone: "gone",
    PodRefused: "refused",
}


def _claim_outcome(end: End, what: str) -> ClaimOutcome:
    match end:
        case Gone(detail):
            return ClaimGone(detail)
        case Refused(error):
            return ClaimRefused(refusal(what, error))
        case Changed(raw, detail):
            return _conflict(raw, detail)
        case Stored(raw):
            try:
                return ClaimWritten(decode_claim(raw))
            except DecodeError as error:
                return ClaimConflict(None, str(error))


def _conflict(raw: dict[str, Any], detail: str) -> ClaimConflict:
    try:
        return ClaimConflict(decode_claim(raw), detail)
    except DecodeError as error:
        return ClaimConflict(None, f"{detail}; {error}")


def _is_ungated(raw: Mapping[str, Any]) -> bool:
    gates = raw["spec"].get("schedulingGates") or ()
    return all(gate["name"] != SCHEDULING_GATE for gate in gates)


def same_decision(decided: Pod, fresh: Pod) -> bool:
    """Tell whether a pod has changed in nothing that a decision looks at.

    Names of generated claims may have been recorded since; they must be those decided upon.
    """
    same = replace(
        fresh,
        resource_version=decided.resource_version,
        unschedulable_message=decided.unschedulable_message,
        claim_names={**decided.claim_names, **fresh.claim_names},
    )
    return same == decided
