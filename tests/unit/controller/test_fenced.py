# SPDX-License-Identifier: Apache-2.0
"""Writes are asked for in the last moment, and what was given up leaves nothing behind."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from yarl import URL

from berth.controller.fenced import (
    Answer,
    BrokenAnswer,
    FencedConnections,
    NotConnected,
    TooLate,
    message_of,
    origin_of,
)

PLAIN = ssl.create_default_context()
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """A server that keeps what came in, and answers each request with the next answer."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.received: list[bytes] = []
        self.connections = 0
        self.ended: list[str] = []
        self.greet = asyncio.Event()
        self.greet.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self.greet.wait()
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.received.append(head + await reader.readexactly(length))
                if not self.answers:
                    await reader.read()
                    return
                answer = self.answers.pop(0)
                writer.write(answer)
                if not answer:
                    return
        except asyncio.IncompleteReadError as error:
            self.ended.append(f"closed after {len(error.partial)} bytes")
        except ConnectionResetError:
            self.ended.append("reset")
        finally:
            writer.close()


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[URL]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    scheme = "http" if context is None else "https"
    try:
        yield URL(f"{scheme}://127.0.0.1:{port}/base/path?a=1")
    finally:
        server.close()


@pytest.fixture
async def connections() -> AsyncIterator[FencedConnections]:
    made = FencedConnections(1.0)
    yield made
    made.close()


async def ask(
    connections: FencedConnections,
    url: URL,
    may_send: Callable[[], bool] = lambda: True,
    context: ssl.SSLContext = PLAIN,
    body: bytes = b"{}",
) -> Answer:
    message = message_of("PATCH", url, {"Authorization": "Bearer t"}, body)
    async with asyncio.timeout(5):
        return await connections.request(origin_of(url, context, None), message, may_send)


async def test_a_request_goes_out_whole_and_its_answer_is_read(
    connections: FencedConnections,
) -> None:
    peer = Peer(b"HTTP/1.1 201 Created\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nok")
    async with serving(peer) as url:
        answer = await ask(connections, url)
        host = url.raw_authority.encode()
    assert answer == Answer(201, {"retry-after": "3", "content-length": "2"}, b"ok")
    assert peer.received == [
        b"PATCH /base/path?a=1 HTTP/1.1\r\nHost: " + host + b"\r\n"
        b"Authorization: Bearer t\r\nContent-Length: 2\r\n\r\n{}"
    ]


async def test_a_connection_is_used_again_after_every_kind_of_answer(
    connections: FencedConnections,
) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    peer = Peer(
        chunked + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        chunked + b"0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        OK,
    )
    async with serving(peer) as url:
        bodies = [(await ask(connections, url)).body for _ in range(4)]
    assert bodies == [b"abcde", b"", b"", b"ok"]
    assert peer.connections == 1


async def test_a_connection_that_the_server_ends_is_not_used_again(
    connections: FencedConnections,
) -> None:
    peer = Peer(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", OK)
    async with serving(peer) as url:
        assert [(await ask(connections, url)).body for _ in range(2)] == [b"ok", b"ok"]
    assert peer.connections == 2


async def test_an_idle_connection_that_has_ended_meanwhile_is_not_used(
    connections: FencedConnections,
) -> None:
    peer = Peer(OK, OK)
    async with serving(peer) as url:
        await ask(connections, url)
        (idle,) = connections._idle.values()
        idle[0]._sock.shutdown(1)  # The server answers that by closing its side.
        async with asyncio.timeout(5):
            while not peer.ended:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert (await ask(connections, url)).body == b"ok"
    assert peer.connections == 2


async def test_nothing_is_sent_without_permission(connections: FencedConnections) -> None:
    peer = Peer(OK)
    async with serving(peer) as url:
        with pytest.raises(TooLate):
            await ask(connections, url, lambda: False)
        await asyncio.sleep(0.05)
    assert peer.received == []


async def test_permission_that_ends_while_connecting_is_noticed(
    connections: FencedConnections,
) -> None:
    peer = Peer(OK)
    allowed = True
    async with serving(peer) as url:
        asking = asyncio.ensure_future(ask(connections, url, lambda: allowed))
        # One turn: the address is looked up and the connection begun, but nothing is sent.
        await asyncio.sleep(0)
        allowed = False
        with pytest.raises(TooLate):
            await asking
        await asyncio.sleep(0.05)
    assert peer.received == []


async def test_permission_is_asked_right_before_the_request_leaves(
    connections: FencedConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    order: list[str] = []
    send = socket.socket.send

    def watched(self: socket.socket, data: bytes) -> int:
        order.append("sent")
        return send(self, data)

    def may_send() -> bool:
        order.append("asked")
        return True

    peer = Peer(OK)
    async with serving(peer) as url:
        # The server's own sends go through its transport, and would be seen too.
        await ask(connections, url)
        peer.answers.append(b"")
        monkeypatch.setattr(socket.socket, "send", watched)
        with pytest.raises(BrokenAnswer):
            await ask(connections, url, may_send)
    assert order[:2] == ["asked", "sent"]


async def test_a_request_that_the_kernel_takes_in_parts_is_asked_for_each(
    connections: FencedConnections,
) -> None:
    asked = 0

    def may_send() -> bool:
        nonlocal asked
        asked += 1
        return asked < 3

    peer = Peer(OK)
    peer.greet.clear()
    async with serving(peer) as url:
        asking = asyncio.ensure_future(ask(connections, url, may_send, body=b"x" * 40_000_000))
        await asyncio.sleep(0.1)
        peer.greet.set()
        with pytest.raises(TooLate):
            await asking
        async with asyncio.timeout(5):
            while not peer.ended:
                await asyncio.sleep(0.01)
    assert peer.received == []
    assert asked == 3


async def test_a_request_that_is_given_up_resets_its_connection(
    connections: FencedConnections,
) -> None:
    peer = Peer()
    async with serving(peer) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(connections, url)
        assert len(peer.received) == 1
        async with asyncio.timeout(5):
            while not peer.ended:
                await asyncio.sleep(0.01)
    assert peer.ended == ["reset"]


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", b"hello\r\n\r\n"],
    ids=["nothing", "half", "no HTTP"],
)
async def test_an_answer_that_breaks_off_is_told_from_no_connection(
    connections: FencedConnections, answer: bytes
) -> None:
    peer = Peer(answer, b"")
    async with serving(peer) as url:
        with pytest.raises((BrokenAnswer, TimeoutError)):
            async with asyncio.timeout(0.5):
                await ask(connections, url)
    with pytest.raises(NotConnected):
        await ask(connections, url)


async def test_a_line_break_cannot_get_into_a_request() -> None:
    with pytest.raises(ValueError, match="a header contains a line break"):
        message_of("PATCH", URL("http://x/y"), {"Authorization": "t\r\nX: y"}, b"")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder


async def test_it_speaks_tls_and_verifies_the_server(
    connections: FencedConnections, certificate: Path
) -> None:
    of_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    of_server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    peer = Peer(OK, OK)
    async with serving(peer, of_server) as url:
        bodies = [(await ask(connections, url, context=trusting)).body for _ in range(2)]
        assert bodies == [b"ok", b"ok"]
        assert peer.connections == 1
        with pytest.raises(TooLate):
            await ask(connections, url, lambda: False, context=trusting)
        with pytest.raises(NotConnected, match="certificate verify failed"):
            await ask(connections, url)
    assert len(peer.received) == 2
