# SPDX-License-Identifier: Apache-2.0
"""Repairs look again before they write, and write with preconditions or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from berth.audit.finding import AddFinalizer, DropConsumers, ObjectRef, RemoveGate, Repair
from berth.audit.sweep import audit
from berth.cli.repair import Bench, NotSafe, repairs_of
from berth.controller.apierrors import ApiError
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference
from tests.support.audits import NOW, a_cluster, a_pod, holding
from tests.support.builders import a_slice, devices
from tests.support.fault_server import FaultServer, Json, client_of, failure, fault_server, json

CLAIM = ObjectRef("ResourceClaim", "ml", "train", "cu")
POD = ObjectRef("Pod", "ml", "worker", "pu")
PATH = "/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims/train"
POD_PATH = "/api/v1/namespaces/ml/pods/worker"
WORKER = {"resource": "pods", "name": "worker", "uid": "pu"}
GHOST = {"resource": "pods", "name": "ghost", "uid": "gu"}
DROP = DropConsumers(CLAIM, (ConsumerReference("pods", "ghost", "gu"),))
GHOST_PATH = "/api/v1/namespaces/ml/pods/ghost"


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with fault_server() as server:
        yield server


def claim_json(*reserved_for: Json, uid: str = "cu", **fields: Any) -> Json:
    metadata = {"namespace": "ml", "name": "train", "uid": uid, "resourceVersion": "7", **fields}
    status = {"allocation": {"devices": {"results": []}}, "reservedFor": list(reserved_for)}
    return {"metadata": metadata, "spec": {}, "status": status}


def pod_json(name: str = "worker", uid: str = "pu", *gates: str) -> Json:
    return {
        "metadata": {"namespace": "ml", "name": name, "uid": uid, "resourceVersion": "9"},
        "spec": {"schedulingGates": [{"name": gate} for gate in gates]},
    }


async def repair(server: FaultServer, wanted: Repair) -> str:
    async with client_of(server) as api:
        return await Bench(api, "v1").repair(wanted)


async def refused(server: FaultServer, wanted: Repair) -> str:
    with pytest.raises(NotSafe) as error:
        await repair(server, wanted)
    assert server.count("PATCH") == 0
    return str(error.value)


# --- the finalizer


async def test_the_finalizer_is_added_to_the_object_that_was_looked_at(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(finalizers=["a.example.com/x"])))
    server.answer("PATCH", PATH, json(claim_json()))

    assert await repair(server, AddFinalizer(CLAIM)) == "added"
    assert server.bodies("PATCH") == [
        {
            "metadata": {
                "uid": "cu",
                "resourceVersion": "7",
                "finalizers": ["a.example.com/x", DELETE_PROTECTION_FINALIZER],
            }
        }
    ]


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (claim_json(uid="another"), "claim ml/train: does not exist any more"),
        (claim_json(deletionTimestamp="2026-11-24T10:00:00Z"), "claim ml/train: is being deleted"),
        ({**claim_json(), "status": {}}, "claim ml/train: is not allocated any more"),
    ],
    ids=["another claim of the name", "it is being deleted", "it was freed"],
)
async def test_the_finalizer_is_not_added_to_another_state(
    server: FaultServer, now: Json, why: str
) -> None:
    server.answer("GET", PATH, json(now))

    assert await refused(server, AddFinalizer(CLAIM)) == why


async def test_a_claim_that_is_gone_is_left_alone(server: FaultServer) -> None:
    assert await refused(server, AddFinalizer(CLAIM)) == "claim ml/train: does not exist any more"


async def test_a_finalizer_that_is_there_needs_no_write(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(finalizers=[DELETE_PROTECTION_FINALIZER])))

    assert await repair(server, AddFinalizer(CLAIM)) == "it was there already"
    assert server.count("PATCH") == 0


# --- consumers


@pytest.mark.parametrize("successor", [None, pod_json("ghost", "a-later-uid")])
async def test_a_consumer_goes_when_its_pod_is_gone_or_another(
    server: FaultServer, successor: Json | None
) -> None:
    server.answer("GET", PATH, json(claim_json(WORKER, GHOST)))
    server.answer("PATCH", f"{PATH}/status", json(claim_json(WORKER)))
    if successor is not None:
        server.answer("GET", GHOST_PATH, json(successor))

    assert await repair(server, DROP) == "removed 1, 1 left"
    assert server.bodies("PATCH") == [
        {
            "metadata": {"uid": "cu", "resourceVersion": "7"},
            "status": {"reservedFor": [{"$patch": "delete", "uid": "gu"}]},
        }
    ]
    # The claim is read before the pods, so that a pod that comes after that changes its version.
    assert [each.path for each in server.received if each.method == "GET"] == [PATH, GHOST_PATH]


async def test_the_last_consumer_leaves_the_allocation(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(GHOST)))
    server.answer("PATCH", f"{PATH}/status", json(claim_json()))

    assert await repair(server, DROP) == "removed 1, 0 left; the claim stays allocated"


async def test_a_consumer_whose_pod_exists_after_all_stays(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(GHOST)))
    server.answer("GET", GHOST_PATH, json(pod_json("ghost", "gu")))

    assert await refused(server, DROP) == "claim ml/train: pod ml/ghost exists"


async def test_an_error_of_the_api_server_is_no_proof_of_absence(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(GHOST)))
    server.answer("GET", GHOST_PATH, failure(403, "Forbidden", "no"))

    with pytest.raises(ApiError):
        await repair(server, DROP)
    assert server.count("PATCH") == 0


async def test_consumers_that_are_gone_need_no_write(server: FaultServer) -> None:
    server.answer("GET", PATH, json(claim_json(WORKER)))

    assert await repair(server, DROP) == "they were gone already"
    assert server.count("PATCH") == 0


# --- the gate


async def test_a_pod_is_let_go_to_the_node_of_its_devices(server: FaultServer) -> None:
    server.answer("GET", POD_PATH, json(pod_json("worker", "pu", "berth.dev/dra", "other")))
    server.answer("GET", PATH, json(claim_json(WORKER)))
    server.answer("PATCH", POD_PATH, json(pod_json()))

    done = await repair(server, RemoveGate(POD, (CLAIM,), "node-1"))

    assert done == "removed, pinned to node node-1"
    (body,) = server.bodies("PATCH")
    assert body["metadata"] == {"uid": "pu", "resourceVersion": "9"}
    assert body["spec"]["schedulingGates"] == [{"name": "berth.dev/dra", "$patch": "delete"}]
    assert "nodeAffinity" in body["spec"]["affinity"]


async def test_a_pod_without_a_node_is_let_go_unpinned(server: FaultServer) -> None:
    server.answer("GET", POD_PATH, json(pod_json("worker", "pu", "berth.dev/dra")))
    server.answer("PATCH", POD_PATH, json(pod_json()))

    assert await repair(server, RemoveGate(POD)) == "removed, not pinned"
    assert "affinity" not in server.bodies("PATCH")[0]["spec"]


@pytest.mark.parametrize(
    ("claim", "why"),
    [
        (claim_json(GHOST), "claim ml/train: is not reserved for the pod any more"),
        ({**claim_json(), "status": {}}, "claim ml/train: is not allocated any more"),
    ],
)
async def test_a_pod_that_has_lost_its_devices_is_not_let_go(
    server: FaultServer, claim: Json, why: str
) -> None:
    server.answer("GET", POD_PATH, json(pod_json("worker", "pu", "berth.dev/dra")))
    server.answer("GET", PATH, json(claim))

    assert await refused(server, RemoveGate(POD, (CLAIM,), "node-1")) == why


async def test_another_pod_of_the_name_is_not_let_go(server: FaultServer) -> None:
    server.answer("GET", POD_PATH, json(pod_json("worker", "another", "berth.dev/dra")))

    assert await refused(server, RemoveGate(POD)) == "pod ml/worker: does not exist any more"


async def test_a_pod_that_went_by_itself_needs_no_write(server: FaultServer) -> None:
    server.answer("GET", POD_PATH, json(pod_json()))

    assert await repair(server, RemoveGate(POD)) == "it was gone already"
    assert server.count("PATCH") == 0


def test_a_repair_that_two_findings_ask_for_is_made_once() -> None:
    finished = a_pod("p", "a", phase="Succeeded", finished="2026-11-24T09:00:00Z")
    claim = replace(holding("a", pods=()), finalizers=())
    findings = audit(a_cluster(a_slice(devices(4)), claim, finished), NOW)

    assert [each.kind for each in findings] == ["FinalizerMissing", "FinishedPodLoop"]
    assert repairs_of(findings) == (
        AddFinalizer(ObjectRef("ResourceClaim", "ml", "a", "uid-of-a")),
    )
