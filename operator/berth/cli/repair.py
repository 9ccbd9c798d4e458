# SPDX-License-Identifier: Apache-2.0
"""Carries out what ``berth audit --repair`` may do, each after a look at the object as it is now.

Decides from a fresh, consistent GET whether a repair is still right and safe; if not, it is not
done, and why is said. Every patch carries uid and resourceVersion of that GET. Never deletes an
object and never clears an allocation.

Source: KEP-4381, KEP-3521.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from berth.audit.finding import AddFinalizer, DropConsumers, Finding, ObjectRef, RemoveGate, Repair
from berth.audit.words import seconds_of
from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.errors import BerthError
from berth.model.claims import (
    DELETE_PROTECTION_FINALIZER,
    ClaimKey,
    ConsumerReference,
    ResourceClaim,
)
from berth.model.pods import SCHEDULING_GATE, Pod, PodKey

if TYPE_CHECKING:
    from berth.controller.api import ApiClient

LEASES = "/apis/coordination.k8s.io/v1/leases"
LEASE_NAME = "berth"
LEASE_GRACE_SECONDS = 60
"""Clocks of this computer and of the leader may differ."""


class NotSafe(BerthError):  # noqa: N818 - no error: a repair that is rightly not done
    """A repair is not right any more; the text says why."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a repair."""

    repair: Repair
    done: bool
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return this as plain JSON; no field is ever left out."""
        return {
            "action": type(self.repair).__name__,
            "object": self.repair.target.as_json(),
            "text": self.repair.text,
            "done": self.done,
            "detail": self.detail,
        }


def repairs_of(found: Iterable[Finding]) -> tuple[Repair, ...]:
    """Return the repairs of ``found``, each once, in their order."""
    return tuple(dict.fromkeys(each.repair for each in found if each.repair is not None))


async def is_allocating(kubeconfig: str | None, context: str | None) -> bool | None:
    """Tell whether a replica of Berth holds its Lease, ``None`` where that cannot be seen."""
    from berth.controller.apierrors import ApiError  # noqa: PLC0415 - pulls in Kopf

    async with await _client(kubeconfig, context) as api:
        try:
            found = await api.list(LEASES, {"fieldSelector": f"metadata.name={LEASE_NAME}"})
        except ApiError as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return None
            raise
    now = int(dt.datetime.now(dt.UTC).timestamp())
    return any(_is_held(each.get("spec") or {}, now) for each in found["items"])


def _is_held(spec: Mapping[str, Any], now: int) -> bool:
    renewed = seconds_of(str(spec.get("renewTime")))
    if not spec.get("holderIdentity") or renewed is None:
        return False
    return now < renewed + int(spec.get("leaseDurationSeconds") or 0) + LEASE_GRACE_SECONDS


async def repair_all(
    repairs: Iterable[Repair], kubeconfig: str | None, context: str | None
) -> tuple[Done, ...]:
    """Carry out ``repairs`` one after the other."""
    from berth.controller.apierrors import ApiError, InDoubt, Unreachable  # noqa: PLC0415 - as above
    from berth.controller.served import discover  # noqa: PLC0415 - as above

    done = []
    async with await _client(kubeconfig, context) as api:
        bench = Bench(api, (await discover(api)).resources)
        for each in repairs:
            try:
                detail = await bench.repair(each)
            except (NotSafe, ApiError, InDoubt, Unreachable) as error:
                done.append(Done(each, done=False, detail=str(error)))
            else:
                done.append(Done(each, done=True, detail=detail))
    return tuple(done)


class Bench:
    """Carries out repairs on one cluster; ``version`` is that in which it serves claims."""

    def __init__(self, api: ApiClient, version: str) -> None:
        self._api = api
        self._version = version

    async def repair(self, repair: Repair) -> str:
        """Carry out one repair, and return what became of it.

        Raises:
            NotSafe: If it is not right any more, and so was not done.
            ApiError: If the API server refuses it; the object may have changed in between.
            InDoubt: If it may have been done although no answer came.
            Unreachable: If the API server cannot be asked.
        """
        match repair:
            case AddFinalizer(target):
                return await self._add_finalizer(target)
            case DropConsumers(target, consumers):
                return await self._drop_consumers(target, consumers)
            case RemoveGate(target, claims, node):
                return await self._remove_gate(target, claims, node)

    async def _add_finalizer(self, target: ObjectRef) -> str:
        from berth.controller.bodies import finalizer_patch  # noqa: PLC0415 - as above

        claim = await self._claim(target)
        if claim.deleting:
            raise NotSafe(f"{target}: is being deleted")
        if claim.allocation is None:
            raise NotSafe(f"{target}: is not allocated any more")
        if DELETE_PROTECTION_FINALIZER in claim.finalizers:
            return "it was there already"
        await self._api.patch(self._path(claim.key), finalizer_patch(claim), "merge")
        return "added"

    async def _drop_consumers(
        self, target: ObjectRef, consumers: tuple[ConsumerReference, ...]
    ) -> str:
        # The claim first: a pod that reserves it after this changes its resourceVersion.
        claim = await self._claim(target)
        listed = {each.uid for each in claim.reserved_for}
        absent = []
        for each in consumers:
            if each.uid not in listed:
                continue
            pod = await self._find_pod(PodKey(claim.namespace, each.name))
            if pod is not None and pod.uid == each.uid:
                raise NotSafe(f"{target}: pod {pod.key} exists")
            absent.append(each)
        if not absent:
            return "they were gone already"
        # Strategic, so that the other entries are no part of it.
        body = {
            "metadata": {"uid": claim.uid, "resourceVersion": claim.resource_version},
            "status": {"reservedFor": [{"$patch": "delete", "uid": each.uid} for each in absent]},
        }
        await self._api.patch(f"{self._path(claim.key)}/status", body, "strategic")
        left = len(claim.reserved_for) - len(absent)
        rest = "" if left else "; the claim stays allocated"
        return f"removed {len(absent)}, {left} left{rest}"

    async def _remove_gate(
        self, target: ObjectRef, claims: tuple[ObjectRef, ...], node: str
    ) -> str:
        from berth.controller.bodies import ungate_and_pin_patch  # noqa: PLC0415 - as above
        from berth.controller.paths import pod_path  # noqa: PLC0415 - as above

        pod = await self._find_pod(PodKey(target.namespace, target.name))
        if pod is None or pod.uid != target.uid:
            raise NotSafe(f"{target}: does not exist any more")
        if not pod.is_gated:
            return "it was gone already"
        for each in claims:
            claim = await self._claim(each)
            if claim.allocation is None:
                raise NotSafe(f"{each}: is not allocated any more")
            if all(consumer.uid != pod.uid for consumer in claim.reserved_for):
                raise NotSafe(f"{each}: is not reserved for the pod any more")
        body = ungate_and_pin_patch(pod, SCHEDULING_GATE, node or None)
        await self._api.patch(pod_path(pod.key), body, "strategic")
        return f"removed, pinned to node {node}" if node else "removed, not pinned"

    async def _claim(self, target: ObjectRef) -> ResourceClaim:
        raw = await _find(self._api, self._path(ClaimKey(target.namespace, target.name)))
        claim = None if raw is None else decode_claim(raw)
        if claim is None or claim.uid != target.uid:
            raise NotSafe(f"{target}: does not exist any more")
        return claim

    async def _find_pod(self, key: PodKey) -> Pod | None:
        from berth.controller.paths import pod_path  # noqa: PLC0415 - as above

        raw = await _find(self._api, pod_path(key))
        return None if raw is None else decode_pod(raw)

    def _path(self, key: ClaimKey) -> str:
        from berth.controller.paths import claim_path  # noqa: PLC0415 - as above

        return claim_path(key, self._version)


async def _find(api: ApiClient, path: str) -> dict[str, Any] | None:
    from berth.controller.apierrors import ApiError  # noqa: PLC0415 - as above

    try:
        return await api.get(path)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


async def _client(kubeconfig: str | None, context: str | None) -> ApiClient:
    from berth.controller.api import ApiClient  # noqa: PLC0415 - as above
    from berth.controller.credentials import load_credentials  # noqa: PLC0415 - as above

    api = ApiClient(await load_credentials(kubeconfig, context))
    await api.open()
    return api
