# SPDX-License-Identifier: Apache-2.0
"""Part d: pods a second and CPU a pod on a local control plane, from create to bound.

Decides the ways that are compared, in one cluster one after the other: pods without claims (what
the machine can do), the stock scheduler alone, Berth in mode gated, Berth in mode fenced. Nodes
have no kubelet, nor anything that plays one: a pod is done when it is bound.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from bench.fleets import PER_NODE, Json
from bench.measure import percentile, ratio
from berth.controller.api import ApiClient
from berth.controller.credentials import load_credentials
from berth.controller.transport import Timeouts
from berth.errors import BerthError
from berth.localcluster import ClusterSpec, LocalCluster, install
from berth.localcluster.profiles import DRIVER

NAMESPACE = "bench"
CLIENTS = 32
WARM_UP = 8
"""Pods before those that count."""
PATIENCE = 900.0
WAYS = ("no claims", "stock", "gated", "fenced")
BASE = "stock"
TICKS = os.sysconf("SC_CLK_TCK")
SELECTOR = f'device.attributes["{DRIVER}"].model == "a100"'
CLAIMS = f"/apis/resource.k8s.io/v1/namespaces/{NAMESPACE}/resourceclaims"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

Say = Callable[[str], None]


class EndToEndError(BerthError):
    """Pods that were not bound in time, or an operator that ended."""


def run(sizes: Sequence[int], *, quick: bool, say: Say) -> list[Json]:
    """Return one row for each size and way."""
    rows = []
    for nodes in sizes:
        pods = min(nodes * PER_NODE // 4, 200 if quick else 1000)
        spec = ClusterSpec(
            name=f"bench-{os.getpid()}",
            nodes=nodes,
            devices=PER_NODE,
            without=frozenset({"kwok"}),
        )
        say(f"end to end: a cluster of {nodes} nodes")
        with LocalCluster.start(spec) as cluster:
            rows += asyncio.run(_ways(cluster, nodes, pods, say))
            cluster.check()
    stock = {each["nodes"]: each["pods_per_second"] for each in rows if each["way"] == BASE}
    for each in rows:
        each["ratio"] = ratio(each["pods_per_second"], stock[each["nodes"]])
    return rows


async def _ways(cluster: LocalCluster, nodes: int, pods: int, say: Say) -> list[Json]:
    rows = []
    scheduler = {each.name: each.pid for each in cluster.components}["kube-scheduler"]
    credentials = await load_credentials(str(cluster.kubeconfig), None)
    async with ApiClient(credentials, timeouts=Timeouts(total=120, write=120)) as api:
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        for way in WAYS:
            say(f"end to end: {nodes} nodes, {pods} pods, {way}")
            async with _prepared(api, cluster.kubeconfig, way) as operator:
                pids = [scheduler, *operator]
                # What happens once for each process, as reading the grammar, is not the pods'.
                await _fill(api, WARM_UP, pids, with_claims=way != "no claims")
                await _empty(api)
                row = await _fill(api, pods, pids, with_claims=way != "no claims")
            rows.append({"way": way, "nodes": nodes, "pods": pods, **row})
            await _empty(api)
    return rows


@asynccontextmanager
async def _prepared(api: ApiClient, kubeconfig: Path, way: str) -> AsyncIterator[list[int]]:
    """Yield the process ids of the operator, if this way has one."""
    if way not in {"gated", "fenced"}:
        yield []
        return
    values = install.every_namespace(way, [DRIVER])
    await asyncio.to_thread(install.install, kubeconfig, values)
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
        async with _operator(api, kubeconfig, way, Path(folder)) as pid:
            yield [pid]


@asynccontextmanager
async def _operator(
    api: ApiClient, kubeconfig: Path, mode: str, folder: Path
) -> AsyncIterator[int]:
    account = f"/api/v1/namespaces/{install.NAMESPACE}/serviceaccounts/{install.SERVICE_ACCOUNT}"
    answer = await api.create(
        f"{account}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7200},
        },
    )
    own = folder / "kubeconfig"
    own.touch(mode=0o600)
    own.write_text(install.account_kubeconfig(kubeconfig, answer["status"]["token"]))
    log = folder / "operator.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "berth", "run", "--kubeconfig", str(own), "--mode", mode),
            *("--http-port", "0", "--log-format", "json"),
            stdout=output,
            stderr=output,
        )
    try:
        await _until(lambda: _is_ready(process, log), "the operator is not ready")
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _is_ready(process: asyncio.subprocess.Process, log: Path) -> bool:
    text = await asyncio.to_thread(log.read_bytes)
    if process.returncode is not None:
        raise EndToEndError(f"operator: ended: {text[-2000:].decode(errors='replace')}")
    return b'"event":"ready"' in text.replace(b'": "', b'":"')


# --- one way


async def _fill(api: ApiClient, pods: int, pids: Sequence[int], *, with_claims: bool) -> Json:
    """Create pods as fast as the clients can, and wait until all are bound."""
    created: dict[str, float] = {}
    bound: dict[str, float] = {}
    version = (await api.get(PODS, {"limit": "1"}))["metadata"]["resourceVersion"]
    watching = asyncio.create_task(_watch(api, version, bound))
    try:
        began, cpu = time.perf_counter(), _cpu(pids)

        async def create(number: int) -> None:
            name = f"p{number:05}"
            if with_claims:
                await api.create(CLAIMS, _claim(name))
            created[name] = time.perf_counter()
            await api.create(PODS, _pod(name, with_claims=with_claims))

        await _by_clients(create(number) for number in range(pods))

        async def all_bound() -> bool:
            return len(bound) == pods

        await _until(all_bound, "pods are not bound", lambda: f"{len(bound)} of {pods} are")
        seconds = max(bound.values()) - began
        spent = _cpu(pids) - cpu
    finally:
        watching.cancel()
        await asyncio.wait({watching})
    waits = sorted(bound[name] - created[name] for name in created)
    return {
        "pods_per_second": round(pods / seconds, 2),
        "cpu_ms_per_pod": round(spent / pods * 1000, 2),
        "seconds": {
            name: round(percentile(waits, share), 3)
            for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
    }


async def _watch(api: ApiClient, version: str, bound: dict[str, float]) -> None:
    async for line in api.watch(PODS, {"resourceVersion": version}):
        pod = orjson.loads(line)["object"]
        if pod["spec"].get("nodeName"):
            bound.setdefault(pod["metadata"]["name"], time.perf_counter())


async def _by_clients(work: Iterable[Awaitable[None]]) -> None:
    waiting = iter(work)

    async def client() -> None:
        for each in waiting:
            await each

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(client())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


async def _empty(api: ApiClient) -> None:
    """Delete all pods and claims, and wait until no device is in use."""
    for path in (PODS, CLAIMS):
        found = await api.list(path)
        names = [each["metadata"]["name"] for each in found["items"]]

        async def delete(name: str, path: str = path) -> None:
            await api.delete(f"{path}/{name}")

        await _by_clients(map(delete, names))

        async def gone(path: str = path) -> bool:
            return not (await api.list(path))["items"]

        await _until(gone, f"{path}: not empty")


async def _until(
    true: Callable[[], Awaitable[bool]], wrong: str, detail: Callable[[], str] = lambda: ""
) -> None:
    end = time.monotonic() + PATIENCE
    while not await true():
        if time.monotonic() > end:
            raise EndToEndError(f"end to end: {wrong} after {PATIENCE:.0f} s: {detail()}")
        await asyncio.sleep(0.1)


def _cpu(pids: Sequence[int]) -> float:
    """Return the CPU seconds that the processes have used."""
    seconds = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def _claim(name: str) -> Json:
    exactly = {"deviceClassName": DRIVER, "selectors": [{"cel": {"expression": SELECTOR}}]}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"name": name},
        "spec": {"devices": {"requests": [{"name": "gpu", "exactly": exactly}]}},
    }


def _pod(name: str, *, with_claims: bool) -> Json:
    container: dict[str, Any] = {"name": "main", "image": "example.com/none:1"}
    spec: Json = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if with_claims:
        container["resources"] = {"claims": [{"name": "gpu"}]}
        spec["resourceClaims"] = [{"name": "gpu", "resourceClaimName": name}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
