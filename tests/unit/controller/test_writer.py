# SPDX-License-Identifier: Apache-2.0
"""How each write ends, under answers, silence and broken connections."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.controller.api import ApiClient
from berth.controller.metrics import Metrics
from berth.controller.writer import (
    ClaimConflict,
    ClaimGone,
    ClaimRefused,
    ClaimWritten,
    NotLeader,
    PodConflict,
    PodGone,
    PodRefused,
    Ungated,
    Writer,
)
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference
from berth.model.results import AllocationResult, DeviceResult
from tests.support.fault_server import FaultServer, Json, failure, hang, json, reset

PATH = "/apis/resource.k8s.io/v1/namespaces/ml/resourceclaims/train"
STATUS = f"{PATH}/status"
POD_PATH = "/api/v1/namespaces/ml/pods/worker"
NOW = dt.datetime(2026, 11, 24, 15, 15, 30, 500, dt.UTC)
CONSUMER = ConsumerReference("pods", "worker", "pu")
CONSUMER_JSON = {"resource": "pods", "name": "worker", "uid": "pu"}
ALLOCATION = AllocationResult(devices=(DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-0"),))
RESULT_JSON = {
    "request": "gpu",
    "driver": "gpu.example.com",
    "pool": "node-1",
    "device": "gpu-0",
}
ALLOCATION_JSON = {
    "devices": {"results": [RESULT_JSON]},
    "allocationTimestamp": "2026-11-24T15:15:30Z",
}
ALLOCATED: Json = {"allocation": ALLOCATION_JSON, "reservedFor": [CONSUMER_JSON]}


def claim_json(
    version: str = "1", *, uid: str = "cu", protected: bool = True, **status: Any
) -> Json:
    metadata: Json = {"namespace": "ml", "name": "train", "uid": uid, "resourceVersion": version}
    if protected:
        metadata["finalizers"] = [DELETE_PROTECTION_FINALIZER]
    return {"metadata": metadata, "spec": {}, "status": status}


def pod_json(version: str = "1", *, gates: tuple[str, ...] = ("berth.dev/dra",)) -> Json:
    return {
        "metadata": {"namespace": "ml", "name": "worker", "uid": "pu", "resourceVersion": version},
        "spec": {"schedulingGates": [{"name": gate} for gate in gates], "containers": []},
        "status": {"phase": "Pending"},
    }


CLAIM = decode_claim(claim_json())
POD = decode_pod(pod_json())
WRITTEN = ClaimWritten(decode_claim(claim_json("2", **ALLOCATED)))


@pytest.fixture
def writer_of(api: ApiClient) -> Callable[..., Writer]:
    def make(
        may_write: Callable[[], bool] = lambda: True, metrics: Metrics | None = None
    ) -> Writer:
        return Writer(api, may_write, clock_now=lambda: NOW, metrics=metrics)

    return make


@pytest.fixture
def writer(writer_of: Callable[..., Writer]) -> Writer:
    return writer_of()


async def test_an_unprotected_claim_is_protected_first(server: FaultServer, writer: Writer) -> None:
    claim = decode_claim(claim_json("1", protected=False))
    server.answer("PATCH", PATH, json(claim_json("2")))
    server.answer("PATCH", STATUS, json(claim_json("3", **ALLOCATED)))
    outcome = await writer.write_claim(claim, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimWritten(decode_claim(claim_json("3", **ALLOCATED)))
    assert server.bodies("PATCH") == [
        {
            "metadata": {
                "uid": "cu",
                "resourceVersion": "1",
                "finalizers": [DELETE_PROTECTION_FINALIZER],
            }
        },
        {"metadata": {"uid": "cu", "resourceVersion": "2"}, "status": ALLOCATED},
    ]
    assert server.received[1].headers["Content-Type"] == "application/strategic-merge-patch+json"


async def test_a_protected_claim_needs_one_request(server: FaultServer, writer: Writer) -> None:
    server.answer("PATCH", STATUS, json(claim_json("2", **ALLOCATED)))
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == WRITTEN
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("claim", "want_detail"),
    [
        pytest.param(
            replace(CLAIM, deleting=True), "the claim is being deleted", id="being deleted"
        ),
        pytest.param(
            replace(CLAIM, allocation=ALLOCATION), "the claim is allocated already", id="allocated"
        ),
    ],
)
async def test_what_may_not_be_allocated_is_not_sent(
    server: FaultServer, writer: Writer, claim: Any, want_detail: str
) -> None:
    outcome = await writer.write_claim(claim, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimConflict(claim, want_detail)
    assert server.received == []


async def test_a_conflict_gives_the_claim_as_it_is_now(server: FaultServer, writer: Writer) -> None:
    server.answer("PATCH", STATUS, failure(409, "Conflict", "modified"))
    server.answer("GET", PATH, json(claim_json("9")))
    outcome = await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimConflict(decode_claim(claim_json("9")), "modified")
    assert server.count("PATCH") == 1


async def test_an_allocation_by_somebody_else_is_a_conflict(
    server: FaultServer, writer: Writer
) -> None:
    cause = {"reason": "FieldValueInvalid", "field": "status.allocation", "message": "set once"}
    theirs = {"devices": {"results": [RESULT_JSON | {"device": "gpu-7"}]}}
    server.answer("PATCH", STATUS, failure(422, "Invalid", "no", [cause]))
    server.answer("GET", PATH, json(claim_json("9", allocation=theirs)))
    outcome = await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimConflict(
        decode_claim(claim_json("9", allocation=theirs)), "somebody else allocated the claim first"
    )


async def test_a_missing_binding_permission_is_refused_with_the_remedy(
    server: FaultServer, writer: Writer
) -> None:
    cause = {
        "reason": "FieldValueForbidden",
        "field": "status.allocation",
        "message": 'requires resource="resourceclaims/binding", verb="patch" permission',
    }
    server.answer("PATCH", STATUS, failure(422, "Invalid", "long text", [cause]))
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimRefused(
        "allocating claim ml/train is not permitted: grant Berth's ServiceAccount `patch` on "
        "`resourceclaims/binding` of `resource.k8s.io` with a ClusterRoleBinding; a RoleBinding "
        "is not enough"
    )


async def test_another_422_and_a_403_are_refused_with_their_text(
    server: FaultServer, writer: Writer
) -> None:
    cause = {
        "reason": "FieldValueInvalid",
        "field": "status.allocation.devices.results[0].request",
        "message": "x",
    }
    server.answer(
        "PATCH",
        STATUS,
        failure(422, "Invalid", "must be the name of a request", [cause]),
        failure(403, "Forbidden", "cannot patch"),
    )
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimRefused(
        "allocating claim ml/train was refused: must be the name of a request"
    )
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimRefused(
        "allocating claim ml/train is not permitted: cannot patch; see the ClusterRole of "
        "Berth's chart"
    )


async def test_a_recreated_and_a_deleted_claim_are_gone(
    server: FaultServer, writer: Writer
) -> None:
    cause = {"reason": "FieldValueInvalid", "field": "metadata.uid", "message": "immutable"}
    server.answer(
        "PATCH",
        STATUS,
        failure(422, "Invalid", "no", [cause]),
        failure(404, "NotFound", "not found"),
    )
    server.answer("GET", PATH, json(claim_json("9", uid="another")))
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimGone(
        "deleted, and created anew under the same name"
    )
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimGone("not found")


@pytest.mark.parametrize(
    "fault",
    [hang, reset, failure(504, "Timeout", "took too long"), failure(500, "", "etcd")],
    ids=["no answer", "broken connection", "gateway timeout", "internal error"],
)
class TestInDoubt:
    async def test_a_write_that_took_effect_is_found(
        self, server: FaultServer, writer: Writer, fault: Any
    ) -> None:
        server.answer("PATCH", STATUS, fault)
        server.answer("GET", PATH, json(claim_json("2", **ALLOCATED)))
        assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == WRITTEN
        assert server.count("PATCH") == 1

    async def test_a_write_that_did_not_is_sent_again_with_the_same_precondition(
        self, server: FaultServer, writer: Writer, fault: Any
    ) -> None:
        server.answer("PATCH", STATUS, fault, json(claim_json("2", **ALLOCATED)))
        server.answer("GET", PATH, json(claim_json("1")))
        assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == WRITTEN
        first, second = server.bodies("PATCH")
        assert first == second
        assert first["metadata"] == {"uid": "cu", "resourceVersion": "1"}

    async def test_the_first_of_two_that_takes_effect_late_is_found(
        self, server: FaultServer, writer: Writer, fault: Any
    ) -> None:
        server.answer("PATCH", STATUS, fault, failure(409, "Conflict", "modified"))
        server.answer("GET", PATH, json(claim_json("1")), json(claim_json("2", **ALLOCATED)))
        assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == WRITTEN

    async def test_a_claim_changed_by_others_is_a_conflict(
        self, server: FaultServer, writer: Writer, fault: Any
    ) -> None:
        server.answer("PATCH", STATUS, fault)
        server.answer("GET", PATH, failure(503), json(claim_json("5")))
        assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimConflict(
            decode_claim(claim_json("5")), "changed while in doubt"
        )

    async def test_a_replica_that_lost_the_lease_does_not_send_again(
        self, server: FaultServer, writer_of: Callable[..., Writer], fault: Any
    ) -> None:
        leading = iter([True, False])
        writer = writer_of(lambda: next(leading))
        server.answer("PATCH", STATUS, fault)
        server.answer("GET", PATH, json(claim_json("1")))
        with pytest.raises(NotLeader):
            await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
        assert (server.count("PATCH"), server.count("GET")) == (1, 1)


async def test_500_for_ever_is_refused_in_the_end(server: FaultServer, writer: Writer) -> None:
    server.answer("PATCH", STATUS, failure(500, "InternalError", "typed patch"))
    server.answer("GET", PATH, json(claim_json("1")))
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == ClaimRefused(
        "allocating claim ml/train was refused: typed patch"
    )
    assert server.count("PATCH") == 5


async def test_after_429_a_write_is_sent_again_without_a_doubt(
    server: FaultServer, writer: Writer
) -> None:
    server.answer("PATCH", STATUS, failure(429), json(claim_json("2", **ALLOCATED)))
    assert await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,)) == WRITTEN
    assert server.count("GET") == 0


async def test_a_field_that_was_dropped_is_named_and_the_allocation_taken_back(
    server: FaultServer, writer: Writer
) -> None:
    share = "11111111-2222-4333-8444-555555555555"
    device = replace(ALLOCATION.devices[0], share_id=share)
    server.answer("PATCH", STATUS, json(claim_json("2", **ALLOCATED)), json(claim_json("3")))
    outcome = await writer.write_claim(CLAIM, replace(ALLOCATION, devices=(device,)), (CONSUMER,))
    assert outcome == ClaimRefused(
        "status.allocation.devices.results[0].shareID: dropped by the API server: its feature "
        "gate `DRAConsumableCapacity` is off; the allocation was taken back"
    )
    assert server.bodies("PATCH")[1] == {
        "metadata": {"uid": "cu", "resourceVersion": "2"},
        "status": {"allocation": None, "reservedFor": None},
    }


async def test_a_claim_allocated_while_it_is_being_protected_is_a_conflict(
    server: FaultServer, writer: Writer
) -> None:
    server.answer("PATCH", PATH, failure(409, "Conflict", "modified"))
    server.answer("GET", PATH, json(claim_json("9", **ALLOCATED)))
    claim = decode_claim(claim_json("1", protected=False))
    assert await writer.write_claim(claim, ALLOCATION, (CONSUMER,)) == ClaimConflict(
        decode_claim(claim_json("9", **ALLOCATED)),
        "the claim changed while it was being protected",
    )


async def test_a_replica_that_does_not_lead_sends_nothing(
    server: FaultServer, writer_of: Callable[..., Writer]
) -> None:
    writer = writer_of(lambda: False)
    with pytest.raises(NotLeader):
        await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    with pytest.raises(NotLeader):
        await writer.reserve(CLAIM, CONSUMER)
    with pytest.raises(NotLeader):
        await writer.ungate(POD, "node-1")
    assert server.received == []


async def test_a_consumer_is_added_to_an_allocated_claim(
    server: FaultServer, writer: Writer
) -> None:
    server.answer("PATCH", STATUS, json(claim_json("2", **ALLOCATED)))
    assert await writer.reserve(CLAIM, CONSUMER) == WRITTEN
    assert server.bodies("PATCH") == [
        {
            "metadata": {"uid": "cu", "resourceVersion": "1"},
            "status": {"reservedFor": [CONSUMER_JSON]},
        }
    ]


async def test_a_claim_that_takes_no_new_consumer_is_a_conflict(
    server: FaultServer, writer: Writer
) -> None:
    cause = {"reason": "FieldValueForbidden", "field": "status.reservedFor", "message": "no"}
    server.answer("PATCH", STATUS, failure(422, "Invalid", "no", [cause]))
    server.answer("GET", PATH, json(claim_json("9")))
    assert await writer.reserve(CLAIM, CONSUMER) == ClaimConflict(
        decode_claim(claim_json("9")), "it can take no new consumer"
    )


async def test_a_pod_is_let_go_and_pinned_in_one_patch(server: FaultServer, writer: Writer) -> None:
    free = pod_json("2", gates=("kueue.x-k8s.io/admission",))
    server.answer("PATCH", POD_PATH, json(free))
    assert await writer.ungate(POD, "node-1") == Ungated(free)
    assert len(server.received) == 1


async def test_a_pod_whose_version_alone_changed_is_tried_again(
    server: FaultServer, writer: Writer
) -> None:
    server.answer("PATCH", POD_PATH, failure(409, "Conflict", "x"), json(pod_json("4", gates=())))
    server.answer("GET", POD_PATH, json(pod_json("3")))
    assert await writer.ungate(POD, None) == Ungated(pod_json("4", gates=()))
    assert [body["metadata"]["resourceVersion"] for body in server.bodies("PATCH")] == ["1", "3"]


async def test_a_pod_that_changed_otherwise_is_decided_anew(
    server: FaultServer, writer: Writer
) -> None:
    changed = pod_json("3")
    changed["spec"]["nodeSelector"] = {"disk": "ssd"}
    server.answer("PATCH", POD_PATH, failure(409, "Conflict", "x"))
    server.answer("GET", POD_PATH, json(changed))
    assert await writer.ungate(POD, None) == PodConflict(changed)


async def test_a_pod_that_somebody_else_let_go_counts_as_let_go(
    server: FaultServer, writer: Writer
) -> None:
    server.answer("PATCH", POD_PATH, failure(409, "Conflict", "x"))
    server.answer("GET", POD_PATH, json(pod_json("3", gates=())))
    assert await writer.ungate(POD, None) == Ungated(pod_json("3", gates=()))


async def test_a_deleted_pod_is_gone_and_a_refusal_has_its_text(
    server: FaultServer, writer: Writer
) -> None:
    server.answer(
        "PATCH", POD_PATH, failure(404, "NotFound"), failure(403, "Forbidden", "cannot patch")
    )
    assert await writer.ungate(POD, None) == PodGone()
    assert await writer.ungate(POD, None) == PodRefused(
        "removing the gate of pod ml/worker is not permitted: cannot patch; see the ClusterRole "
        "of Berth's chart"
    )


async def test_writes_are_counted_by_how_they_ended(
    server: FaultServer, writer_of: Callable[..., Writer]
) -> None:
    metrics = Metrics()
    writer = writer_of(metrics=metrics)
    server.answer("PATCH", STATUS, json(claim_json("2", **ALLOCATED)), failure(404, "NotFound"))
    await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    text = metrics.text().decode()
    assert 'berth_writes_total{kind="allocate",result="ok"} 1.0' in text
    assert 'berth_writes_total{kind="allocate",result="gone"} 1.0' in text
    assert 'berth_write_seconds_count{kind="allocate"} 2.0' in text


async def test_an_allocation_is_not_sent_once_another_claim_has_its_device(
    server: FaultServer, api: ApiClient
) -> None:
    device = ALLOCATION.devices[0].device_id
    writer = Writer(api, lambda: True, clock_now=lambda: NOW, overtaken=lambda *_: device)
    outcome = await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimConflict(CLAIM, "another claim has got one of the devices meanwhile")
    assert server.received == []


async def test_an_allocation_is_looked_at_again_before_it_is_sent_again(
    server: FaultServer, api: ApiClient
) -> None:
    device = ALLOCATION.devices[0].device_id
    looks: list[tuple[object, object]] = []

    def overtaken(*looked_at: object) -> object:
        looks.append((looked_at[0], looked_at[1]))
        return device if len(looks) == 2 else None

    server.answer("PATCH", STATUS, failure(503))
    server.answer("GET", PATH, json(claim_json()))
    writer = Writer(
        api,
        lambda: True,
        clock_now=lambda: NOW,
        overtaken=overtaken,  # type: ignore[arg-type] # it takes whatever it is given
    )
    outcome = await writer.write_claim(CLAIM, ALLOCATION, (CONSUMER,))
    assert outcome == ClaimConflict(CLAIM, "another claim has got one of the devices meanwhile")
    assert server.count("PATCH") == 1
    assert looks == [(CLAIM.key, ALLOCATION)] * 2
