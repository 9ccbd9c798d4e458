# SPDX-License-Identifier: Apache-2.0
"""What happens to the cluster itself: slices and nodes come and go, the scheduler restarts.

Everything that is taken away is kept, and ``restore`` puts it back as it was.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from berth.localcluster import LocalCluster
from tests.support.kube import Kube, KubeError

Json = dict[str, Any]


def _bare(found: Json) -> Json:
    """Return what is needed to create an object again."""
    metadata = found["metadata"]
    kept = {key: metadata[key] for key in ("name", "labels") if key in metadata}
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "metadata": kept,
        "spec": found.get("spec") or {},
    }


@dataclass(slots=True)
class World:
    """The nodes and slices of one cluster."""

    kube: Kube
    cluster: LocalCluster | None
    _slices: dict[str, Json] = field(default_factory=dict)
    _nodes: dict[str, Json] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)
    _scheduler: subprocess.Popen[bytes] | None = None

    async def prepare(self) -> None:
        for each in await self.kube.list("resourceslices"):
            self._slices[each["metadata"]["name"]] = {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceSlice",
                **each,
            }
        for each in await self.kube.list("nodes"):
            self._nodes[each["metadata"]["name"]] = {"apiVersion": "v1", "kind": "Node", **each}

    async def remove_slice(self, rng: random.Random) -> None:
        name = rng.choice(sorted(self._slices))
        self._gone.add(name)
        await self.kube.delete("resourceslices", name)

    async def half_a_generation(self, rng: random.Random) -> None:
        """Publish a pool's next generation, of which a second slice has not come yet."""
        name = rng.choice(sorted(self._slices))
        self._gone.add(name)
        found = await self.kube.find("resourceslices", name)
        if found is None:
            return
        pool = found["spec"]["pool"]
        spec = {"pool": {**pool, "generation": pool["generation"] + 1, "resourceSliceCount": 2}}
        await self.kube.patch("resourceslices", name, {"spec": spec})

    async def remove_node(self, rng: random.Random) -> None:
        name = rng.choice(sorted(self._nodes))
        self._gone.add(name)
        await self.kube.delete("nodes", name)

    async def restore(self) -> None:
        """Put back what is gone, with a new generation where a pool was changed."""
        for name in sorted(self._gone):
            if name in self._nodes:
                await self._restore_node(self._nodes[name])
            if name in self._slices:
                await self._restore_slice(name)
        self._gone.clear()

    async def _restore_node(self, node: Json) -> None:
        name = node["metadata"]["name"]
        if await self.kube.find("nodes", name) is not None:
            return
        with contextlib.suppress(KubeError):
            await self.kube.create(_bare({**node, "spec": {}}))
        status = {key: node["status"][key] for key in ("allocatable", "capacity")}
        await self.kube.patch("nodes", name, {"status": status}, subresource="status")
        # Slices of a node have it as owner where a driver published them; here they stay.

    async def _restore_slice(self, name: str) -> None:
        want = _bare(self._slices[name])
        found = await self.kube.find("resourceslices", name)
        if found is None:
            await self.kube.create(want)
            return
        pool = found["spec"]["pool"]
        if pool["resourceSliceCount"] != want["spec"]["pool"]["resourceSliceCount"]:
            count = want["spec"]["pool"]["resourceSliceCount"]
            spec = {
                "pool": {
                    **pool,
                    "generation": pool["generation"] + 1,
                    "resourceSliceCount": count,
                }
            }
            await self.kube.patch("resourceslices", name, {"spec": spec})

    # --- kube-scheduler

    def restart_scheduler(self) -> None:
        """Kill kube-scheduler and start it again with the same command line."""
        if self.cluster is None:
            return
        (component,) = [each for each in self.cluster.components if each.name == "kube-scheduler"]
        if self._scheduler is not None:
            command = self._scheduler.args
            self._scheduler.kill()
            self._scheduler.wait()
        else:
            text = Path(f"/proc/{component.pid}/cmdline").read_bytes()
            command = [os.fsdecode(part) for part in text.split(b"\0") if part]
            self.cluster.kill("kube-scheduler", signal.SIGKILL)
        with component.log.open("ab") as log:
            self._scheduler = subprocess.Popen(command, stdout=log, stderr=log)

    def close(self) -> None:
        if self._scheduler is not None:
            self._scheduler.kill()
            self._scheduler.wait()
