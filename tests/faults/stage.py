# SPDX-License-Identifier: Apache-2.0
"""Everything that a run needs, set up and taken down: cluster, chart, recorder, replicas, load.

``async with Stage.on(...) as stage`` gives a control plane with Berth's chart and replicas that
work on a load, while all that happens is recorded. ``leave`` ends the work and uninstalls.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from berth.localcluster import ClusterSpec, LocalCluster
from tests.faults import hostile, load
from tests.faults.hostile import HostileWriter
from tests.faults.load import Load
from tests.faults.replicas import Nursery, Replica, make_replicas
from tests.faults.world import World
from tests.support.helm import SYSTEM, install_chart, uninstall_chart
from tests.support.kube import Kube
from tests.support.kube_access import Access, Json

NODES, DEVICES = 6, 8
VALUES: dict[str, Any] = {
    "mode": "gated",
    "operator": {"deploy": False},
    # Else the finalizer is there from the beginning, and Berth's own write of it is never tried.
    "claimFinalizer": {"enabled": False},
}
QUICK = {
    "BERTH_LEASE_SECONDS": "3",
    "BERTH_DEADLINE_SECONDS": "2",
    "BERTH_RENEW_SECONDS": "0.4",
}
"""So short that rounds are short, and long enough for a machine with other work."""
SETTLE_SECONDS = 60.0


@contextlib.contextmanager
def faults_cluster(name: str) -> Any:
    """A control plane with the chart installed, for one or more runs."""
    spec = ClusterSpec(name=name, nodes=NODES, devices=DEVICES)
    with LocalCluster.start(spec) as cluster:
        yield cluster


@dataclass(slots=True)
class Stage:
    """One run in progress."""

    kube: Kube
    cluster: LocalCluster
    folder: Path
    seed: int
    replicas: list[Replica]
    load: Load
    world: World
    hostile: HostileWriter
    token: str
    recorder: asyncio.subprocess.Process
    faults: dict[str, int] = field(default_factory=dict)
    starting: set[asyncio.Future[None]] = field(default_factory=set)
    settled: int = 0
    """Version of the API server's state at which nothing may wait any more."""
    lag: float = 0.0
    """Longest time for which the event loop of the lane itself did not turn."""

    @property
    def history(self) -> Path:
        return self.folder / "history.jsonl"

    @property
    def writes(self) -> Path:
        return self.folder / "writes.jsonl"

    def count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1

    @classmethod
    @asynccontextmanager
    async def on(
        cls,
        cluster: LocalCluster,
        folder: Path,
        *,
        seed: int,
        replicas: int = 2,
        module: tuple[str, ...] = ("berth",),
        settings: Mapping[str, str] = QUICK,
    ) -> AsyncIterator[Stage]:
        """Install, record, and start replicas; the load runs when this is entered."""
        await asyncio.to_thread(install_chart, cluster.kubeconfig, SYSTEM, VALUES)
        async with AsyncExitStack() as stack:
            kube = await stack.enter_async_context(Kube.from_kubeconfig(cluster.kubeconfig))
            recorder = await _start_recorder(cluster.kubeconfig, folder)
            stack.push_async_callback(_end, recorder)
            token = await kube.token(SYSTEM, "berth", seconds=7200)
            access = Access.from_kubeconfig(cluster.kubeconfig)
            world = World(kube, cluster)
            stack.callback(world.close)
            await world.prepare()
            work = Load(kube, seed, NODES * DEVICES)
            await work.prepare()
            enemy = HostileWriter(kube, seed)
            await enemy.prepare()
            nursery, made = await make_replicas(
                replicas, access, folder, module=module, settings=settings
            )
            stack.push_async_callback(_close, nursery, made)
            stage = cls(kube, cluster, folder, seed, made, work, world, enemy, token, recorder)
            for each in made:
                await each.start(token)
            async with asyncio.TaskGroup() as group:
                running = [
                    group.create_task(work.run(), name="load"),
                    group.create_task(stage.watch_lag(), name="lag"),
                ]
                yield stage
                for task in running:
                    task.cancel()

    async def watch_lag(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(0.05)
            self.lag = max(self.lag, clock() - before - 0.05)

    # --- who leads

    async def holder(self) -> str:
        lease = await self.kube.find("leases", "berth", SYSTEM)
        return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")

    async def leader(self, *, other_than: str = "", within: float = 30) -> Replica:
        """Wait until a living replica holds the Lease, and return it."""
        deadline = time.monotonic() + within
        holder = ""
        while time.monotonic() < deadline:
            holder = await self.holder()
            for each in self.replicas:
                if each.identity == holder != other_than and each.running:
                    return each
            await asyncio.sleep(0.03)
        logs = "\n".join(each.tail()[-1500:] for each in self.replicas)
        raise AssertionError(f"nobody leads after {within} s; the Lease names `{holder}`\n{logs}")

    def start_beside(self, replica: Replica) -> None:
        """Start a replica whose process has ended, without waiting for it."""
        self.starting.add(asyncio.ensure_future(replica.start(self.token)))

    async def all_started(self) -> None:
        starting, self.starting = self.starting, set()
        await asyncio.gather(*starting)

    async def restart(self, replica: Replica) -> None:
        replica.kill()
        await replica.ended()
        await replica.start(self.token)

    # --- the end

    async def settle(self, within: float = SETTLE_SECONDS) -> list[str]:
        """End all faults; return what still waits for Berth after ``within`` seconds."""
        await self.all_started()
        for each in self.replicas:
            each.proxy.heal()
            each.proxy.fate = _no_fault
            each.clock_file.unlink(missing_ok=True)
            each.thaw()
            if not each.running:
                await each.start(self.token)
        await self.world.restore()
        await self.hostile.remove()
        deadline = time.monotonic() + within
        await self.load.shrink()
        while (waiting := await self.load.unserved()) and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
        pods = await self.kube.request("GET", "/api/v1/pods", params={"limit": "1"})
        self.settled = int(pods["metadata"]["resourceVersion"])
        return [each + await self._said_of(each.split()[1]) for each in waiting]

    async def _said_of(self, pod: str) -> str:
        notes = [str(each.get("note")) for each in await self.kube.events(load.NAMESPACE, pod)]
        return f"; the last event says: {notes[-1]}" if notes else "; no event says why"

    async def leave(self) -> list[str]:
        """Stop the replicas, uninstall, remove the load; return what is left that should not be."""
        left = []
        for each in self.replicas:
            code = await each.stop()
            if code != 0:
                left.append(f"{each.identity} ended with exit code {code}: {each.tail()[-800:]}")
        await asyncio.to_thread(uninstall_chart, self.cluster.kubeconfig, SYSTEM)
        try:
            await self.load.remove()
        except AssertionError as error:
            left.append(str(error))
        left += await self._left_over()
        alive = [pid for each in self.replicas for pid in each.pids if _is_alive(pid)]
        return [*left, *(f"process {pid} still runs" for pid in alive)]

    async def _left_over(self) -> list[str]:
        left = [
            f"lease {each['metadata']['name']}" for each in await self.kube.list("leases", SYSTEM)
        ]
        for kind in ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"):
            left += [
                f"{kind} {each['metadata']['name']}"
                for each in await self.kube.list(kind)
                if each["metadata"]["name"].startswith("berth")
            ]
        left += [
            f"claim {each['metadata']['name']} with {each['metadata']['finalizers']}"
            for each in await self.kube.list("resourceclaims")
            if each["metadata"].get("finalizers")
        ]
        return left

    async def stop_recording(self) -> None:
        self.recorder.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.recorder.wait(), 90)

    def random(self, purpose: str) -> random.Random:
        """Return a source of numbers of its own for ``purpose``, which the seed decides."""
        return random.Random(f"{purpose} {self.seed}")


async def _start_recorder(kubeconfig: Path, folder: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.faults.recorder",
        str(kubeconfig),
        str(folder / "history.jsonl"),
        SYSTEM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line == b"recording\n", f"the recorder did not start: {line!r}"
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


async def _close(nursery: Nursery, replicas: list[Replica]) -> None:
    for each in replicas:
        each.thaw()
        each.kill()
    await nursery.close()
    for each in replicas:
        await each.proxy.close()


def _no_fault(_: object) -> Any:
    from tests.faults.proxy import PASS

    return PASS


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def clear(kube: Kube) -> None:
    """Remove what a run left in a cluster that another run shall use."""
    for namespace in (load.NAMESPACE, hostile.NAMESPACE):
        if await kube.find("namespaces", namespace) is not None:
            await kube.delete("namespaces", namespace)
            await kube.wait_gone("namespaces", namespace, within=60)


def pods_of(items: list[Json]) -> set[str]:
    return {each["metadata"]["name"] for each in items}
