# SPDX-License-Identifier: Apache-2.0
"""Many pods of many tenants, first without and then with one tenant who means harm.

An API server and Berth, and nobody else: nodes are objects, nothing schedules, claims come by name
with the pods. Pods come at a fixed rate, so that what is measured is the time that Berth takes and
not the length of a queue. The time of a pod is from before its creation is sent until a watch shows
its claim allocated.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from berth.localcluster import ClusterSpec, LocalCluster
from berth.model.claims import DELETE_PROTECTION_FINALIZER
from tests.support.helm import SYSTEM
from tests.support.kube import Kube, KubeError
from tests.support.kube_access import Json
from tests.support.manifests import claim, device_request, devices_of, pod
from tests.support.operators import OperatorProcess
from tests.support.rights import manifests_of
from tests.tenants.hostile import ESCAPES, LONG_NAME, hostile_claim

DEVICES_PER_NODE = 100
GATES = [{"name": "berth.dev/dra"}]
HOSTILE = "hostile"
IN_FLIGHT = 64
SETTLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pods of how many tenants, at which rate; one tenant of them is the hostile one."""

    pods: int = 10_000
    tenants: int = 20
    rate: float = 40.0
    """Pods a second, of all tenants together."""


@dataclass(slots=True)
class Times:
    """Seconds from creation to allocation of one phase, and who was never served."""

    seconds: list[float] = field(default_factory=list)
    missing: int = 0

    def percentile(self, hundredth: int) -> float:
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[hundredth - 1]

    def line(self) -> str:
        values = ", ".join(f"p{n} {self.percentile(n) * 1000:.0f} ms" for n in (50, 90, 99))
        return f"{len(self.seconds)} pods, {self.missing} never allocated, {values}"


@dataclass(frozen=True, slots=True)
class Report:
    """Both phases, and what hostile content did to Berth's output."""

    without: Times
    beside: Times
    hostile_pods: int
    broken: Sequence[str]

    @property
    def ratio(self) -> float:
        return self.beside.percentile(99) / self.without.percentile(99)


class Watched:
    """When the claims of a namespace prefix were first seen allocated."""

    def __init__(self) -> None:
        self.allocated: dict[tuple[str, str], float] = {}

    async def run(self, kube: Kube) -> None:
        clock = asyncio.get_running_loop().time
        path = "/apis/resource.k8s.io/v1/resourceclaims"
        version = (await kube.request("GET", path, params={"limit": "1"}))["metadata"]
        params = {"watch": "true", "resourceVersion": version["resourceVersion"]}
        timeout = aiohttp.ClientTimeout(total=None)
        while True:
            async with kube._session.get(
                kube.access.server + path, params=params, timeout=timeout
            ) as answer:
                answer.raise_for_status()
                buffer = b""
                async for chunk in answer.content.iter_any():
                    now = clock()
                    *lines, buffer = (buffer + chunk).split(b"\n")
                    for line in lines:
                        raw = json.loads(line)["object"]
                        params["resourceVersion"] = raw["metadata"]["resourceVersion"]
                        if devices_of(raw):
                            key = (raw["metadata"]["namespace"], raw["metadata"]["name"])
                            self.allocated.setdefault(key, now)


@asynccontextmanager
async def watching(kube: Kube) -> AsyncIterator[Watched]:
    watched = Watched()
    running = asyncio.ensure_future(watched.run(kube))
    await asyncio.sleep(0.5)
    yield watched
    if running.done():
        running.result()
    running.cancel()


def tenants_cluster(name: str, plan: Plan) -> LocalCluster:
    """Start an API server with devices for both phases."""
    nodes = 2 * plan.pods // DEVICES_PER_NODE + 2
    alone = frozenset({"kube-scheduler", "kube-controller-manager", "kwok"})
    spec = ClusterSpec(name=name, nodes=nodes, devices=DEVICES_PER_NODE, without=alone)
    return LocalCluster.start(spec)


async def prepare(kube: Kube, namespaces: Sequence[str]) -> None:
    for manifest in manifests_of({"mode": "gated"}):
        if manifest["kind"] == "CustomResourceDefinition":
            await kube.create(manifest)
    await kube.wait_for(
        "customresourcedefinitions",
        "allocationpolicies.berth.dev",
        lambda each: any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in each.get("status", {}).get("conditions") or ()
        ),
    )
    for name in (SYSTEM, *namespaces):
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for _ in range(100):
        try:
            await kube.create(
                {
                    "apiVersion": "berth.dev/v1alpha1",
                    "kind": "AllocationPolicy",
                    "metadata": {"name": "all"},
                    "spec": {},
                }
            )
        except KubeError as error:
            if error.status != 404:
                raise
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("AllocationPolicies are not served")


async def create_pod(kube: Kube, namespace: str, name: str, made: Json) -> None:
    made["metadata"]["name"] = name
    made["metadata"]["finalizers"] = [DELETE_PROTECTION_FINALIZER]
    await kube.create(made, namespace)
    asked = pod(name, claims=(name,), schedulingGates=GATES)
    if namespace == HOSTILE:
        asked["metadata"]["annotations"] = {"note": ESCAPES}
    await kube.create(asked, namespace)


async def phase(kube: Kube, plan: Plan, label: str, *, hostile: bool) -> Times:
    """Create the pods of all tenants, or of all but the hostile one; return the others' times."""
    clock = asyncio.get_running_loop().time
    created: dict[tuple[str, str], float] = {}
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(number: int) -> None:
        tenant = number % plan.tenants
        if tenant == 0:
            if hostile:
                name = f"{label}-{number}-{LONG_NAME}"
                async with slots:
                    await create_pod(kube, HOSTILE, name, hostile_claim(number // plan.tenants))
            return
        namespace, name = f"tenant-{tenant}", f"{label}-{number}"
        async with slots:
            created[namespace, name] = clock()
            await create_pod(kube, namespace, name, claim("", device_request()))

    async with watching(kube) as watched:
        began = clock()
        batch: set[asyncio.Task[None]] = set()
        for number in range(plan.pods):
            await asyncio.sleep(max(0.0, began + number / plan.rate - clock()))
            task = asyncio.ensure_future(one(number))
            batch.add(task)
            if len(batch) > 4 * IN_FLIGHT:
                done, batch = await asyncio.wait(batch, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    each.result()
        await asyncio.gather(*batch)
        until = clock() + SETTLE_SECONDS
        while created.keys() - watched.allocated.keys() and clock() < until:
            await asyncio.sleep(0.1)
    times = Times(missing=len(created.keys() - watched.allocated.keys()))
    times.seconds = [
        watched.allocated[key] - at for key, at in created.items() if key in watched.allocated
    ]
    return times


async def broken_output(kube: Kube, log: Path) -> list[str]:
    """Return what hostile content did to logs, events and conditions."""
    found = [
        f"log line is not one JSON object: {line[:200]!r}"
        for line in log.read_bytes().split(b"\n")
        if line and not _is_one_object(line)
    ]
    for event in await kube.list("events", HOSTILE):
        note = event.get("note") or ""
        if len(note.encode()) > 1024 or not note.isprintable():
            found.append(f"event: {note[:200]!r}")
    return found


def _is_one_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict) and b"\x1b" not in line
    except ValueError:
        return False


async def run(
    cluster: LocalCluster, folder: Path, plan: Plan, say: Callable[[str], None]
) -> Report:
    """Run both phases with one operator, and return what was measured."""
    log = folder / "operator.log"
    async with Kube.from_kubeconfig(cluster.kubeconfig) as kube:
        await prepare(kube, [HOSTILE, *(f"tenant-{n}" for n in range(1, plan.tenants))])
        settings: Mapping[str, str] = {
            "BERTH_LEASE_SECONDS": "15",
            "BERTH_DEADLINE_SECONDS": "10",
            "BERTH_RENEW_SECONDS": "2",
        }
        operator = await asyncio.to_thread(
            lambda: OperatorProcess.start(cluster.kubeconfig, log, settings=settings, within=120)
        )
        try:
            warm = Plan(pods=plan.tenants * 5, tenants=plan.tenants, rate=plan.rate)
            await phase(kube, warm, "warm", hostile=False)
            without = await phase(kube, plan, "without", hostile=False)
            say(f"without the hostile tenant: {without.line()}")
            beside = await phase(kube, plan, "beside", hostile=True)
            say(f"with the hostile tenant:    {beside.line()}")
            assert operator.process.poll() is None, log.read_text()[-3000:]
        finally:
            await asyncio.to_thread(operator.stop)
        broken = await broken_output(kube, log)
    return Report(without, beside, plan.pods // plan.tenants, broken)
