# SPDX-License-Identifier: Apache-2.0
"""Berth's client of the API server: the verbs of the Kubernetes API.

Retries reads that are safe to repeat; never repeats a write, because only the caller knows what
a second one would do.

Source: Kubernetes API concepts (status objects, pagination, watches, patch content types).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

from berth.controller.apierrors import ApiError, InDoubt, NotServedError, Unreachable
from berth.controller.paths import (
    claim_path,
    claims_path,
    event_path,
    events_path,
    lease_path,
    leases_path,
    pod_path,
)
from berth.controller.transport import Access, RawObject, Timeouts, Transport, retry_delay

__all__ = [
    "Access",
    "ApiClient",
    "ApiError",
    "InDoubt",
    "NotServedError",
    "RawObject",
    "Timeouts",
    "Unreachable",
    "claim_path",
    "claims_path",
    "event_path",
    "events_path",
    "lease_path",
    "leases_path",
    "pod_path",
    "require_served",
    "retry_delay",
]

PatchKind = Literal["merge", "strategic", "apply"]

CONTENT_TYPES: Mapping[PatchKind, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
PAGE_SIZE = 500
READ_ATTEMPTS = 5


class ApiClient:
    """A session with one API server; use it from one event loop, and close it."""

    def __init__(self, access: Access, *, timeouts: Timeouts | None = None) -> None:
        self._transport = Transport(access, timeouts or Timeouts())

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client."""
        await self.close()

    async def open(self) -> None:
        """Check that credentials can be had, so that a mistake shows before the first request.

        Raises:
            BerthError: If they cannot; the text names the file or program.
        """
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections; running requests fail."""
        await self._transport.close()

    def settled(self, seconds: float) -> bool:
        """Tell whether no patch with ``may_send`` can take effect any more.

        None is under way, and none was given up without an answer in the last ``seconds``.
        """
        return self._transport.settled(seconds)

    # --- reads

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> RawObject:
        """Return one object, always read consistently.

        Raises:
            ApiError: If the API server answers with an error, after retries where they help.
            Unreachable: If no answer came.
        """
        for attempt in range(READ_ATTEMPTS):
            try:
                return await self._transport.request("GET", path, params=params)
            except ApiError as error:
                if attempt + 1 == READ_ATTEMPTS or not error.may_pass:
                    raise
                await asyncio.sleep(retry_delay(attempt, error.retry_after))
        raise AssertionError("the last attempt returns or raises")

    async def list(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> RawObject:
        """Return a whole list as one object: ``items`` in the server's order, and ``metadata``.

        Raises:
            ApiError: If the API server answers with an error; an expired page token is not one,
                the list is then begun anew.
            Unreachable: If no answer came.
        """
        for attempt in range(READ_ATTEMPTS):
            items: list[RawObject] = []
            try:
                async for page in self.pages(path, params, page_size=page_size):
                    items += page.get("items") or []
                    metadata = page["metadata"]
            except ApiError as error:
                if error.status != HTTPStatus.GONE or attempt + 1 == READ_ATTEMPTS:
                    raise
                continue
            return {"items": items, "metadata": metadata}
        raise AssertionError("the last attempt returns or raises")

    async def pages(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[RawObject]:
        """Yield the pages of a consistent list; all have the same resource version.

        Raises:
            ApiError: With status 410 if the page token expired underway; else as `get`.
            Unreachable: If no answer came.
        """
        query = dict(params or {}, limit=str(page_size))
        while True:
            page = await self.get(path, query)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def watch(self, path: str, params: Mapping[str, str] | None = None) -> AsyncGenerator[bytes]:
        """Yield the lines of a watch as they come, without their line ends; they may be long.

        Ends when the server ends the watch.

        Raises:
            ApiError: If the API server refuses the watch; 410 where the version is too old.
            Unreachable: If the connection breaks, or nothing came for the inactivity timeout.
        """
        return self._transport.stream(path, dict(params or {}, watch="true"))

    async def served(self, group_version: str, plural: str) -> bool:
        """Tell whether this API server serves a kind; ``group_version`` is ``v1`` or ``g/v``."""
        root = "/apis" if "/" in group_version else "/api"
        try:
            found = await self.get(f"{root}/{group_version}")
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return any(resource.get("name") == plural for resource in found.get("resources") or ())

    # --- writes: sent once, unless the server says that it did not take them

    async def create(
        self,
        path: str,
        body: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
    ) -> RawObject:
        """Create an object and return it as stored; errors as `patch`."""
        return await self._write("POST", path, body, "application/json", params)

    async def put(
        self,
        path: str,
        body: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
    ) -> RawObject:
        """Replace an object and return it as stored; errors as `patch`."""
        return await self._write("PUT", path, body, "application/json", params)

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any],
        kind: PatchKind,
        params: Mapping[str, str] | None = None,
        *,
        may_send: Callable[[], bool] | None = None,
    ) -> RawObject:
        """Patch an object and return it as stored.

        ``may_send`` is asked in the very moment before the patch leaves the process.

        Raises:
            TooLate: If ``may_send`` said no; nothing was sent.
            ApiError: If the API server answers with an error.
            InDoubt: If the request may have been carried out although no answer came.
            Unreachable: If the request certainly was not sent.
        """
        return await self._write("PATCH", path, body, CONTENT_TYPES[kind], params, may_send)

    async def delete(
        self, path: str, *, uid: str | None = None, resource_version: str | None = None
    ) -> RawObject | None:
        """Delete an object; return the answer, or ``None`` where it is gone already.

        With ``uid`` or ``resource_version`` a successor of the same name is left alone (409).
        """
        preconditions = {
            key: value
            for key, value in (("uid", uid), ("resourceVersion", resource_version))
            if value is not None
        }
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        try:
            return await self._transport.request(
                "DELETE",
                path,
                body=body if preconditions else None,
                content_type="application/json",
                seconds=self._transport.timeouts.write,
            )
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    async def _write(  # noqa: PLR0913, PLR0917 - the parts of a request
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        content_type: str,
        params: Mapping[str, str] | None,
        may_send: Callable[[], bool] | None = None,
    ) -> RawObject:
        # Strict: the default, Warn, would drop an unknown field and answer 200.
        query = {"fieldValidation": "Strict", **(params or {})}
        return await self._transport.request(
            method,
            path,
            params=query,
            body=body,
            content_type=content_type,
            seconds=self._transport.timeouts.write,
            may_send=may_send,
        )


async def require_served(api: ApiClient, group_version: str, plural: str) -> None:
    """Check that the API server serves a kind without which Berth cannot work.

    Raises:
        NotServedError: If it does not; the text says what is needed.
        ApiError: If the API server answers with another error.
        Unreachable: If no answer came.
    """
    if not await api.served(group_version, plural):
        raise NotServedError(group_version, plural)
