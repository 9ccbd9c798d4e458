# SPDX-License-Identifier: Apache-2.0
"""Leader election by a Lease: which replica may write, and until when.

Decides from changes of the Lease that it sees itself, on a clock of this machine that cannot be
set; never compares the clocks of two machines. A leader stops writing before anybody else may
begin: it counts its time from before the renewal was sent, the others theirs from after they saw
it.

Source: ``coordination.k8s.io/v1`` Lease.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import sys
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import structlog

from berth.controller.api import ApiClient, lease_path, leases_path
from berth.controller.apierrors import ApiError, Unreachable


def since_boot() -> float:
    """Return seconds on a clock that goes on while the machine is suspended, where there is one."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


RELEASE_SECONDS = 2.0
"""How long giving the Lease back may take at shut-down; after that it runs out by itself."""

log = structlog.get_logger("berth.leader")


class Elector:
    """One candidate for one Lease.

    At any moment at most one candidate's `may_write` is true, as long as a write takes less than
    ``lease_seconds - deadline_seconds`` and clocks run at about the same speed.
    """

    def __init__(  # noqa: PLR0913 - one setting each
        self,
        api: ApiClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_seconds: float = 15,
        renew_seconds: float = 2,
        deadline_seconds: float = 10,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        if not renew_seconds < deadline_seconds < lease_seconds:
            raise ValueError(
                "renew_seconds < deadline_seconds < lease_seconds must hold, not "
                f"{renew_seconds}, {deadline_seconds}, {lease_seconds}"
            )
        self._api = api
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._lease_seconds = lease_seconds
        self._renew_seconds = renew_seconds
        self._deadline_seconds = deadline_seconds
        self._clock = clock
        self._valid_until = float("-inf")
        self._leading = False
        self._lease: dict[str, Any] | None = None
        self._observed: tuple[str, str, object] | None = None
        self._observed_at = 0.0
        self._uid = ""
        self._missing_since: float | None = None
        self._replaced_until = float("-inf")
        self.holder = ""
        """Identity that the Lease named when it was last read; empty while nobody holds it."""

    @property
    def leading(self) -> bool:
        """Tell whether this candidate holds the Lease, as far as it knows."""
        return self._leading

    def may_write(self) -> bool:
        """Tell whether a write may be sent at this very moment."""
        return self._leading and self._clock() < self._valid_until

    async def run(
        self, on_started: Callable[[], Awaitable[object]], on_stopped: Callable[[], object]
    ) -> None:
        """Take part until cancelled; then give the Lease back.

        ``on_started`` runs beside the renewals once the Lease is won, and is cancelled when it is
        lost; if it fails for want of the API server, the Lease is given back and tried for again.
        ``on_stopped`` is called after `may_write` has turned false, once for each ``on_started``.
        The Lease is not given back while a write may still take effect; it runs out then.
        """
        while True:
            await self._win()
            await self._lead(on_started, on_stopped)

    # --- standing by

    async def _win(self) -> None:
        while not await self._attempt(self._try_to_acquire):  # noqa: ASYNC110 - the server is asked
            await asyncio.sleep(self._pause())

    async def _attempt(self, step: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await step()
        except (ApiError, Unreachable) as error:
            log.warning("lease request failed", reason=self._name, error=str(error))
            return False

    async def _try_to_acquire(self) -> bool:
        lease = await self._read()
        if lease is None:
            # Its holder may not have noticed yet that it was deleted, and may be unknown here.
            now = self._clock()
            if self._missing_since is None:
                self._missing_since = now
            if now < self._missing_since + self._lease_seconds or self._may_be_held():
                return False
            return await self._create()
        self._missing_since = None
        spec = lease["spec"]
        mine = spec.get("holderIdentity") == self._identity
        if not mine and self._clock() < self._replaced_until:
            return False
        # Mine: a former request whose answer was lost, so the time counts from a renewal now.
        if mine or not spec.get("holderIdentity") or not self._may_be_held():
            return await self._renew(lease, acquired=not mine)
        return False

    def _may_be_held(self) -> bool:
        return self._clock() < self._observed_at + self._observed_seconds()

    def _observed_seconds(self) -> float:
        seconds = self._observed[2] if self._observed is not None else None
        named = float(seconds) if isinstance(seconds, int | float) else 0.0
        return max(named, self._lease_seconds)

    # --- leading

    async def _lead(
        self, on_started: Callable[[], Awaitable[object]], on_stopped: Callable[[], object]
    ) -> None:
        log.info("leadership won", consumer=self._identity)
        starting = asyncio.ensure_future(_awaited(on_started))
        release = True
        try:
            release = await self._renew_until_lost(starting)
        finally:
            self._leading = False
            self._valid_until = float("-inf")
            starting.cancel()
            # What it ended with was looked at before, or does not matter to who lost the Lease.
            await asyncio.wait({starting})
            on_stopped()
            log.info("leadership ended", consumer=self._identity)
            if release:
                await self._release()

    async def _renew_until_lost(self, starting: asyncio.Future[object]) -> bool:
        """Renew as long as it works; return whether the Lease is still ours to give back."""
        while True:
            await asyncio.sleep(self._pause())
            if starting.done() and not starting.cancelled():
                try:
                    starting.result()
                except (ApiError, Unreachable) as error:
                    log.warning("taking over failed", error=str(error))
                    return True
            left = self._valid_until - self._clock()
            if left <= 0:
                log.error("lease not renewed in time", reason=self._name)
                return True
            try:
                async with asyncio.timeout(left):
                    if not await self._attempt(self._keep) and not self._leading:
                        return False
            except TimeoutError:
                log.error("lease not renewed in time", reason=self._name)  # noqa: TRY400 - no traceback helps
                return True

    async def _keep(self) -> bool:
        if self._lease is None:
            raise AssertionError("leading without a Lease")
        try:
            return await self._renew(self._lease, acquired=False)
        except ApiError as error:
            if error.status not in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
                raise
        # Changed or deleted under us, or our own former request came through after all.
        lease = await self._read()
        if lease is not None and lease["spec"].get("holderIdentity") == self._identity:
            return await self._renew(lease, acquired=False)
        log.warning("lease lost", reason=self._name, consumer=self.holder)
        self._leading = False
        return False

    # --- the Lease

    async def _read(self) -> dict[str, Any] | None:
        try:
            lease = await self._api.get(lease_path(self._namespace, self._name))
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                self.holder = ""
                return None
            raise
        lease.setdefault("spec", {})
        self._observe(lease)
        return lease

    def _observe(self, lease: dict[str, Any]) -> None:
        spec = lease["spec"]
        self.holder = spec.get("holderIdentity") or ""
        uid = lease["metadata"].get("uid") or ""
        if uid != self._uid:
            # Another Lease in its place: who held the former one may not have noticed yet.
            if self._observed is not None and self._observed[0] not in {"", self._identity}:
                self._replaced_until = self._observed_at + self._observed_seconds()
            self._uid = uid
        seen = (self.holder, spec.get("renewTime") or "", spec.get("leaseDurationSeconds"))
        if seen != self._observed:
            self._observed, self._observed_at = seen, self._clock()

    async def _create(self) -> bool:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": {**self._spec(), "acquireTime": _now(), "leaseTransitions": 0},
        }
        before = self._clock()
        try:
            lease = await self._api.create(leases_path(self._namespace), body)
        except ApiError as error:
            if error.status == HTTPStatus.CONFLICT:
                return False  # Another candidate was first.
            raise
        self._won(lease, before)
        return True

    async def _renew(self, lease: dict[str, Any], *, acquired: bool) -> bool:
        spec = {**lease["spec"], **self._spec()}
        if acquired:
            spec["acquireTime"] = spec["renewTime"]
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        before = self._clock()
        try:
            stored = await self._put(lease, spec)
        except ApiError as error:
            if acquired and error.status == HTTPStatus.CONFLICT:
                return False  # Another candidate was first.
            raise
        self._won(stored, before)
        return True

    async def _put(self, lease: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {**lease["metadata"]}
        metadata.pop("managedFields", None)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
        return await self._api.put(lease_path(self._namespace, self._name), body)

    def _won(self, lease: dict[str, Any], before: float) -> None:
        self._lease = lease
        self._observe(lease)
        self._valid_until = before + self._deadline_seconds
        self._leading = True

    def _spec(self) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            # Rounded up: shorter than we think would let others begin too early.
            "leaseDurationSeconds": max(1, int(-(-self._lease_seconds // 1))),
            "renewTime": _now(),
        }

    async def _release(self) -> None:
        """Give the Lease back, so that another candidate need not wait for it to run out.

        Not while a write may still take effect, which it would after the other one's first.
        """
        if not self._api.settled(self._lease_seconds):
            log.info("lease not released, it will run out: writes are in doubt", reason=self._name)
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self._read()
                if lease is not None and self.holder == self._identity:
                    spec = {**lease["spec"], "holderIdentity": "", "renewTime": _now()}
                    self._observe(await self._put(lease, spec))
        except (ApiError, Unreachable, TimeoutError) as error:
            log.info("lease not released, it will run out", reason=self._name, error=str(error))

    def _pause(self) -> float:
        return self._renew_seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


async def _awaited(start: Callable[[], Awaitable[object]]) -> object:
    return await start()


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
