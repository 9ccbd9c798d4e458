# SPDX-License-Identifier: Apache-2.0
"""The informer on a real API server, across lost history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from berth.controller.api import ApiClient
from berth.controller.credentials import load_credentials
from berth.controller.informer import Informer
from tests.integration.conftest import ClusterUnderTest
from tests.support.kube import Kube
from tests.support.kube_access import Resource

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]


class Interrupted:
    """Berth's client, whose watches the test can cut, and begin again where it wants."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self.pages = api.pages
        self.may_watch = asyncio.Event()
        self.may_watch.set()
        self.cut = asyncio.Event()
        self.begin_at: str | None = None

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes]:
        await self.may_watch.wait()
        query = dict(params)
        if self.begin_at is not None:
            query["resourceVersion"], self.begin_at = self.begin_at, None
        self.cut.clear()
        async with aclosing(self._api.watch(path, query)) as lines:
            while True:
                line = asyncio.ensure_future(anext(lines, None))
                cut = asyncio.ensure_future(self.cut.wait())
                await asyncio.wait({line, cut}, return_when=asyncio.FIRST_COMPLETED)
                cut.cancel()
                if not line.done():
                    line.cancel()
                    await asyncio.wait({line})
                    return
                if (received := line.result()) is None:
                    return
                yield received


class Seen:
    """The copy that the informer keeps current, and what it said was gone."""

    def __init__(self) -> None:
        self.present: dict[str, str] = {}
        self.removed: list[tuple[str, str]] = []

    def apply(self, raw: Mapping[str, Any]) -> None:
        self.present[raw["metadata"]["name"]] = raw["metadata"]["uid"]

    def remove(self, name: str, namespace: str, uid: str) -> None:
        assert namespace
        assert self.present.pop(name) == uid
        self.removed.append((name, uid))

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(20):
            while set(self.present) != set(names):
                await asyncio.sleep(0.02)


@pytest.fixture
async def api(cluster: ClusterUnderTest) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(str(cluster.kubeconfig), None)
    async with ApiClient(credentials) as api:
        yield api


@pytest.fixture
def interrupted(api: ApiClient) -> Interrupted:
    return Interrupted(api)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@asynccontextmanager
async def informer(
    api: Interrupted, namespace: str, seen: Seen, path: str = "/api/v1", plural: str = "configmaps"
) -> AsyncIterator[Informer[Mapping[str, Any]]]:
    running: Informer[Mapping[str, Any]] = Informer(
        api,  # type: ignore[arg-type] # the two methods that informers use
        f"{path}/namespaces/{namespace}/{plural}",
        decode=lambda raw: raw,
        on_apply=seen.apply,
        on_remove=seen.remove,
        on_undecodable=lambda *_: None,
        # What kube-controller-manager puts into every namespace is left out.
        params={"labelSelector": "test=informer"},
        page_size=2,
    )
    task = asyncio.create_task(running.run())
    try:
        async with asyncio.timeout(20):
            await running.synced.wait()
        yield running
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def config_map(name: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"test": "informer"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


async def test_a_list_in_pages_and_a_watch_give_the_whole_picture(
    kube: Kube, namespace: str, interrupted: Interrupted, seen: Seen
) -> None:
    await kube.create_all([config_map(f"c{number}") for number in range(5)], namespace)
    async with informer(interrupted, namespace, seen) as running:
        assert sorted(seen.present) == ["c0", "c1", "c2", "c3", "c4"]
        await kube.create(config_map("c5"), namespace)
        await kube.delete("configmaps", "c0", namespace)
        await seen.until("c1", "c2", "c3", "c4", "c5")
        assert [name for name, _ in seen.removed] == ["c0"]
        assert (running.lists, running.known) == (1, 5)
        assert running.seconds_silent() < 5


async def test_what_happens_while_a_watch_is_cut_arrives_with_the_next_one(
    kube: Kube, namespace: str, interrupted: Interrupted, seen: Seen
) -> None:
    await kube.create_all([config_map("stays"), config_map("goes")], namespace)
    async with informer(interrupted, namespace, seen) as running:
        interrupted.may_watch.clear()
        interrupted.cut.set()
        await kube.delete("configmaps", "goes", namespace)
        await kube.create(config_map("comes"), namespace)
        interrupted.may_watch.set()
        await seen.until("stays", "comes")
        assert running.lists == 1
        assert [name for name, _ in seen.removed] == ["goes"]


THINGS = Resource("things", "Thing", "test.berth.dev/v1")


@pytest.fixture
async def things(kube: Kube) -> AsyncIterator[Resource]:
    """A kind of the test's own, whose history begins now: older versions are too old."""
    group = "test.berth.dev"
    schema = {"openAPIV3Schema": {"type": "object"}}
    name = f"things.{group}"
    await kube.create(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
            },
        }
    )

    def established(crd: dict[str, Any]) -> bool:
        conditions = crd.get("status", {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    await kube.wait_for("customresourcedefinitions", name, established)
    yield THINGS
    await kube.delete("customresourcedefinitions", name)
    await kube.wait_gone("customresourcedefinitions", name)


async def test_deletions_are_reported_when_the_server_has_forgotten_the_version(
    kube: Kube, namespace: str, things: Resource, interrupted: Interrupted, seen: Seen
) -> None:
    async def create(name: str) -> None:
        metadata = {"name": name, "labels": {"test": "informer"}}
        body = {"apiVersion": "test.berth.dev/v1", "kind": "Thing", "metadata": metadata}
        await kube.request("POST", things.path(namespace), body)

    for name in ("stays", "goes", "anew"):
        await create(name)
    async with informer(interrupted, namespace, seen, "/apis/test.berth.dev/v1", "things") as it:
        old = dict(seen.present)
        assert sorted(old) == ["anew", "goes", "stays"]
        interrupted.may_watch.clear()
        interrupted.cut.set()
        await kube.delete(things, "goes", namespace)
        await kube.delete(things, "anew", namespace)
        await create("anew")
        await create("comes")
        # Long before the history of this kind begins: the API server answers 410.
        interrupted.begin_at = "1"
        interrupted.may_watch.set()
        await seen.until("stays", "anew", "comes")
        assert it.lists == 2
        assert sorted(seen.removed) == [("anew", old["anew"]), ("goes", old["goes"])]
        assert seen.present["anew"] != old["anew"]


async def test_a_relist_applies_what_exists_at_that_time(
    kube: Kube, namespace: str, interrupted: Interrupted, seen: Seen
) -> None:
    await kube.create_all([config_map("stays"), config_map("goes")], namespace)
    async with informer(interrupted, namespace, seen) as running:
        interrupted.may_watch.clear()
        interrupted.cut.set()
        await kube.delete("configmaps", "goes", namespace)
        async with asyncio.timeout(20):
            await running.relist()
        assert sorted(seen.present) == ["stays"]
        assert running.lists == 2
