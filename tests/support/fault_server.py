# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on loopback that answers as a test says: errors, silence, broken connections.

It stands in for an API server only where a real one cannot be made to behave that way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from berth.controller.api import ApiClient, Timeouts

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A request that came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class FaultServer:
    """Answers each request with the next answer for its method and path; the last one repeats."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], deque[Answer]] = defaultdict(deque)
        self.received: list[Received] = []
        self.url = ""

    def answer(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path].extend(answers)

    def bodies(self, method: str) -> list[Any]:
        return [request.body for request in self.received if request.method == method]

    def count(self, method: str) -> int:
        return len(self.bodies(method))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        self.received.append(
            Received(
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                orjson.loads(raw) if raw else None,
            )
        )
        answers = self._answers[request.method, request.path]
        if not answers:
            return status(404, "NotFound", f"no answer for {request.method} {request.path}")
        answer = answers[0] if len(answers) == 1 else answers.popleft()
        return await answer(request)


class PlainAccess:
    """Access to a server without TLS, with a token that counts how often it was read."""

    proxy = None
    tls_server_name = None

    def __init__(self, server: str) -> None:
        self.server = server
        self.ssl_context = ssl.create_default_context()
        self.generation = 1

    async def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer token-{self.generation}"}

    def invalidate(self) -> None:
        self.generation += 1


QUICK = Timeouts(connect=1, total=1, write=0.2, inactivity=0.2)


@asynccontextmanager
async def fault_server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(server: FaultServer, timeouts: Timeouts = QUICK) -> AsyncIterator[ApiClient]:
    async with ApiClient(PlainAccess(server.url), timeouts=timeouts) as api:
        yield api


def json(body: Json, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            body=orjson.dumps(body),
            status=code,
            content_type="application/json",
            headers=headers,
        )

    return answer


def failure(
    code: int,
    reason: str = "",
    message: str = "",
    causes: list[Json] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    return json(_status(code, reason, message, causes), code, headers)


def status(code: int, reason: str, message: str) -> web.Response:
    body = orjson.dumps(_status(code, reason, message))
    return web.Response(body=body, status=code, content_type="application/json")


def _status(code: int, reason: str, message: str, causes: list[Json] | None = None) -> Json:
    details = {"causes": causes} if causes else {}
    return {
        "kind": "Status",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


async def hang(_: web.Request) -> web.StreamResponse:
    """Give no answer; the client's timeout ends it."""
    await asyncio.sleep(30)
    raise AssertionError("the client waited longer than a test may take")


async def reset(request: web.Request) -> web.StreamResponse:
    """Break the connection instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def lines(*events: Json | bytes, then: Answer | None = None) -> Answer:
    """Answer with a watch of these events, and end it, or do ``then``."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            data = event if isinstance(event, bytes) else orjson.dumps(event) + b"\n"
            await response.write(data)
        if then is not None:
            await then(request)
        return response

    return answer
