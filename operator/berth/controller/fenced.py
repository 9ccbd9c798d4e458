# SPDX-License-Identifier: Apache-2.0
"""Writes that must not be sent too late, on connections of their own.

Decides, in the last moment before the system call that hands a whole request to the kernel,
whether it may still be sent. An HTTP library and the event loop both keep requests for a while:
until a connection is made, until the loop turns. A process that is stopped in between sends them
when it goes on, which may be after its lease. Here nothing is kept: the request is complete, and
encrypted, before the question is asked. What was given up is withdrawn from the kernel as well.
Never sends a request twice.

Source: RFC 9112 (HTTP/1.1 messages); ``docs/concepts/guarantees.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from yarl import URL

CHUNK = 64 * 1024
IDLE_SECONDS = 15.0
"""How long an unused connection is kept."""
MAX_HEAD = 64 * 1024
HEAD_END = b"\r\n\r\n"
# On, and 0 seconds: closing discards what was not sent yet, and tells the other side.
DISCARD = struct.pack("ii", 1, 0)
NO_CONTENT = 204
MAX_INFORMATIONAL = 199


class TooLate(Exception):  # noqa: N818 - no error: a write that was rightly not sent
    """The request was not sent, because ``may_send`` said no."""


class BrokenAnswer(OSError):  # noqa: N818 - says what is so
    """The connection ended before the answer did, or what came is no answer."""


class NotConnected(OSError):  # noqa: N818 - says what is so
    """No connection could be made, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with names in lower case, and the body as it was before chunking."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect: ``context`` is absent for plain HTTP, ``name`` is the server's in TLS."""

    host: str
    port: int
    context: ssl.SSLContext | None
    name: str


class FencedConnections:
    """Keeps connections that are idle; use it from one event loop, and close it."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._idle: dict[Origin, list[_Connection]] = {}

    def close(self) -> None:
        """Close the idle connections; those in use end with their requests."""
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def request(self, origin: Origin, message: bytes, may_send: Callable[[], bool]) -> Answer:
        """Send a message of `message_of` if ``may_send`` says so at the moment of sending.

        Raises:
            TooLate: If it was not sent.
            NotConnected: If no connection could be made.
            BrokenAnswer: If it may have been carried out although no answer came.
        """
        async with self._connection(origin) as connection:
            await connection.send(message, may_send)
            return await connection.receive()

    @asynccontextmanager
    async def _connection(self, origin: Origin) -> AsyncIterator[_Connection]:
        now = asyncio.get_running_loop().time()
        idle = self._idle.setdefault(origin, [])
        connection: _Connection | None = None
        while idle and connection is None:
            candidate = idle.pop()
            if now - candidate.used_at < IDLE_SECONDS and candidate.is_quiet():
                connection = candidate
            else:
                candidate.abort()
        if connection is None:
            try:
                async with asyncio.timeout(self._connect_seconds):
                    connection = await _Connection.open(origin)
            except OSError as error:  # A timeout is one too.
                raise NotConnected(str(error) or "no connection in time") from error
        try:
            yield connection
        except BaseException:
            connection.abort()
            raise
        if connection.reusable:
            connection.used_at = asyncio.get_running_loop().time()
            idle.append(connection)
        else:
            connection.abort()


class _Connection:
    """One connection, on which one request at a time is under way."""

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._read = b""
        self.reusable = False
        self.used_at = 0.0

    @classmethod
    async def open(cls, origin: Origin) -> Self:
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        problem: OSError = ConnectionRefusedError(f"{origin.host}: no address")
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)  # noqa: FBT003 - the library's signature
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, address)
                connection = cls(sock)
                await connection._greet(origin)
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
            else:
                return connection
        raise problem

    async def _greet(self, origin: Origin) -> None:
        if origin.context is None:
            return
        self._tls = origin.context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=origin.name
        )
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._loop.sock_recv(self._sock, CHUNK)
                if not data:
                    raise ConnectionResetError("closed during the TLS handshake") from None
                self._incoming.write(data)
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._loop.sock_sendall(self._sock, self._outgoing.read())

    async def send(self, message: bytes, may_send: Callable[[], bool]) -> None:
        self.reusable = False
        rest = memoryview(message)
        if self._tls is not None:
            self._tls.write(message)
            rest = memoryview(self._outgoing.read())
        while rest:
            # Nothing may come between these two: here is where a request leaves the process.
            if not may_send():
                raise TooLate
            try:
                sent = self._sock.send(rest)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                raise BrokenAnswer(str(error)) from error
            rest = rest[sent:]
            if rest:
                await self._writable()

    async def _writable(self) -> None:
        free = asyncio.Event()
        self._loop.add_writer(self._sock, free.set)
        try:
            await free.wait()
        finally:
            self._loop.remove_writer(self._sock)

    # --- receiving

    async def receive(self) -> Answer:
        try:
            status = MAX_INFORMATIONAL
            while status <= MAX_INFORMATIONAL:
                version, status, headers = _head(await self._until(HEAD_END))
            body = b"" if status == NO_CONTENT else await self._body(headers)
        except (ssl.SSLError, ValueError) as error:
            raise BrokenAnswer(f"no answer in HTTP: {error}") from error
        except BrokenAnswer:
            raise
        except OSError as error:
            raise BrokenAnswer(str(error)) from error
        ends = headers.get("connection", "").lower() == "close" or not _has_length(headers)
        self.reusable = version == "HTTP/1.1" and not self._read and not ends
        return Answer(status, headers, body)

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks()
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"]))
        with contextlib.suppress(BrokenAnswer):
            while True:
                self._read += await self._more()
        whole, self._read = self._read, b""
        return whole

    async def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while True:
            size = int((await self._until(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                while await self._until(b"\r\n"):  # Trailers.
                    pass
                return b"".join(parts)
            parts.append(await self._exactly(size))
            await self._until(b"\r\n")

    async def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            if len(self._read) > MAX_HEAD:
                raise ValueError(f"more than {MAX_HEAD} bytes without an end")
            self._read += await self._more()
        found, _, self._read = self._read.partition(end)
        return found

    async def _exactly(self, size: int) -> bytes:
        parts, have = [self._read], len(self._read)
        while have < size:
            parts.append(await self._more())
            have += len(parts[-1])
        whole = b"".join(parts)
        self._read = whole[size:]
        return whole[:size]

    async def _more(self) -> bytes:
        while True:
            if self._tls is not None:
                with contextlib.suppress(ssl.SSLWantReadError):
                    plain = self._tls.read(CHUNK)
                    if not plain:
                        raise BrokenAnswer("the connection was closed")
                    return plain
            data = await self._loop.sock_recv(self._sock, CHUNK)
            if not data:
                raise BrokenAnswer("the connection was closed")
            if self._tls is None:
                return data
            self._incoming.write(data)

    # --- the end

    def is_quiet(self) -> bool:
        """Tell whether nothing has come on the idle connection, above all not its end."""
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        if not data or self._tls is None:
            return False
        self._incoming.write(data)
        try:
            self._tls.read(CHUNK)
        except ssl.SSLWantReadError:
            return True  # A ticket for later sessions, or the like.
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """Close at once; what the kernel has not sent yet it never will."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DISCARD)
        self._sock.close()


def origin_of(url: URL, context: ssl.SSLContext, name: str | None) -> Origin:
    """Return where ``url`` is; ``name`` is the one in its certificate, where it is another."""
    host, port = url.host or "", url.port or 0
    return Origin(host, port, context if url.scheme == "https" else None, name or host)


def message_of(method: str, url: URL, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a whole request as it goes over the wire."""
    lines = [f"{method} {url.raw_path_qs} HTTP/1.1", f"Host: {url.raw_authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError(f"{method} {url.raw_path}: a header contains a line break")
    return "\r\n".join(lines).encode("latin-1") + HEAD_END + body


def _head(text: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = text.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP/1: {first[:80]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return version, int(rest.split(" ")[0]), headers


def _has_length(headers: Mapping[str, str]) -> bool:
    return "content-length" in headers or "transfer-encoding" in headers
