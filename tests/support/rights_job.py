# SPDX-License-Identifier: Apache-2.0
"""One working day of an operator, in steps, each of which needs rights; who lacks one gets stuck.

`read` is for replicas that stand by or observe: everything that they must notice, the same for
many of them at a time. `write` is for the one that leads. A step that is not done after its replica
was refused something raises `Stuck`: that is what the missing right costs.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.codec.results import decode_allocation
from berth.controller.events import SERIES_SECONDS, EventRecorder
from berth.controller.operator import Operator
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ClaimKey, ConsumerReference
from berth.model.pods import Pod, PodKey
from tests.support.audit import AuditLog, Request
from tests.support.embedded import Embedded
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import (
    GPU_CLASS,
    claim,
    device_request,
    devices_of,
    gates_of,
    pod,
    template,
)

WITHIN = 90.0
"""Seconds until a step that was not refused anything is a failure of the test, not of the role."""
GATES = [{"name": "berth.dev/dra"}]
OTHER_GATE = {"name": "tests.berth.dev/other"}


class Stuck(Exception):  # noqa: N818 - an outcome, not a mistake
    """A step was not done for want of a right; the text says what that means for users."""


@dataclass(slots=True)
class Replica:
    """One operator at work, with what the API server says about it."""

    user: str
    embedded: Embedded
    audit: AuditLog
    grace: float
    """Seconds for a step, once something was refused; it may be retried seldom, or never."""

    def refused(self) -> list[Request]:
        """Return what the API server refused; the right `binding` shows as an invalid status."""
        return [
            each
            for each in self.audit.requests(self.user)
            if each.code == 403 or (each.code == 422 and each.resource.endswith("/status"))
        ]

    @property
    def operator(self) -> Operator:
        operator = self.embedded.operator
        assert operator is not None, f"{self.user}: {self.embedded.failure() or 'not started'}"
        return operator

    async def step(self, costs: str, goal: Callable[[], Any]) -> None:
        """Wait for ``goal``; ``costs`` says what it means that it is never reached."""
        clock = asyncio.get_running_loop().time
        began = clock()
        refused_at: float | None = None
        while True:
            done = goal()
            if inspect.isawaitable(done):
                done = await done
            if done:
                return
            if self.embedded.failure():
                raise Stuck(costs)
            if refused_at is None and self.refused():
                refused_at = clock()
            if refused_at is not None and clock() > refused_at + self.grace:
                raise Stuck(costs)
            assert clock() < began + WITHIN, (
                f"{self.user}: {costs}: not done within {WITHIN} s, though nothing was refused"
            )
            await asyncio.sleep(0.03)


# --- what every replica must notice


@dataclass(frozen=True, slots=True)
class News:
    """Objects that appear while replicas run; all are called ``name``."""

    name: str

    def manifests(self) -> list[Json]:
        name = self.name
        driver = f"{name}.example.com"
        return [
            _manifest("v1", "Namespace", name),
            _manifest("v1", "Node", name),
            _manifest(
                "resource.k8s.io/v1",
                "DeviceClass",
                name,
                spec={"selectors": [{"cel": {"expression": f"device.driver == '{driver}'"}}]},
            ),
            _manifest(
                "resource.k8s.io/v1",
                "ResourceSlice",
                name,
                spec={
                    "driver": driver,
                    "nodeName": name,
                    "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
                    "devices": [{"name": "one"}],
                },
            ),
            _manifest(
                "resource.k8s.io/v1",
                "DeviceTaintRule",
                name,
                spec={
                    "deviceSelector": {"driver": driver, "device": "other"},
                    "taint": {"key": "tests.berth.dev/out", "effect": "NoSchedule"},
                },
            ),
            _manifest(
                "berth.dev/v1alpha1",
                "AllocationPolicy",
                name,
                spec={"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
            ),
            _within(name, template(name, device_request())),
            _within(name, claim(name, device_request())),
            _within(name, pod(name, claims=(name,), schedulingGates=[*GATES, OTHER_GATE])),
        ]

    def seen(self, operator: Operator) -> dict[str, bool]:
        """Return, for what it costs when it is not seen, whether it is."""
        name, cluster = self.name, operator.cluster
        return {
            "a new namespace is not seen, so that its pods wait": cluster.knows_namespace(name),
            "a new node is not used": name in cluster.nodes,
            "claims of a new class wait": name in cluster.classes,
            "devices that are published later are not used": name in cluster.slices,
            "a new taint rule is not honoured": name in cluster.taint_rules,
            "a new policy is not honoured": name in cluster.policies,
            "a new template is taken for missing": (name, name) in cluster.templates,
            "a new claim is not seen, so that its pods wait": ClaimKey(name, name)
            in cluster.claims,
            "a new pod is not seen, so that it waits": PodKey(name, name) in cluster.pods,
        }


async def read(replica: Replica, news: News, created: asyncio.Event, started: list[str]) -> None:
    """Start, then notice ``news``, which are created once every replica is in ``started``."""
    try:
        await replica.step("Berth does not start", replica.embedded.ready.is_set)
    finally:
        started.append(replica.user)
    await created.wait()
    for costs in news.seen(replica.operator):

        def is_seen(costs: str = costs) -> bool:
            return news.seen(replica.operator)[costs]

        await replica.step(costs, is_seen)


# --- what the leader does


async def write(replica: Replica, kube: Kube, name: str, *, generate: bool) -> None:
    """Do everything that a leader does, in a new namespace ``name``."""
    await replica.step("Berth does not start", replica.embedded.ready.is_set)
    await replica.step("no replica leads, so that nothing is allocated", replica.operator.may_write)
    for manifest in News(name).manifests():
        await kube.create(manifest)

    async def accepted() -> bool:
        status = (await kube.get("allocationpolicies", name)).get("status") or {}
        return bool(status.get("conditions"))

    await replica.step("no policy is told whether it is accepted", accepted)
    await _allocate(replica, kube, name)
    await _conflicts(replica, kube, name)
    await _event_series(replica, kube, name)
    if generate:
        await _generate(replica, kube, name)


async def _allocate(replica: Replica, kube: Kube, name: str) -> None:
    await kube.create(claim("work", device_request(device_class=GPU_CLASS)), name)
    await kube.create(pod("work", claims=("work",), schedulingGates=GATES), name)

    async def work() -> Json:
        return await kube.get("resourceclaims", "work", name)

    async def protected() -> bool:
        finalizers = (await work())["metadata"].get("finalizers") or ()
        return DELETE_PROTECTION_FINALIZER in finalizers

    async def allocated() -> bool:
        return bool(devices_of(await work()))

    async def let_go() -> bool:
        return not gates_of(await kube.get("pods", "work", name))

    async def said() -> bool:
        return bool(await kube.events(name, "work", "ClaimsAllocated"))

    await replica.step("claims that come without delete protection are not allocated", protected)
    await replica.step("no claim is allocated", allocated)
    await replica.step("pods keep the gate, and wait", let_go)
    await replica.step("no event says what became of a pod", said)


async def _conflicts(replica: Replica, kube: Kube, name: str) -> None:
    """Send two patches on versions that are out of date; the object must be read to go on."""
    raw = await kube.create(
        pod("stale", claims=("stale",), schedulingGates=[*GATES, OTHER_GATE]), name
    )
    stale_pod = replace(decode_pod(raw), resource_version="1")
    manifest = claim("stale", device_request())
    manifest["metadata"]["finalizers"] = [DELETE_PROTECTION_FINALIZER]
    raw = await kube.create(manifest, name)
    stale_claim = replace(decode_claim(raw), resource_version="1")
    # Of a device that nobody has: for another one the patch would not be sent at all.
    result = decode_allocation(
        {"devices": {"results": [_result("gpu", GPU_CLASS, "node-0", "gpu-of-nobody")]}}
    )
    consumer = ConsumerReference("pods", "stale", stale_pod.uid)
    writer = replica.operator.writer

    async def settles(costs: str, work: Coroutine[Any, Any, Any]) -> None:
        running = asyncio.ensure_future(replica.embedded.call(work))
        try:
            await replica.step(costs, running.done)
        finally:
            running.cancel()
        await running

    await settles(
        "after a conflict it stays unknown whether a pod was let go",
        writer.ungate(stale_pod, None),
    )
    await settles(
        "after a conflict it stays unknown whether a claim was allocated",
        writer.write_claim(stale_claim, result, (consumer,)),
    )


async def _event_series(replica: Replica, kube: Kube, name: str) -> None:
    """Let the time pass after which an event that goes on is counted up."""
    about = decode_pod(await kube.get("pods", "stale", name))
    now = 0.0
    recorder = EventRecorder(
        replica.operator.api, instance=replica.user, clock=lambda: now + SERIES_SECONDS
    )
    running = asyncio.ensure_future(replica.embedded.call(recorder.run()))

    async def series() -> list[Json]:
        found = await kube.events(name, "stale", "Waiting")
        return [each for each in found if (each.get("series") or {}).get("count", 1) > 1]

    async def posted() -> bool:
        return bool(await kube.events(name, "stale", "Waiting"))

    try:
        await replica.embedded.call(_post(recorder, about))
        await replica.step("no event says what became of a pod", posted)
        now = SERIES_SECONDS + 1
        await replica.embedded.call(_post(recorder, about))
        await replica.step("an event that goes on is not counted up", series)
    finally:
        running.cancel()


async def _post(recorder: EventRecorder, about: Pod) -> None:
    recorder.post(about, "Normal", "Waiting", "the same as before")


async def _generate(replica: Replica, kube: Kube, name: str) -> None:
    await kube.create(template("made", device_request(device_class=GPU_CLASS)), name)
    await kube.create(pod("made", templates=("made",), schedulingGates=GATES), name)

    async def made() -> list[Json]:
        return [
            each
            for each in await kube.list("resourceclaims", name)
            if (each["metadata"].get("ownerReferences") or [{}])[0].get("name") == "made"
        ]

    async def recorded() -> bool:
        return bool((await kube.get("pods", "made", name))["status"].get("resourceClaimStatuses"))

    async def let_go() -> bool:
        return not gates_of(await kube.get("pods", "made", name))

    async def gone() -> bool:
        return not await made()

    await replica.step("pods with a template get no claim", made)
    await replica.step("a pod's status never names its claims, so that no node starts it", recorded)
    await replica.step("pods keep the gate, and wait", let_go)
    await kube.patch("pods", "made", {"status": {"phase": "Succeeded"}}, name, subresource="status")
    await replica.step("claims of finished pods stay", gone)


def _result(request: str, driver: str, pool: str, device: str) -> Json:
    return {"request": request, "driver": driver, "pool": pool, "device": device}


def _manifest(api: str, kind: str, name: str, **parts: Any) -> Json:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **parts}


def _within(namespace: str, manifest: Json) -> Json:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
