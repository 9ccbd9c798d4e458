# SPDX-License-Identifier: Apache-2.0
"""One write, from the first request until it is known how it ended.

Decides when a write is sent again. One without an answer is in doubt: the object is read until it
shows what happened; if nothing did, the same write with the same precondition is sent again,
after which the first cannot take effect any more. Sends nothing when ``may_write`` says no.

Source: Kubernetes API concepts: optimistic concurrency by resource version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog

from berth.controller.answers import NotLeader, is_recreated
from berth.controller.api import ApiClient, PatchKind, retry_delay
from berth.controller.apierrors import ApiError, InDoubt, Unreachable
from berth.controller.fenced import TooLate
from berth.errors import DecodeError

INTERNAL_ERROR_ATTEMPTS = 5
"""How often a write that the API server answers with 500 is sent; some 500s are for ever."""

log = structlog.get_logger("berth.writer")


@dataclass(frozen=True, slots=True)
class Stored:
    """The write took effect; ``raw`` is the object now."""

    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gone:
    """There is no such object any more; one of the same name may have been created since."""

    detail: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The precondition does not hold any more; ``raw`` is the object now."""

    raw: dict[str, Any]
    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server refuses the write as it is."""

    error: ApiError


End = Stored | Gone | Changed | Refused


class Withdrawn(Exception):  # noqa: N818 - no error: a write that was rightly not sent
    """The patch was not carried out, because it was not right any more when it was to be sent."""


class Sender:
    """Sends patches; any number of calls may run at the same time.

    At most ``concurrency`` requests are under way.
    """

    def __init__(self, api: ApiClient, may_write: Callable[[], bool], *, concurrency: int) -> None:
        self._api = api
        self._may_write = may_write
        self._slots = asyncio.Semaphore(concurrency)

    async def send(
        self,
        path: str,
        body: Mapping[str, Any],
        kind: PatchKind,
        took_effect: Callable[[dict[str, Any]], bool],
        still_right: Callable[[], bool] = lambda: True,
    ) -> End:
        """Send a patch until it is known how it ended.

        ``body`` carries uid and resource version. ``took_effect`` tells from the object, as read
        after a doubt, whether the patch was carried out. ``still_right`` is asked each time in
        the moment before it is sent.

        Raises:
            NotLeader: If it was not carried out, because this replica may not write.
            Withdrawn: If it was not carried out, because it was not right any more.
        """
        attempt = internal_errors = 0
        refused: Refused | None = None
        while True:
            pause: float | None = None
            doubt = True
            try:
                return Stored(await self._patch(path, body, kind, still_right))
            except ApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return Gone(error.message)
                if error.status == HTTPStatus.CONFLICT or is_recreated(error):
                    # Not in doubt, but it may be a doubtful former request that was first.
                    return await self._compare(path, body, took_effect, error.message)
                pause = error.retry_after
                doubt = error.status != HTTPStatus.TOO_MANY_REQUESTS
                if not error.may_pass:
                    return Refused(error)
                if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                    internal_errors += 1
                    refused = Refused(error) if internal_errors >= INTERNAL_ERROR_ATTEMPTS else None
                log.warning("write failed", path=path, attempt=attempt + 1, error=str(error))
            except InDoubt as error:
                log.warning("write in doubt", path=path, attempt=attempt + 1, error=str(error))
            except Unreachable as error:
                doubt = False
                log.warning("write not sent", path=path, attempt=attempt + 1, error=str(error))
            if doubt:
                end = await self._compare(path, body, took_effect, "changed while in doubt")
                if not isinstance(end, Changed) or not _precondition_holds(body, end.raw):
                    return end
                if refused is not None:
                    return refused
            await asyncio.sleep(retry_delay(attempt, pause))
            attempt += 1

    async def _patch(
        self,
        path: str,
        body: Mapping[str, Any],
        kind: PatchKind,
        still_right: Callable[[], bool],
    ) -> dict[str, Any]:
        right = True

        def may_send() -> bool:
            nonlocal right
            right = still_right()
            return right and self._may_write()

        async with self._slots:
            try:
                # Asked when it is sent and nowhere earlier: waiting for the slot, for credentials
                # or for a connection may have taken longer than the lease.
                return await self._api.patch(path, body, kind, may_send=may_send)
            except TooLate:
                if not right:
                    raise Withdrawn from None
                text = f"PATCH {path}: not sent: this replica may not write now"
                raise NotLeader(text) from None

    async def _compare(
        self,
        path: str,
        body: Mapping[str, Any],
        took_effect: Callable[[dict[str, Any]], bool],
        detail: str,
    ) -> End:
        """Read the object, and say how the write that ``body`` stands for has ended so far."""
        raw = await self.read_until_known(path.removesuffix("/status"))
        if raw is None:
            return Gone(detail)
        if raw["metadata"]["uid"] != body["metadata"]["uid"]:
            return Gone("deleted, and created anew under the same name")
        try:
            done = took_effect(raw)
        except DecodeError as error:
            return Changed(raw, f"{detail}; {error}")
        return Stored(raw) if done else Changed(raw, detail)

    async def read_until_known(self, path: str) -> dict[str, Any] | None:
        """Return the object, ``None`` if there is none; ask until the API server says so."""
        attempt = 0
        while True:
            try:
                return await self._api.get(path)
            except ApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return None
                problem, pause = str(error), error.retry_after
            except Unreachable as error:
                problem, pause = str(error), None
            log.warning("outcome not known yet", path=path, attempt=attempt + 1, error=problem)
            await asyncio.sleep(retry_delay(attempt, pause))
            attempt += 1


def _precondition_holds(body: Mapping[str, Any], raw: Mapping[str, Any]) -> bool:
    return bool(raw["metadata"]["resourceVersion"] == body["metadata"]["resourceVersion"])
