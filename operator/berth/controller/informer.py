# SPDX-License-Identifier: Apache-2.0
"""A complete and current copy of one kind: what exists, what changed, and what is gone.

Decides when a list is needed instead of a watch, and which objects have vanished. Every deletion
is reported, also those that happened while no watch was open. Never keeps objects: only their
names and uids, and the place in the history.

Source: Kubernetes API concepts: consistent lists, watch bookmarks, 410 Gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar

import orjson
import structlog

from berth.controller.api import PAGE_SIZE, ApiClient, retry_delay
from berth.controller.apierrors import ApiError, Unreachable, error_from_status
from berth.errors import BerthError, DecodeError

T = TypeVar("T")

SLICE_SECONDS = 0.01
"""How long events are applied before the loop may turn."""
MAX_BACKOFF = 30.0
NO_PARAMS: Mapping[str, str] = MappingProxyType({})

log = structlog.get_logger("berth.informer")


class HistoryLostError(BerthError):
    """The watch cannot go on from where it was; only a new list tells what is there."""


class Informer(Generic[T]):
    """Lists a kind, then watches it, for ever.

    ``on_apply`` is called with every object that exists, again after each list and each change.
    ``on_remove`` is called once for each object that is gone, with name, namespace ("" for kinds
    without) and uid; also for objects that could never be decoded. An object that has the name of
    another one with a different uid is reported as removal and new object. ``on_undecodable`` is
    called instead of ``on_apply``; what was applied before for that object is out of date then.
    The callbacks are called in the order of the object's history, and must not block.
    """

    def __init__(  # noqa: PLR0913 - the callbacks, each named
        self,
        api: ApiClient,
        path: str,
        *,
        decode: Callable[[Mapping[str, Any]], T],
        on_apply: Callable[[T], None],
        on_remove: Callable[[str, str, str], None],
        on_undecodable: Callable[[Mapping[str, Any], DecodeError], None],
        params: Mapping[str, str] = NO_PARAMS,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._api = api
        self._path = path
        self._decode = decode
        self._on_apply = on_apply
        self._on_remove = on_remove
        self._on_undecodable = on_undecodable
        self._params = dict(params)
        self._page_size = page_size
        self._known: dict[tuple[str, str], str] = {}
        self._version = ""
        self._failures = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._watching: asyncio.Task[None] | None = None
        self._slice_began = 0.0
        self.synced = asyncio.Event()
        """Set once the first list is complete, and never cleared."""
        self.last_activity = 0.0
        """Loop time at which the API server was last heard of; 0 before that."""
        self.lists = 0
        """How many complete lists there were."""

    @property
    def known(self) -> int:
        """How many objects exist, as far as is known."""
        return len(self._known)

    def seconds_silent(self) -> float:
        """Return how long ago the API server was last heard of; a watch is silent for a minute."""
        return asyncio.get_running_loop().time() - self.last_activity

    @property
    def resource_version(self) -> str:
        """Up to where the history is known; empty before the first list."""
        return self._version

    async def relist(self) -> None:
        """Return when a consistent list that began after this call has been applied."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._watching is not None:
            self._watching.cancel()
        try:
            await done
        finally:
            if done in self._waiting:
                self._waiting.remove(done)

    async def run(self) -> None:
        """Keep the copy current until cancelled; trouble of the API server never ends it."""
        while True:
            try:
                if not self._version or self._waiting:
                    await self._list()
                await self._watch_until_interrupted()
            except HistoryLostError as error:
                log.info("history lost, listing again", reason=self._path, error=str(error))
                self._version = ""
            except (ApiError, Unreachable) as error:
                delay = retry_delay(self._failures, _demand(error), base=0.5, cap=MAX_BACKOFF)
                self._failures += 1
                log.warning(
                    "informer interrupted",
                    reason=self._path,
                    attempt=self._failures,
                    error=str(error),
                )
                await asyncio.sleep(delay)

    # --- list

    async def _list(self) -> None:
        # Who asks during this list wants a later one.
        served, self._waiting = self._waiting, []
        try:
            version = await self._apply_list()
        except BaseException:
            self._waiting += served
            raise
        self._version = version
        self.lists += 1
        self._failures = 0
        self.synced.set()
        for done in served:
            if not done.done():
                done.set_result(None)

    async def _apply_list(self) -> str:
        # Applied page by page; if a later page fails, what was applied is true all the same, but
        # nothing may be called gone, and the watch may not go on from an older version.
        self._version = ""
        listed: set[tuple[str, str]] = set()
        version = ""
        try:
            async for page in self._api.pages(self._path, self._params, page_size=self._page_size):
                self._heard()
                version = page["metadata"]["resourceVersion"]
                for raw in page.get("items") or ():
                    listed.add(self._apply(raw))
                    await self._turn()
        except ApiError as error:
            if error.status == HTTPStatus.GONE:
                raise HistoryLostError(str(error)) from error
            raise
        for key in [key for key in self._known if key not in listed]:
            self._remove(key, self._known[key])
            await self._turn()
        return version

    # --- watch

    async def _watch_until_interrupted(self) -> None:
        """Watch until the stream ends or `relist` interrupts it; raise what the stream raises."""
        if self._waiting:
            return
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name=self._path)
        try:
            await asyncio.wait({self._watching})
        except asyncio.CancelledError:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            raise
        task, self._watching = self._watching, None
        if not task.cancelled():
            task.result()

    async def _watch(self) -> None:
        query = {
            **self._params,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            # Spread, so that the watches of many replicas do not end at the same moment.
            "timeoutSeconds": str(random.randint(240, 360)),  # noqa: S311 - no secret
        }
        self._slice_began = asyncio.get_running_loop().time()
        try:
            async with contextlib.aclosing(self._api.watch(self._path, query)) as lines:
                async for line in lines:
                    self._heard()
                    self._take(line)
                    self._failures = 0
                    await self._turn()
        except ApiError as error:
            if error.status == HTTPStatus.GONE:
                raise HistoryLostError(str(error)) from error
            raise

    def _take(self, line: bytes) -> None:
        try:
            event = orjson.loads(line)
            kind, raw = event["type"], event["object"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise Unreachable(
                f"GET {self._path} (watch)", f"a line is no watch event: {line[:200]!r}"
            ) from error
        if kind == "ERROR":
            self._fail(raw)
        if kind in {"ADDED", "MODIFIED"}:
            self._apply(raw)
        elif kind == "DELETED":
            metadata = raw["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            if key in self._known:
                self._remove(key, self._known[key])
        # A bookmark, or a kind of event of a later release: it still marks the place.
        self._version = raw["metadata"]["resourceVersion"]

    def _fail(self, status: Mapping[str, Any]) -> NoReturn:
        raise error_from_status(f"GET {self._path} (watch)", status)

    # --- objects

    def _apply(self, raw: Mapping[str, Any]) -> tuple[str, str]:
        metadata = raw["metadata"]
        key, uid = (metadata.get("namespace", ""), metadata["name"]), metadata["uid"]
        known = self._known.get(key)
        if known is not None and known != uid:
            self._remove(key, known)
        self._known[key] = uid
        try:
            decoded = self._decode(raw)
        except DecodeError as error:
            self._on_undecodable(raw, error)
        else:
            self._on_apply(decoded)
        return key

    def _remove(self, key: tuple[str, str], uid: str) -> None:
        namespace, name = key
        del self._known[key]
        self._on_remove(name, namespace, uid)

    def _heard(self) -> None:
        self.last_activity = asyncio.get_running_loop().time()

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._slice_began >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._slice_began = loop.time()


def _demand(error: BerthError) -> float | None:
    return error.retry_after if isinstance(error, ApiError) else None
