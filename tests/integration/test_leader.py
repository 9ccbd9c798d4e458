# SPDX-License-Identifier: Apache-2.0
"""Election on a real API server: take-over, release, and a leader that was paused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from berth.controller.api import ApiClient
from berth.controller.credentials import load_credentials
from berth.controller.leader import Elector
from tests.integration.conftest import ClusterUnderTest
from tests.support.kube import Kube

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

LEASE_SECONDS = 3.0
DEADLINE_SECONDS = 2.0


class Pausable:
    """Berth's client; while paused, every request waits, as those of a frozen process do."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._going = asyncio.Event()
        self._going.set()

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    def settled(self, seconds: float) -> bool:
        return self._api.settled(seconds)

    async def get(self, *arguments: Any) -> Any:
        await self._going.wait()
        return await self._api.get(*arguments)

    async def create(self, *arguments: Any) -> Any:
        await self._going.wait()
        return await self._api.create(*arguments)

    async def put(self, *arguments: Any) -> Any:
        await self._going.wait()
        return await self._api.put(*arguments)


class Replica:
    def __init__(self, api: ApiClient, namespace: str, identity: str) -> None:
        self.link = Pausable(api)
        self.history: list[str] = []
        self.elector = Elector(
            self.link,  # type: ignore[arg-type] # the methods that electors use
            namespace,
            "berth",
            identity,
            lease_seconds=LEASE_SECONDS,
            renew_seconds=0.2,
            deadline_seconds=DEADLINE_SECONDS,
        )

    async def on_started(self) -> None:
        self.history.append("started")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(
            self.elector.run(self.on_started, lambda: self.history.append("stopped"))
        )
        try:
            yield task
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def api(cluster: ClusterUnderTest) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(str(cluster.kubeconfig), None)
    async with ApiClient(credentials) as api:
        yield api


async def until(condition: Any, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def test_one_leads_and_after_its_release_the_other_at_once(
    kube: Kube, namespace: str, api: ApiClient
) -> None:
    first, second = Replica(api, namespace, "first"), Replica(api, namespace, "second")
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as of_second:
        async with first.running():
            await until(first.elector.may_write)
            await of_second.enter_async_context(second.running())
            await asyncio.sleep(LEASE_SECONDS)
            assert first.elector.may_write()
            assert not second.elector.leading
            lease = await kube.get("leases", "berth", namespace)
            assert lease["spec"]["holderIdentity"] == "first"
            assert lease["spec"]["leaseDurationSeconds"] == LEASE_SECONDS
            assert lease["spec"]["leaseTransitions"] == 0
        released = loop.time()
        await until(second.elector.may_write)
        assert loop.time() - released < 1
        lease = await kube.get("leases", "berth", namespace)
        assert lease["spec"]["holderIdentity"] == "second"
        assert lease["spec"]["leaseTransitions"] == 1
    lease = await kube.get("leases", "berth", namespace)
    assert lease["spec"]["holderIdentity"] == ""


async def test_a_paused_leader_loses_its_right_before_the_other_gets_it(
    kube: Kube, namespace: str, api: ApiClient
) -> None:
    first, second = Replica(api, namespace, "first"), Replica(api, namespace, "second")
    async with first.running():
        await until(first.elector.may_write)
        async with second.running():
            await until(lambda: second.elector.holder == "first")
            first.link.pause()
            seen: list[tuple[bool, bool]] = []
            async with asyncio.timeout(20):
                while not seen or seen[-1] != (False, True):
                    seen.append((first.elector.may_write(), second.elector.may_write()))
                    await asyncio.sleep(0.005)
            assert list(dict.fromkeys(seen)) == [(True, False), (False, False), (False, True)]
            first.link.resume()
            await until(lambda: first.history == ["started", "stopped"])
            await asyncio.sleep(1)
            assert not first.elector.leading
            assert second.elector.may_write()


async def test_a_deleted_lease_is_made_anew(kube: Kube, namespace: str, api: ApiClient) -> None:
    replica = Replica(api, namespace, "first")
    async with replica.running():
        await until(replica.elector.may_write)
        uid = (await kube.get("leases", "berth", namespace))["metadata"]["uid"]
        await kube.delete("leases", "berth", namespace)
        await until(lambda: replica.history == ["started", "stopped", "started"])
        assert (await kube.get("leases", "berth", namespace))["metadata"]["uid"] != uid
        assert replica.elector.may_write()


async def test_a_change_of_the_lease_by_others_does_not_end_leading(
    kube: Kube, namespace: str, api: ApiClient
) -> None:
    replica = Replica(api, namespace, "first")
    async with replica.running():
        await until(replica.elector.may_write)
        for number in range(5):
            body = {"metadata": {"labels": {"touched": str(number)}}}
            await kube.patch("leases", "berth", body, namespace)
            await asyncio.sleep(0.3)
            assert replica.elector.may_write()
        assert replica.history == ["started"]
        lease = await kube.get("leases", "berth", namespace)
        assert lease["metadata"]["labels"] == {"touched": "4"}
