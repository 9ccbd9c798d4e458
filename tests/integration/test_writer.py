# SPDX-License-Identifier: Apache-2.0
"""Every end of a write, on a real API server with its validation, admission and RBAC."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.controller.api import ApiClient, Timeouts, claim_path
from berth.controller.credentials import load_credentials
from berth.controller.events import EventRecorder
from berth.controller.writer import (
    ClaimConflict,
    ClaimGone,
    ClaimRefused,
    ClaimWritten,
    PodConflict,
    PodGone,
    Ungated,
    Writer,
)
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference, ResourceClaim
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.pods import Pod
from berth.model.results import AllocationResult, DeviceResult
from tests.integration.conftest import ClusterUnderTest
from tests.support.kube import Kube
from tests.support.releases import keeps_timestamps

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

Json = dict[str, Any]
# Of no ResourceSlice: what is written here takes no device from other tests.
DRIVER = "writer.test.example.com"
# Holds the pods back from kube-scheduler, whatever happens to Berth's gate.
OTHER_GATE = "test.example.com/hold"
NODE = "node-1"
PIN = {"key": "metadata.name", "operator": "In", "values": [NODE]}


def allocation(device: str = "d0", **more: Any) -> AllocationResult:
    pinned = NodeSelectorRequirement("metadata.name", "In", (NODE,))
    return AllocationResult(
        devices=(DeviceResult("main", DRIVER, "pool", device, **more),),
        node_selector=NodeSelector((NodeSelectorTerm(match_fields=(pinned,)),)),
    )


class Bench:
    """Objects made by the administrator, and the writer that is under test."""

    def __init__(self, kube: Kube, namespace: str, api: ApiClient) -> None:
        self.kube = kube
        self.namespace = namespace
        self.writer = self.writer_for(api)

    @staticmethod
    def writer_for(api: ApiClient) -> Writer:
        return Writer(api, lambda: True, clock_now=lambda: dt.datetime.now(dt.UTC))

    async def claim(self, name: str = "train", **metadata: Any) -> ResourceClaim:
        manifest = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {"name": name, **metadata},
            "spec": {
                "devices": {
                    "requests": [{"name": "main", "exactly": {"deviceClassName": "none-such"}}]
                }
            },
        }
        return decode_claim(await self.kube.create(manifest, self.namespace))

    async def now(self, name: str = "train") -> Json:
        return await self.kube.get("resourceclaims", name, self.namespace)

    async def pod(self, name: str = "worker", claim: str = "train", **spec: Any) -> Pod:
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "schedulingGates": [{"name": OTHER_GATE}, {"name": "berth.dev/dra"}],
                "resourceClaims": [{"name": "c", "resourceClaimName": claim}],
                "containers": [{"name": "c", "image": "none", "resources": {"claims": []}}],
                "terminationGracePeriodSeconds": 0,
                **spec,
            },
        }
        return decode_pod(await self.kube.create(manifest, self.namespace))

    async def touch(self, resource: str, name: str) -> None:
        body = {"metadata": {"labels": {"touched": "yes"}}}
        await self.kube.patch(resource, name, body, self.namespace)


def consumer(pod: Pod) -> ConsumerReference:
    return ConsumerReference("pods", pod.name, pod.uid)


@pytest.fixture
async def client(cluster: ClusterUnderTest) -> AsyncIterator[ApiClient]:
    credentials = await load_credentials(str(cluster.kubeconfig), None)
    async with ApiClient(credentials) as api:
        yield api


@pytest.fixture
def bench(kube: Kube, namespace: str, client: ApiClient) -> Bench:
    return Bench(kube, namespace, client)


async def test_a_claim_is_protected_allocated_and_reserved(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    outcome = await bench.writer.write_claim(claim, allocation(), (consumer(pod),))
    assert isinstance(outcome, ClaimWritten)
    stored = await bench.now()
    stamp = stored["status"]["allocation"].pop("allocationTimestamp", "")
    kept = re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamp)
    assert bool(kept) is keeps_timestamps()
    assert stored["metadata"]["finalizers"] == [DELETE_PROTECTION_FINALIZER]
    assert stored["status"] == {
        "allocation": {
            "devices": {
                "results": [{"request": "main", "driver": DRIVER, "pool": "pool", "device": "d0"}]
            },
            "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [PIN]}]},
        },
        "reservedFor": [{"resource": "pods", "name": "worker", "uid": pod.uid}],
    }
    assert outcome.claim == decode_claim(await bench.now())


async def test_other_finalizers_stay(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim(finalizers=["test.example.com/keep"])
    outcome = await bench.writer.write_claim(claim, allocation(), (consumer(pod),))
    assert isinstance(outcome, ClaimWritten)
    assert sorted(outcome.claim.finalizers) == [
        DELETE_PROTECTION_FINALIZER,
        "test.example.com/keep",
    ]
    await bench.kube.patch(
        "resourceclaims",
        "train",
        {"metadata": {"finalizers": [DELETE_PROTECTION_FINALIZER]}},
        bench.namespace,
    )


@pytest.mark.parametrize("protected", [False, True], ids=["at the finalizer", "at the status"])
async def test_a_claim_that_changed_is_a_conflict_and_is_not_written(
    bench: Bench, *, protected: bool
) -> None:
    finalizers = [DELETE_PROTECTION_FINALIZER] if protected else []
    pod, claim = await bench.pod(), await bench.claim(finalizers=finalizers)
    await bench.touch("resourceclaims", "train")
    outcome = await bench.writer.write_claim(claim, allocation(), (consumer(pod),))
    assert isinstance(outcome, ClaimConflict)
    assert outcome.claim == decode_claim(await bench.now())
    assert outcome.claim.allocation is None
    assert "the object has been modified" in outcome.detail
    # What it gives is good for the next try.
    assert isinstance(
        await bench.writer.write_claim(outcome.claim, allocation(), (consumer(pod),)), ClaimWritten
    )


async def test_an_allocation_of_somebody_else_is_a_conflict_and_stays(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    first = await bench.writer.write_claim(claim, allocation("theirs"), (consumer(pod),))
    assert isinstance(first, ClaimWritten)
    blind = replace(first.claim, allocation=None, reserved_for=())
    outcome = await bench.writer.write_claim(blind, allocation("ours"), (consumer(pod),))
    assert outcome == ClaimConflict(first.claim, "somebody else allocated the claim first")


async def test_a_deleted_and_a_recreated_claim_are_gone(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim(finalizers=[])
    await bench.kube.delete("resourceclaims", "train", bench.namespace)
    await bench.kube.wait_gone("resourceclaims", "train", bench.namespace)
    gone = await bench.writer.write_claim(claim, allocation(), (consumer(pod),))
    assert isinstance(gone, ClaimGone)
    assert "not found" in gone.detail
    await bench.claim()
    assert await bench.writer.write_claim(claim, allocation(), (consumer(pod),)) == ClaimGone(
        "deleted, and created anew under the same name"
    )
    assert "allocation" not in (await bench.now()).get("status", {})


async def test_what_the_api_finds_wrong_is_refused_with_its_text(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    wrong = AllocationResult(devices=(DeviceResult("other", DRIVER, "pool", "d0"),))
    outcome = await bench.writer.write_claim(claim, wrong, (consumer(pod),))
    assert isinstance(outcome, ClaimRefused)
    assert outcome.detail.startswith(f"allocating claim {bench.namespace}/train was refused: ")
    assert "must be the name of a request in the claim" in outcome.detail


async def test_a_field_that_the_server_drops_is_named_and_the_claim_freed(bench: Bench) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    dropped = allocation(skip_node_operations=("*",))
    assert await bench.writer.write_claim(claim, dropped, (consumer(pod),)) == ClaimRefused(
        "status.allocation.devices.results[0].skipNodeOperations: dropped by the API server: its "
        "feature gate `DRAOptionalNodeOperations` is off; the allocation was taken back"
    )
    assert "allocation" not in (await bench.now()).get("status", {})


async def test_a_second_consumer_joins_the_first(bench: Bench) -> None:
    first, second, claim = await bench.pod("one"), await bench.pod("two"), await bench.claim()
    written = await bench.writer.write_claim(claim, allocation(), (consumer(first),))
    assert isinstance(written, ClaimWritten)
    outcome = await bench.writer.reserve(written.claim, consumer(second))
    assert isinstance(outcome, ClaimWritten)
    assert set(outcome.claim.reserved_for) == {consumer(first), consumer(second)}
    stale = await bench.writer.reserve(written.claim, consumer(second))
    assert stale == ClaimWritten(outcome.claim)


async def test_a_claim_that_is_being_deleted_takes_no_new_consumer(bench: Bench) -> None:
    first, second, claim = await bench.pod("one"), await bench.pod("two"), await bench.claim()
    written = await bench.writer.write_claim(claim, allocation(), (consumer(first),))
    assert isinstance(written, ClaimWritten)
    await bench.kube.delete("resourceclaims", "train", bench.namespace)
    deleting = decode_claim(await bench.now())
    assert deleting.deleting
    outcome = await bench.writer.reserve(deleting, consumer(second))
    assert outcome == ClaimConflict(deleting, "it can take no new consumer")


async def account(kube: Kube, namespace: str, name: str, rules: list[Json]) -> str:
    """Return a token of a ServiceAccount that has these rights in the whole cluster."""
    role = f"{namespace}-{name}"
    await kube.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace
    )
    rbac = "rbac.authorization.k8s.io"
    meta = {"name": role}
    await kube.create(
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules}
    )
    await kube.create(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
    )
    return await kube.token(namespace, name)


STATUS_ONLY = [
    {
        "apiGroups": ["resource.k8s.io"],
        "resources": ["resourceclaims", "resourceclaims/status"],
        "verbs": ["get", "patch"],
    }
]


@pytest.fixture
async def writer_as(
    kube: Kube, namespace: str, tmp_path: Path
) -> AsyncIterator[Callable[[list[Json]], Any]]:
    """A writer with the rights of a ServiceAccount that is made for it."""
    async with AsyncExitStack() as stack:

        async def make(rules: list[Json]) -> Writer:
            token = await account(kube, namespace, "limited", rules)
            path = kube.write_kubeconfig(tmp_path / "limited", token)
            credentials = await load_credentials(str(path), None)
            api = await stack.enter_async_context(ApiClient(credentials))
            return Bench.writer_for(api)

        yield make
    await kube.delete("clusterrolebindings", f"{namespace}-limited")
    await kube.delete("clusterroles", f"{namespace}-limited")


async def test_without_the_binding_permission_the_remedy_is_named(
    bench: Bench, writer_as: Callable[[list[Json]], Any]
) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    writer = await writer_as(STATUS_ONLY)
    assert await writer.write_claim(claim, allocation(), (consumer(pod),)) == ClaimRefused(
        f"allocating claim {bench.namespace}/train is not permitted: grant Berth's "
        "ServiceAccount `patch` on `resourceclaims/binding` of `resource.k8s.io` with a "
        "ClusterRoleBinding; a RoleBinding is not enough"
    )


async def test_without_any_permission_the_missing_right_is_named(
    bench: Bench, writer_as: Callable[[list[Json]], Any]
) -> None:
    pod, claim = await bench.pod(), await bench.claim()
    writer = await writer_as([])
    outcome = await writer.write_claim(claim, allocation(), (consumer(pod),))
    assert isinstance(outcome, ClaimRefused)
    assert re.fullmatch(
        rf"protecting claim {bench.namespace}/train from deletion is not permitted: .* cannot "
        r"patch resource .resourceclaims. .*; see the ClusterRole of Berth's chart",
        outcome.detail,
    )


async def test_a_write_to_an_api_server_that_hangs_ends_with_what_became_of_it(
    kube: Kube, namespace: str, cluster: ClusterUnderTest
) -> None:
    if cluster.local is None:
        pytest.skip("the API server of a cluster given from outside is not stopped")
    credentials = await load_credentials(str(cluster.kubeconfig), None)
    timeouts = Timeouts(connect=1, total=1, write=0.5)
    async with ApiClient(credentials, timeouts=timeouts) as api:
        bench = Bench(kube, namespace, api)
        pod, claim = await bench.pod(), await bench.claim()
        # A connection is open, so the request reaches the server's socket before it stops.
        await api.get(claim_path(claim.key))
        cluster.local.kill("kube-apiserver", signal.SIGSTOP)
        try:
            writing = asyncio.create_task(
                bench.writer.write_claim(claim, allocation(), (consumer(pod),))
            )
            await asyncio.sleep(2)
            assert not writing.done()
        finally:
            cluster.local.kill("kube-apiserver", signal.SIGCONT)
        outcome = await writing
        assert isinstance(outcome, ClaimWritten)
        assert outcome.claim.reserved_for == (consumer(pod),)
        assert outcome.claim == decode_claim(await bench.now())


TWO_ALTERNATIVES = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]},
                {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
            ]
        }
    }
}


async def test_a_pod_loses_only_our_gate_and_every_alternative_is_pinned(bench: Bench) -> None:
    pod = await bench.pod(affinity=TWO_ALTERNATIVES)
    outcome = await bench.writer.ungate(pod, NODE)
    assert isinstance(outcome, Ungated)
    spec = (await bench.kube.get("pods", "worker", bench.namespace))["spec"]
    assert spec["schedulingGates"] == [{"name": OTHER_GATE}]
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required["nodeSelectorTerms"] == [
        {
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}],
            "matchFields": [PIN],
        },
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}], "matchFields": [PIN]},
    ]


async def test_a_pod_without_affinity_is_pinned_or_left_unpinned(bench: Bench) -> None:
    pinned, free = await bench.pod("pinned"), await bench.pod("free")
    assert isinstance(await bench.writer.ungate(pinned, NODE), Ungated)
    assert isinstance(await bench.writer.ungate(free, None), Ungated)
    spec = (await bench.kube.get("pods", "pinned", bench.namespace))["spec"]
    assert spec["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [PIN]}]
            }
        }
    }
    spec = (await bench.kube.get("pods", "free", bench.namespace))["spec"]
    assert "affinity" not in spec
    assert spec["schedulingGates"] == [{"name": OTHER_GATE}]


async def test_a_pod_whose_labels_changed_is_let_go_all_the_same(bench: Bench) -> None:
    pod = await bench.pod()
    await bench.touch("pods", "worker")
    assert isinstance(await bench.writer.ungate(pod, NODE), Ungated)


async def test_a_pod_whose_node_selector_changed_is_decided_anew(bench: Bench) -> None:
    pod = await bench.pod()
    changed = {"spec": {"nodeSelector": {"disk": "ssd"}}}
    await bench.kube.patch("pods", "worker", changed, bench.namespace)
    outcome = await bench.writer.ungate(pod, NODE)
    assert isinstance(outcome, PodConflict)
    assert decode_pod(outcome.pod).node_selector == {"disk": "ssd"}
    assert decode_pod(outcome.pod).is_gated


async def test_a_deleted_and_a_recreated_pod_are_gone(bench: Bench) -> None:
    pod = await bench.pod()
    await bench.kube.delete("pods", "worker", bench.namespace, grace_seconds=0)
    await bench.kube.wait_gone("pods", "worker", bench.namespace)
    assert await bench.writer.ungate(pod, NODE) == PodGone()
    await bench.pod()
    assert await bench.writer.ungate(pod, NODE) == PodGone()


async def test_an_event_is_found_where_describe_looks_for_it(
    bench: Bench, client: ApiClient
) -> None:
    pod = await bench.pod()
    recorder = EventRecorder(client, instance="berth-0")
    recorder.post(pod, "Warning", "ClaimAllocationFailed", "no device is free" + "é" * 2000)
    await recorder._post_due()
    answer = await bench.kube.request(
        "GET",
        f"/api/v1/namespaces/{bench.namespace}/events",
        params={"fieldSelector": f"involvedObject.uid={pod.uid}"},
    )
    [event] = [item for item in answer["items"] if item["reason"] == "ClaimAllocationFailed"]
    assert event["type"] == "Warning"
    assert event["message"].startswith("no device is free")
    assert event["involvedObject"]["name"] == "worker"
    assert event["reportingComponent"] == "berth.dev/berth"
