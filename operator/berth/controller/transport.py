# SPDX-License-Identifier: Apache-2.0
"""One HTTP request to the API server: credentials, timeouts, JSON, and what a failure means.

Decides which failures certainly had no effect (`Unreachable`), which leave the outcome unknown
(`InDoubt`), and which are answers (`ApiError`). Sends a request twice only after a 401, which
says that nothing was done.
"""

from __future__ import annotations

import asyncio
import gc
import random
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol, cast

import aiohttp
import orjson
from yarl import URL

from berth import __version__
from berth.controller.apierrors import ApiError, InDoubt, Unreachable, error_from_answer
from berth.controller.fenced import (
    FencedConnections,
    NotConnected,
    TooLate,
    message_of,
    origin_of,
)

RawObject = dict[str, Any]

MAX_RETRY_AFTER = 30.0
"""Longest wait that the server may impose, in seconds."""
LARGE_BODY = 256 * 1024
"""Bytes from which a body is decoded with garbage collection off; it costs nine times more else."""


_HEADERS: Mapping[str, str] = {
    "Accept": "application/json",
    # The API server takes the field manager of a write from its first part.
    "User-Agent": f"berth/{__version__}",
}


class Access(Protocol):
    """What the client needs to know to reach an API server."""

    @property
    def server(self) -> str:
        """Base URL, without a slash at the end."""

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What to verify of the server, and the client certificate."""

    @property
    def proxy(self) -> str | None:
        """URL of a proxy, or ``None``."""

    @property
    def tls_server_name(self) -> str | None:
        """Name to check in the server's certificate, where it is not the host of the URL."""

    async def headers(self) -> Mapping[str, str]:
        """Headers that carry the credentials, with a fresh token."""

    def invalidate(self) -> None:
        """Have the next call of `headers` read the credentials anew."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the client waits, in seconds.

    ``write`` bounds a whole write: lease deadline plus this must be shorter than the lease.
    ``inactivity`` is how long a watch may be silent; the server sends a bookmark every minute.
    """

    connect: float = 10.0
    total: float = 30.0
    write: float = 4.0
    inactivity: float = 70.0


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, as it goes out; ``seconds`` bounds it from connecting to its answer's end."""

    method: str
    url: str
    params: Mapping[str, str] | None
    headers: Mapping[str, str]
    data: bytes | None
    seconds: float


class Transport:
    """A session with one API server; use it from one event loop, and close it."""

    def __init__(self, access: Access, timeouts: Timeouts) -> None:
        self._access = access
        self.timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None
        self._fenced = FencedConnections(timeouts.connect)
        self._under_way = 0
        self._given_up_at = float("-inf")

    async def open(self) -> None:
        """Read the credentials, so that a mistake in them shows before the first request."""
        await self._access.headers()
        self._open()

    async def close(self) -> None:
        """Close all connections; running requests fail."""
        self._fenced.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        seconds: float | None = None,
        may_send: Callable[[], bool] | None = None,
    ) -> RawObject:
        """Send one request and return the JSON object that answers it.

        ``body`` is sent as JSON under ``content_type``; ``seconds`` bounds the whole request.
        ``may_send`` is asked in the last moment before it is sent; behind a proxy, only before
        it is begun.

        Raises:
            TooLate: If ``may_send`` said no.
            ApiError: If the API server answers with an error, or with something else than JSON.
            InDoubt: If a request other than GET may have been carried out without an answer.
            Unreachable: If the request certainly had no effect.
        """
        where = f"{method} {path}"
        data = None if body is None else orjson.dumps(body)
        limit = self.timeouts.total if seconds is None else seconds
        for last in (False, True):
            headers = {**_HEADERS, **await self._access.headers()}
            if content_type is not None:
                headers["Content-Type"] = content_type
            request = _Request(method, self._access.server + path, params, headers, data, limit)
            with _network_errors(where, write=method != "GET"):
                if may_send is None:
                    status, found, raw = await self._send(request)
                else:
                    with self._remembered():
                        status, found, raw = await self._send_fenced(request, may_send)
            if status == HTTPStatus.UNAUTHORIZED and not last:
                # Refused before anything was done, so even a write may be sent again.
                self._access.invalidate()
                continue
            if status >= HTTPStatus.BAD_REQUEST:
                raise error_from_answer(where, status, raw, found)
            return decode_body(where, raw)
        raise AssertionError("the last attempt returns or raises")

    def settled(self, seconds: float) -> bool:
        """Tell whether no request with ``may_send`` can take effect any more.

        None is under way, and none was given up without an answer in the last ``seconds``.
        """
        return self._under_way == 0 and time.monotonic() - self._given_up_at > seconds

    @contextmanager
    def _remembered(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        except (TooLate, NotConnected):
            raise
        except BaseException:
            self._given_up_at = time.monotonic()
            raise
        finally:
            self._under_way -= 1

    async def _send(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
        async with self._open().request(
            request.method,
            request.url,
            params=request.params,
            data=request.data,
            headers=request.headers,
            timeout=aiohttp.ClientTimeout(
                total=request.seconds, sock_connect=self.timeouts.connect
            ),
            proxy=self._access.proxy,
            server_hostname=self._access.tls_server_name,
        ) as answer:
            return answer.status, answer.headers, await answer.read()

    async def _send_fenced(
        self, request: _Request, may_send: Callable[[], bool]
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._access.proxy is not None:
            if not may_send():
                raise TooLate
            return await self._send(request)
        url = URL(request.url).update_query(request.params or {})
        origin = origin_of(url, self._access.ssl_context, self._access.tls_server_name)
        async with asyncio.timeout(request.seconds):
            message = message_of(request.method, url, request.headers, request.data or b"")
            answer = await self._fenced.request(origin, message, may_send)
        retry_after = answer.headers.get("retry-after")
        found = {} if retry_after is None else {"Retry-After": retry_after}
        return answer.status, found, answer.body

    async def stream(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes]:
        """Yield the lines that answer a GET, as they come and without their line ends.

        Raises:
            ApiError: If the API server answers with an error.
            Unreachable: If the connection breaks, or nothing came for the inactivity timeout.
        """
        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self.timeouts.connect,
            sock_read=self.timeouts.inactivity,
        )
        where = f"GET {path} (watch)"
        with _network_errors(where, write=False):
            async with self._open().request(
                "GET",
                self._access.server + path,
                params=params,
                headers={**_HEADERS, **await self._access.headers()},
                timeout=timeout,
                proxy=self._access.proxy,
                server_hostname=self._access.tls_server_name,
            ) as answer:
                if answer.status == HTTPStatus.UNAUTHORIZED:
                    self._access.invalidate()
                if answer.status != HTTPStatus.OK:
                    raise error_from_answer(
                        where, answer.status, await answer.read(), answer.headers
                    )
                async for line in _lines(answer.content.iter_any()):
                    yield line

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # No limit of connections: a write that waits for one would look like one in doubt.
            connector = aiohttp.TCPConnector(ssl=self._access.ssl_context, limit=0)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def decode_body(where: str, raw: bytes) -> RawObject:
    """Return the JSON object of an answer.

    Raises:
        ApiError: If the answer is not a JSON object; a proxy may have given it.
    """
    try:
        if len(raw) < LARGE_BODY or not gc.isenabled():
            decoded = orjson.loads(raw)
        else:
            gc.disable()
            try:
                decoded = orjson.loads(raw)
            finally:
                gc.enable()
    except orjson.JSONDecodeError as error:
        raise ApiError(where, HTTPStatus.BAD_GATEWAY, "NotJSON", str(error)) from error
    if not isinstance(decoded, dict):
        detail = f"the answer is a JSON {type(decoded).__name__}, not an object"
        raise ApiError(where, HTTPStatus.BAD_GATEWAY, "NotJSON", detail)
    return cast("RawObject", decoded)


def retry_delay(
    attempt: int, retry_after: float | None = None, *, base: float = 0.25, cap: float = 10.0
) -> float:
    """Return how long to wait before the next attempt: full jitter, at least ``retry_after``.

    ``attempt`` counts from 0; a demand of the server is honoured up to `MAX_RETRY_AFTER`.
    """
    jitter = random.uniform(0, min(cap, base * 2 ** min(attempt, 16)))  # noqa: S311 - no secret
    return jitter + min(retry_after or 0.0, MAX_RETRY_AFTER)


@contextmanager
def _network_errors(where: str, *, write: bool) -> Iterator[None]:
    """Translate what aiohttp raises: was the request certainly not sent, or is it in doubt?"""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Unreachable(where, _text(error)) from error
    except NotConnected as error:
        raise Unreachable(where, _text(error)) from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        kind = InDoubt if write else Unreachable
        raise kind(where, _text(error)) from error


def _text(error: BaseException) -> str:
    return str(error) or ("timed out" if isinstance(error, TimeoutError) else repr(error))


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # An own splitter: the stream's readline gives up on lines beyond its buffer.
    head: list[bytes] = []
    async for chunk in chunks:
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            head.append(line)
            yield b"".join(head)
            head.clear()
        if rest:
            head.append(rest)
    # What is left has no line end: the connection broke inside an event, which is not one.
