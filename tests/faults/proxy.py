# SPDX-License-Identifier: Apache-2.0
"""A proxy between one replica and the API server, which does to requests what a fault asks for.

Decides when a request goes on and what its sender hears of it. It keeps what the API server
carried out for the replica, with the version, so that it can be compared with the Lease. A
request whose sender has gone before it was passed on is dropped, as its connection would have been.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yarl
from aiohttp import web

from tests.faults.history import Write
from tests.support.kube_access import Access

Hook = Callable[[], object]
DROP = -1
"""In place of a status: break the connection."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: what it is for, and for which resource."""

    what: str
    """``finalizer``, ``status``, ``ungate``, ``lease``, ``watch``, ``event`` or ``read``."""
    resource: str
    write: bool


@dataclass(slots=True)
class Fate:
    """What happens to one request; by default nothing does.

    ``instead`` answers without passing it on; ``afterwards`` answers otherwise than the API
    server did. Both are a status or ``DROP``.
    """

    delay: float = 0.0
    instead: int = 0
    afterwards: int = 0
    on_arrival: Hook | None = None
    on_applied: Hook | None = None
    on_answered: Hook | None = None


PASS = Fate()
DIGEST_SECONDS = 1.0
"""How long a replica may take to make use of what it was told."""
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')
_PODS = re.compile(r"/api/v1/namespaces/[^/]+/pods/[^/]+")
_CLAIM = re.compile(
    r"/apis/resource\.k8s\.io/[^/]+/namespaces/[^/]+/resourceclaims/[^/]+(/status)?"
)


def classify(method: str, path: str, query: Mapping[str, str]) -> Call:
    resource = next(
        (part for part in reversed(path.split("/")) if part.endswith("s") and part != "status"), ""
    )
    for known in ("resourceclaims", "pods", "leases", "events"):
        if f"/{known}" in path:
            resource = known
    write = method != "GET"
    if query.get("watch"):
        what = "watch"
    elif resource == "leases":
        what = "lease"
    elif resource == "events":
        what = "event"
    elif method == "PATCH" and (found := _CLAIM.fullmatch(path)):
        what = "status" if found[1] else "finalizer"
    elif method == "PATCH" and _PODS.fullmatch(path):
        what = "ungate"
    else:
        what = "write" if write else "read"
    return Call(what, resource, write)


@dataclass(frozen=True, slots=True)
class Came:
    """Who sent a request, and up to which version of claims it had been told then."""

    replica: str
    knew: int


@dataclass(eq=False, slots=True)
class Stream:
    """An open watch; ``flowing`` is cleared while it is withheld."""

    resource: str
    response: web.StreamResponse
    request: web.Request
    flowing: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """Stands before the API server for one replica; ``url`` is where it listens."""

    def __init__(self, access: Access, writes: Path) -> None:
        self._access = access
        self._writes = writes.open("ab", buffering=0)
        self._streams: set[Stream] = set()
        self._passing: set[asyncio.Task[Any]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self.fate: Callable[[Call], Fate] = lambda _: PASS
        """Says what happens to each request."""
        self.url = ""
        self._told: deque[tuple[float, int]] = deque([(0.0, 0)])

    async def start(self) -> None:
        # A request that hangs here must see that its sender has gone.
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._access.ssl_context(), limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )

    async def close(self) -> None:
        self.heal()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        self._writes.close()

    # --- faults of connections

    def partition(self) -> None:
        """Let nothing through, in either direction, until `heal`."""
        self._open.clear()

    def heal(self) -> None:
        self._open.set()
        for stream in self._streams:
            stream.flowing.set()

    def close_watches(self, resource: str = "") -> None:
        for stream in self._of(resource):
            _abort(stream.request)

    async def expire_watches(self, resource: str = "") -> None:
        """End watches with what the API server says when a version is too old."""
        status = _status(410, "Expired", "too old resource version")
        for stream in self._of(resource):
            line = orjson.dumps({"type": "ERROR", "object": status}) + b"\n"
            try:
                await stream.response.write(line)
            except (ConnectionError, RuntimeError):
                continue
            _abort(stream.request)

    def withhold(self, resource: str) -> None:
        """Let watches of one resource stay open and silent until `heal`."""
        for stream in self._of(resource):
            stream.flowing.clear()

    def _of(self, resource: str) -> list[Stream]:
        return [each for each in self._streams if not resource or each.resource == resource]

    # --- requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        # Who speaks is part of the URL: what a killed replica sent may arrive after the start of
        # its successor.
        replica, path = request.path.lstrip("/").split("/", 1)
        body = await request.read()
        call = classify(request.method, f"/{path}", request.query)
        came, fate = Came(replica, self._knew()), self.fate(call)
        if fate.delay:
            await asyncio.sleep(fate.delay)
        await self._open.wait()
        _run(fate.on_arrival)
        if fate.instead:
            return _answer(request, fate.instead)
        if call.what == "watch":
            return await self._watch(request, call)
        # Passed on to its end, even if the sender goes: it may take effect, and then it counts.
        passing = asyncio.ensure_future(self._pass_on(request, body, call, came, fate))
        self._passing.add(passing)
        passing.add_done_callback(self._passing.discard)
        status, headers, raw = await asyncio.shield(passing)
        await self._open.wait()
        if fate.afterwards:
            return _answer(request, fate.afterwards)
        response = web.Response(status=status, body=raw, headers=headers)
        if fate.on_answered is not None:
            # Whoever asked may be gone by now.
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                await response.write_eof()
            _run(fate.on_answered)
        return response

    async def _pass_on(
        self, request: web.Request, body: bytes, call: Call, came: Came, fate: Fate
    ) -> tuple[int, dict[str, str], bytes]:
        async with self._upstream(request, body) as answer:
            raw = await answer.read()
            headers = _passed(answer.headers)
        if call.write and answer.status < 300:
            self._note(request, body, call, came, raw)
        _run(fate.on_applied)
        return answer.status, headers, raw

    def _upstream(self, request: web.Request, body: bytes) -> Any:
        assert self._session is not None
        return self._session.request(
            request.method,
            yarl.URL(
                f"{self._access.server}/{request.raw_path.lstrip('/').split('/', 1)[1]}",
                encoded=True,
            ),
            data=body or None,
            headers=_passed(request.headers, "Authorization", "Accept", "User-Agent"),
        )

    def _note(self, request: web.Request, body: bytes, call: Call, came: Came, raw: bytes) -> None:
        if call.what not in ("finalizer", "status", "ungate"):
            return
        sent, stored = orjson.loads(body)["metadata"], orjson.loads(raw)["metadata"]
        # One that changes nothing makes no version, so it has no place in the history.
        if sent.get("resourceVersion") == stored["resourceVersion"]:
            return
        version = int(stored["resourceVersion"])
        path = request.path.removeprefix(f"/{came.replica}")
        write = Write(came.replica, call.what, path, version, time.time(), came.knew)
        self._writes.write(orjson.dumps(write) + b"\n")

    def _tell(self, chunk: bytes) -> None:
        """Take note of the versions that the replica now knows of."""
        newest = max(map(int, _VERSION.findall(chunk)), default=0)
        self._told.append((time.monotonic(), max(newest, self._told[-1][1])))

    def _knew(self) -> int:
        before = time.monotonic() - DIGEST_SECONDS
        while len(self._told) > 1 and self._told[1][0] <= before:
            self._told.popleft()
        return self._told[0][1] if self._told[0][0] <= before else 0

    async def _watch(self, request: web.Request, call: Call) -> web.StreamResponse:
        async with self._upstream(request, b"") as answer:
            if answer.status != 200:
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    headers=_passed(answer.headers),
                )
            response = web.StreamResponse(headers=_passed(answer.headers))
            await response.prepare(request)
            stream = Stream(call.resource, response, request)
            stream.flowing.set()
            self._streams.add(stream)
            try:
                async for chunk in answer.content.iter_any():
                    await stream.flowing.wait()
                    await self._open.wait()
                    await response.write(chunk)
                    if call.resource == "resourceclaims":
                        self._tell(chunk)
            except (ConnectionError, aiohttp.ClientError):
                _abort(request)
            finally:
                self._streams.discard(stream)
            return response


def _run(hook: Hook | None) -> None:
    if hook is not None:
        hook()


def _passed(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    wanted = ("Content-Type", "Retry-After", "Warning", *names)
    return {name: headers[name] for name in wanted if name in headers}


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _answer(request: web.Request, status: int) -> web.Response:
    if status == DROP:
        _abort(request)
        return web.Response()
    reasons = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError"}
    body = _status(status, reasons.get(status, "ServiceUnavailable"), "a fault of the test")
    headers = {"Retry-After": "1"} if status == 429 else None
    return web.Response(
        status=status, body=orjson.dumps(body), content_type="application/json", headers=headers
    )


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
