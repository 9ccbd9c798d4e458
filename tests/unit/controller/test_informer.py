# SPDX-License-Identifier: Apache-2.0
"""The informer under a server that forgets, breaks off and repeats itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from berth.controller.api import ApiClient
from berth.controller.informer import Informer
from berth.errors import DecodeError
from tests.support.fault_server import (
    Answer,
    FaultServer,
    Json,
    failure,
    hang,
    json,
    lines,
    reset,
)

PATH = "/api/v1/pods"


def thing(name: str, uid: str, version: int = 1) -> Json:
    metadata = {"namespace": "ml", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata}


def listing(version: int, *items: Json, token: str = "") -> Answer:
    metadata = {"resourceVersion": str(version), "continue": token}
    return json({"metadata": metadata, "items": list(items)})


def event(kind: str, obj: Json) -> Json:
    return {"type": kind, "object": obj}


def bookmark(version: int) -> Json:
    return event("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


class Log:
    """What the informer reported, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._changed = asyncio.Event()

    def decode(self, raw: Mapping[str, Any]) -> str:
        if raw.get("broken"):
            raise DecodeError(f"pod {raw['metadata']['name']}", "spec", "is broken")
        return f"{raw['metadata']['name']}/{raw['metadata']['uid']}"

    def apply(self, decoded: str) -> None:
        self._note("apply", decoded)

    def remove(self, name: str, namespace: str, uid: str) -> None:
        self._note("remove", name, namespace, uid)

    def undecodable(self, raw: Mapping[str, Any], error: DecodeError) -> None:
        self._note("undecodable", raw["metadata"]["name"], str(error))

    def _note(self, *call: str) -> None:
        self.calls.append(call)
        self._changed.set()

    async def until(self, count: int) -> list[tuple[str, ...]]:
        async with asyncio.timeout(5):
            while len(self.calls) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.calls


@pytest.fixture
def log() -> Log:
    return Log()


@asynccontextmanager
async def running(api: ApiClient, log: Log) -> AsyncIterator[Informer[str]]:
    informer = Informer(
        api,
        PATH,
        decode=log.decode,
        on_apply=log.apply,
        on_remove=log.remove,
        on_undecodable=log.undecodable,
    )
    task = asyncio.create_task(informer.run())
    try:
        yield informer
        assert not task.done(), "the informer ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_synced_means_that_all_pages_were_applied(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1"), token="t"),
        listing(7, thing("b", "2")),
        lines(then=hang),
    )
    async with running(api, log) as informer:
        async with asyncio.timeout(5):
            await informer.synced.wait()
        assert log.calls == [("apply", "a/1"), ("apply", "b/2")]
        assert (informer.known, informer.resource_version, informer.lists) == (2, "7", 1)
    assert server.received[0].query == {"limit": "500"}


async def test_changes_are_reported_and_the_watch_goes_on_from_the_bookmark(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7),
        lines(
            event("ADDED", thing("a", "1", 8)),
            event("MODIFIED", thing("a", "1", 9)),
            event("DELETED", thing("a", "1", 10)),
            bookmark(30),
        ),
        lines(event("ADDED", thing("b", "2", 31)), then=hang),
    )
    async with running(api, log):
        assert await log.until(4) == [
            ("apply", "a/1"),
            ("apply", "a/1"),
            ("remove", "a", "ml", "1"),
            ("apply", "b/2"),
        ]
    watches = [request.query for request in server.received if "watch" in request.query]
    assert [query["resourceVersion"] for query in watches] == ["7", "30"]
    assert {query["allowWatchBookmarks"] for query in watches} == {"true"}


GONE_EVENT = event(
    "ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
)


@pytest.mark.parametrize(
    "gone", [failure(410, "Expired", "too old"), lines(GONE_EVENT)], ids=["answer", "event"]
)
async def test_objects_deleted_while_the_history_was_lost_are_reported(
    server: FaultServer, api: ApiClient, log: Log, gone: Answer
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1"), thing("b", "2")),
        gone,
        listing(90, thing("b", "2"), thing("c", "3")),
        lines(then=hang),
    )
    async with running(api, log):
        assert await log.until(5) == [
            ("apply", "a/1"),
            ("apply", "b/2"),
            ("apply", "b/2"),
            ("apply", "c/3"),
            ("remove", "a", "ml", "1"),
        ]


async def test_a_successor_of_the_same_name_is_a_removal_and_a_new_object(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1")),
        lines(event("MODIFIED", thing("a", "2", 8)), event("DELETED", thing("a", "2", 9))),
        lines(then=hang),
    )
    async with running(api, log):
        assert await log.until(4) == [
            ("apply", "a/1"),
            ("remove", "a", "ml", "1"),
            ("apply", "a/2"),
            ("remove", "a", "ml", "2"),
        ]


async def test_a_broken_connection_is_taken_up_where_it_broke(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7),
        lines(event("ADDED", thing("a", "1", 8)), then=reset),
        lines(event("ADDED", thing("b", "2", 9)), then=hang),
    )
    async with running(api, log):
        assert await log.until(2) == [("apply", "a/1"), ("apply", "b/2")]
    assert server.received[2].query["resourceVersion"] == "8"


async def test_nothing_is_called_gone_when_a_list_breaks_off(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1"), thing("b", "2")),
        failure(410),
        listing(9, thing("a", "1"), token="t"),
        failure(403, "Forbidden", "for a moment"),
        listing(9, thing("a", "1"), thing("b", "2")),
        lines(then=hang),
    )
    async with running(api, log) as informer:
        await log.until(5)
        assert not [call for call in log.calls if call[0] == "remove"]
        assert informer.known == 2


async def test_an_object_that_cannot_be_decoded_is_reported_and_its_removal_too(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1") | {"broken": True}),
        lines(event("DELETED", thing("a", "1", 8)), then=hang),
    )
    async with running(api, log):
        assert await log.until(2) == [
            ("undecodable", "a", "pod a: spec: is broken"),
            ("remove", "a", "ml", "1"),
        ]


async def test_a_relist_waits_for_a_list_that_began_after_it_was_asked_for(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET",
        PATH,
        listing(7, thing("a", "1")),
        lines(then=hang),
        listing(9, thing("b", "2")),
        lines(then=hang),
    )
    async with running(api, log) as informer:
        await log.until(1)
        async with asyncio.timeout(5):
            await asyncio.gather(informer.relist(), informer.relist())
        assert log.calls == [("apply", "a/1"), ("apply", "b/2"), ("remove", "a", "ml", "1")]
        assert informer.lists == 2


async def test_a_relist_survives_a_failing_list(
    server: FaultServer, api: ApiClient, log: Log
) -> None:
    server.answer(
        "GET", PATH, listing(7), lines(then=hang), failure(403), listing(9), lines(then=hang)
    )
    async with running(api, log) as informer:
        async with asyncio.timeout(5):
            await informer.synced.wait()
            await informer.relist()
        assert informer.resource_version == "9"


async def test_a_large_list_lets_the_loop_turn(api: ApiClient, server: FaultServer) -> None:
    loop = asyncio.get_running_loop()

    def slow(raw: Mapping[str, Any]) -> str:
        until = loop.time() + 0.002
        while loop.time() < until:
            pass
        return str(raw["metadata"]["name"])

    names = [thing(f"p{number}", str(number)) for number in range(100)]
    server.answer("GET", PATH, listing(7, *names), lines(then=hang))
    log = Log()
    informer = Informer(
        api,
        PATH,
        decode=slow,
        on_apply=log.apply,
        on_remove=log.remove,
        on_undecodable=log.undecodable,
    )
    task = asyncio.create_task(informer.run())
    turns = 0
    async with asyncio.timeout(10):
        while not informer.synced.is_set():
            await asyncio.sleep(0)
            turns += bool(log.calls)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert turns >= 10
