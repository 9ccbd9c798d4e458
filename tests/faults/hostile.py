# SPDX-License-Identifier: Apache-2.0
"""Another allocator that knows nothing of Berth: it takes devices that it believes to be free.

Its view is a list that it makes anew every now and then, so it is late, as another scheduler's
cache is; it never looks again before it writes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from dataclasses import dataclass, field

from tests.faults.holdings import Device, taken_by
from tests.support.kube import PATCH_TYPES, Kube, KubeError
from tests.support.kube_access import RESOURCES, Json
from tests.support.manifests import claim, device_request

NAMESPACE = "hostile"
MANAGER = "hostile-writer"
VIEW_SECONDS = 0.5


@dataclass(slots=True)
class HostileWriter:
    """Takes about ``per_second`` devices a second, and gives the oldest of ``most`` back."""

    kube: Kube
    seed: int
    per_second: float = 20.0
    most: int = 8
    taken: int = 0
    _free: list[Device] = field(default_factory=list)
    _claims: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(f"hostile {self.seed}")

    async def prepare(self) -> None:
        if await self.kube.find("namespaces", NAMESPACE) is None:
            metadata = {"name": NAMESPACE}
            await self.kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look_for_ever())
            group.create_task(self._take_for_ever())

    async def _look_for_ever(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(VIEW_SECONDS)

    async def _look(self) -> None:
        slices = await self.kube.list("resourceslices")
        published = {
            Device(each["spec"]["driver"], each["spec"]["pool"]["name"], device["name"])
            for each in slices
            for device in each["spec"].get("devices") or ()
        }
        claims = await self.kube.list("resourceclaims")
        held = {device for each in claims for device in taken_by(each)}
        self._free = sorted(published - held)

    async def _take_for_ever(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            due += 1 / self.per_second
            await asyncio.sleep(max(0.0, due - clock()))
            if self._free:
                device = self._free.pop(self._random.randrange(len(self._free)))
                with contextlib.suppress(KubeError):
                    await self._take(device)

    async def _take(self, device: Device) -> None:
        self.taken += 1
        name = f"h{self.taken:05}"
        await self.kube.create(claim(name, device_request("r0")), NAMESPACE)
        self._claims.append(name)
        result = {
            "request": "r0",
            "driver": device.driver,
            "pool": device.pool,
            "device": device.name,
        }
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body: Json = {
            "status": {"allocation": {"devices": {"results": [result]}, "allocationTimestamp": now}}
        }
        path = RESOURCES["resourceclaims"].path(NAMESPACE, name, "status")
        params = {"fieldManager": MANAGER}
        await self.kube.request("PATCH", path, body, params, PATCH_TYPES["merge"])
        while len(self._claims) > self.most:
            await self.kube.delete("resourceclaims", self._claims.pop(0), NAMESPACE)

    async def remove(self, within: float = 30) -> None:
        await self.kube.delete_all("resourceclaims", NAMESPACE)
        await self.kube.wait_all(
            "resourceclaims", lambda items: not items, NAMESPACE, within=within, what="no claims"
        )
        self._claims.clear()
