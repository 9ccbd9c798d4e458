# SPDX-License-Identifier: Apache-2.0
"""Per-pod claims from templates, and cleaning up after finished pods, where Berth does it.

Does what kube-controller-manager's resourceclaim controller does, under the same names, owner,
annotation and labels, so that either adopts the other's claims: an existing claim of the pod is
used, never doubled; names are recorded in the pod's status as a full list by a field manager of
our own, without force, so that the first writer wins. Off unless ``generate_claims`` is set.
Never deletes a claim that a pod which is not finished refers to.

Source: KEP-4381, ResourceClaimTemplate; pod ``status.resourceClaimStatuses``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal

import structlog

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.codec.versions import V1
from berth.controller.api import ApiClient
from berth.controller.apierrors import ApiError, Unreachable
from berth.controller.bodies import generated_claim, generated_statuses, unreserve_patch
from berth.controller.events import EventRecorder
from berth.controller.fenced import TooLate
from berth.controller.paths import claim_path, claims_path, pod_path
from berth.explain import messages
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ClaimKey, ResourceClaim
from berth.model.pods import Pod, PodClaimReference, PodKey
from berth.state.cluster import Cluster

FIELD_MANAGER = "berth-claims"
GENERATION_FAILED = "FailedResourceClaimCreation"
"""The reason that kube-controller-manager uses for the same thing."""
RETRY_SECONDS = 2.0
Work = tuple[Literal["pod"], PodKey] | tuple[Literal["claim"], ClaimKey]
WORKERS = 8

log = structlog.get_logger("berth.generate")


class ClaimGenerator:
    """Work queue over pods; each pod is handled by at most one worker at a time.

    ``touch`` enqueues a pod: after each event of the pod, of one of its claims or templates.
    ``version`` is the one in which claims are served.
    """

    def __init__(
        self,
        cluster: Cluster,
        api: ApiClient,
        events: EventRecorder,
        *,
        may_write: Callable[[], bool],
        version: str = V1,
    ) -> None:
        self._version = version
        self._cluster = cluster
        self._api = api
        self._events = events
        self._may_write = may_write
        self._queue: asyncio.Queue[Work] = asyncio.Queue()
        self._queued: set[Work] = set()
        self._busy: set[Work] = set()
        self._again: set[Work] = set()

    def touch(self, key: PodKey) -> None:
        """Have the pod looked at soon."""
        self._put(("pod", key))

    def touch_claim(self, key: ClaimKey) -> None:
        """Have the claim looked at soon, if it is being deleted: it may be nobody's any more."""
        claim = self._cluster.claims.get(key)
        if claim is not None and claim.deleting:
            self._put(("claim", key))

    def _put(self, work: Work) -> None:
        if work in self._busy:
            self._again.add(work)
        elif work not in self._queued:
            self._queued.add(work)
            self._queue.put_nowait(work)

    def touch_all(self) -> None:
        """Have every pod looked at, and those that claims name though they are gone."""
        for key in self._cluster.pods:
            self.touch(key)
        for claim in self._cluster.claims:
            self.touch_claim(claim)
            for key in pods_to_touch(self._cluster, claim):
                self.touch(key)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            work = await self._queue.get()
            self._queued.discard(work)
            self._busy.add(work)
            try:
                await self._handle(work)
            except TooLate:
                log.info("write dropped: not the leader", reason=str(work[1]))
            except (ApiError, Unreachable) as error:
                log.warning(
                    "claim generation failed, will retry", reason=str(work[1]), error=str(error)
                )
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._put, work)
            finally:
                self._busy.discard(work)
                if work in self._again:
                    self._again.discard(work)
                    self._put(work)

    async def _handle(self, work: Work) -> None:
        if not self._may_write():
            return
        match work:
            case ("pod", PodKey() as key):
                await self._handle_pod(key)
            case ("claim", ClaimKey() as key):
                claim = self._cluster.claims.get(key)
                if claim is not None and claim.deleting:
                    await self._release(claim, None)

    async def _handle_pod(self, key: PodKey) -> None:
        pod = self._cluster.pods.get(key)
        if pod is None or pod.is_terminal or (pod.deleting and not pod.node_name):
            await self._clean_up(key, pod)
        elif not pod.deleting:
            await self._generate(pod)

    # --- generating

    async def _generate(self, pod: Pod) -> None:
        names: dict[str, str] = {}
        created: list[ResourceClaim] = []
        for reference in pod.claims:
            if reference.template_name is None:
                continue
            claim = self._cluster.claim_of(pod, reference)
            if claim is None:
                claim = await self._create(pod, reference)
                created += [claim] if claim is not None else []
            if claim is not None:
                names[reference.name] = claim.name
        if any(pod.claim_names.get(name) != claim for name, claim in names.items()):
            await self._record(pod, names, created)

    async def _create(self, pod: Pod, reference: PodClaimReference) -> ResourceClaim | None:
        template = self._cluster.templates.get((pod.namespace, reference.template_name or ""))
        if template is None:
            message = messages.template_missing(pod, reference.name, reference.template_name or "")
            self._events.post(pod, "Warning", GENERATION_FAILED, message)
            return None
        try:
            raw = await self._api.create(
                claims_path(pod.namespace, self._version),
                generated_claim(pod, reference, template, self._version),
            )
        except ApiError as error:
            if error.status not in {HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY}:
                raise
            message = f"PodResourceClaim {reference.name}: {error.message}"
            self._events.post(pod, "Warning", GENERATION_FAILED, message)
            return None
        claim = decode_claim(raw)
        # Entered at once, so that a second look before the watch event makes no second claim.
        self._cluster.apply_claim(claim)
        log.info("claim generated", claim=str(claim.key), consumer=str(pod.key))
        return claim

    async def _record(self, pod: Pod, names: dict[str, str], created: list[ResourceClaim]) -> None:
        """Write the full list of names; where another generator was first, its claims count."""
        path = pod_path(pod.key)
        try:
            raw = await self._api.patch(
                f"{path}/status",
                generated_statuses(pod, names),
                "apply",
                params={"fieldManager": FIELD_MANAGER},
                may_send=self._may_write,
            )
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return  # The garbage collector takes the claims of a pod that is gone.
            if error.status != HTTPStatus.CONFLICT:
                raise
            log.info("another controller recorded the pod's claims first", pod=str(pod.key))
            raw = await self._api.get(path)
            recorded = set(decode_pod(raw).claim_names.values())
            for claim in created:
                if claim.name not in recorded:
                    await self._api.delete(claim_path(claim.key, self._version), uid=claim.uid)
        self._cluster.confirm_pod(decode_pod(raw))

    # --- cleaning up

    async def _clean_up(self, key: PodKey, pod: Pod | None) -> None:
        for claim in self._cluster.claims_reserved_or_owned(key, pod.uid if pod else None):
            await self._release(claim, pod)

    async def _release(self, claim: ResourceClaim, pod: Pod | None) -> None:
        """Drop consumers that are done; free, unprotect and delete the claim if it is over."""
        path = claim_path(claim.key, self._version)
        pods = [c for c in claim.reserved_for if c.resource == "pods" and not c.api_group]
        done = frozenset(
            [each.uid for each in pods if await self._is_done(claim, each.name, each.uid)]
        )
        remaining = len(claim.reserved_for) - len(done)
        unused = remaining == 0 and (bool(done) or claim.deleting)
        if done or (unused and claim.allocation is not None):
            raw = await self._api.patch(
                f"{path}/status",
                unreserve_patch(claim, done),
                "merge",
                may_send=self._may_write,
            )
            claim = decode_claim(raw)
        if (
            remaining == 0
            and claim.allocation is None
            and (DELETE_PROTECTION_FINALIZER in claim.finalizers)
        ):
            left = [name for name in claim.finalizers if name != DELETE_PROTECTION_FINALIZER]
            metadata = {
                "uid": claim.uid,
                "resourceVersion": claim.resource_version,
                "finalizers": left or None,
            }
            raw = await self._api.patch(
                path, {"metadata": metadata}, "merge", may_send=self._may_write
            )
            claim = decode_claim(raw)
        self._cluster.apply_claim(claim)
        over = remaining == 0 and bool(claim.controller_uid) and not claim.deleting
        if over and (pod is None or claim.controller_uid == pod.uid):
            await self._api.delete(path, uid=claim.uid)
            log.info("claim of a finished pod deleted", claim=str(claim.key))

    async def _is_done(self, claim: ResourceClaim, name: str, uid: str) -> bool:
        known = self._cluster.pods.get(PodKey(claim.namespace, name))
        if known is not None and known.uid == uid:
            return known.is_terminal or (known.deleting and not known.node_name)
        # Not in the ledger, or another pod of the name: only the API server can tell.
        try:
            live = await self._api.get(pod_path(PodKey(claim.namespace, name)))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return True
            raise
        pod = decode_pod(live)
        return pod.uid != uid or pod.is_terminal or (pod.deleting and not pod.node_name)


def pods_to_touch(cluster: Cluster, key: ClaimKey) -> tuple[PodKey, ...]:
    """Return the pods that an event of a claim concerns: consumers, owner, and referrers."""
    claim = cluster.claims.get(key)
    names = {consumer.name for consumer in claim.reserved_for} if claim else set()
    owners = {owner.name for owner in claim.owners if owner.controller} if claim else set()
    keys = {PodKey(key.namespace, name) for name in names | owners}
    return tuple(sorted(keys | set(cluster.pods_of_claim(key))))
