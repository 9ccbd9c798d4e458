# SPDX-License-Identifier: Apache-2.0
"""Pods that come and go all the time, and a look at the claims beside it.

Knows nothing of Berth: it creates pods, deletes those that run, and reads claims.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from tests.support.kube import Kube, KubeError
from tests.support.kube_access import Json
from tests.support.manifests import devices_of, gates_of, is_running, pod

LOOK_SECONDS = 0.2
ALIVE = 8
"""Pods that are there at any time; together they use most of the devices."""


class Load:
    """What was created, what ran, and which devices two claims held at once."""

    def __init__(self, kube: Kube, namespace: str, template: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._template = template
        self._numbers = itertools.count()
        self._alive: dict[str, bool] = {}
        self.ran = 0
        self.overlaps: set[str] = set()

    async def pods_and_claims(self) -> None:
        """Create and delete pods until cancelled; one that has run for two looks is deleted."""
        while True:
            seen = {each["metadata"]["name"]: each for each in await self._pods()}
            for name, had_run in list(self._alive.items()):
                running = name in seen and is_running(seen[name])
                if running and had_run:
                    self.ran += 1
                    del self._alive[name]
                    await self._kube.delete("pods", name, self._namespace)
                elif running:
                    self._alive[name] = True
            while len(self._alive) < ALIVE:
                name = f"p{next(self._numbers)}"
                with contextlib.suppress(KubeError):  # A policy may be on its way in or out.
                    await self._kube.create(pod(name, templates=(self._template,)), self._namespace)
                    self._alive[name] = False
            await asyncio.sleep(LOOK_SECONDS)

    async def look_for_overlaps(self) -> None:
        """Note every device that two claims hold, until cancelled."""
        while True:
            claims = await self._kube.list("resourceclaims", self._namespace)
            self.overlaps |= held_twice(claims)
            await asyncio.sleep(LOOK_SECONDS)

    async def until_more_ran(self, count: int, within: float) -> None:
        """Wait until ``count`` more pods have run than until now."""
        wanted = self.ran + count
        deadline = asyncio.get_running_loop().time() + within
        while self.ran < wanted:
            if asyncio.get_running_loop().time() > deadline:
                waiting = [_state(each) for each in await self._pods() if not is_running(each)]
                raise AssertionError(f"{wanted - self.ran} of {count} did not run: {waiting}")
            await asyncio.sleep(LOOK_SECONDS)

    async def until_all_run(self, within: float) -> None:
        """Wait until every pod that is there runs."""
        await self._kube.wait_all(
            "pods",
            lambda items: all(is_running(each) for each in items),
            self._namespace,
            within=within,
            what="every pod runs",
        )

    async def _pods(self) -> Sequence[Json]:
        return [
            each
            for each in await self._kube.list("pods", self._namespace)
            if "deletionTimestamp" not in each["metadata"]
        ]


def held_twice(claims: Sequence[Json]) -> set[str]:
    """Return the devices that more than one of ``claims`` holds."""
    holders = Counter(device for each in claims for device in set(devices_of(each)))
    return {device for device, count in holders.items() if count > 1}


def _state(pod: Json) -> str:
    conditions = [each.get("message", "") for each in pod["status"].get("conditions", ())]
    return f"{pod['metadata']['name']} gates {gates_of(pod)}: {conditions}"


@contextlib.asynccontextmanager
async def under_load(kube: Kube, namespace: str, template: str) -> AsyncIterator[Load]:
    """Run a load beside the block; a task of it that fails is an error."""
    load = Load(kube, namespace, template)
    tasks = [
        asyncio.create_task(load.pods_and_claims()),
        asyncio.create_task(load.look_for_overlaps()),
    ]
    try:
        yield load
        broken = [each for each in tasks if each.done()]
        if broken:
            await broken[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
