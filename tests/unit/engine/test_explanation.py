# SPDX-License-Identifier: Apache-2.0
"""Why claims do not fit on a node, device by device."""

from __future__ import annotations

from berth.engine.allocator import explain_node
from berth.engine.rejections import (
    AttributeMissing,
    ConstraintRefused,
    InUse,
    LimitReached,
    NodeExplanation,
    PoolIncomplete,
    RejectedDevice,
    Rejection,
    RequestSummary,
    SelectorFailed,
    SelectorFalse,
    Tainted,
    TakenInThisAttempt,
)
from berth.engine.snapshot import Snapshot
from berth.model.claims import ALL, RequestRef, ResourceClaim
from berth.model.devices import DeviceID, PoolID
from tests.support.allocations import a_snapshot
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_device,
    a_node,
    a_request,
    a_slice,
    a_taint,
    devices,
    first_available,
    matching,
)

GPU = RequestRef("gpu")
NUMA = f"{DRIVER}/numa"


def device(name: str, pool: str = "node-1", driver: str = DRIVER) -> DeviceID:
    return DeviceID(driver, pool, name)


def rejections(snapshot: Snapshot, *claims: ResourceClaim) -> dict[str, dict[str, Rejection]]:
    found: dict[str, dict[str, Rejection]] = {}
    for each in explain_node(snapshot, a_node(), claims).rejected:
        found.setdefault(f"{each.claim}:{each.request}", {})[each.device.device] = each.rejection
    return found


def test_every_device_has_its_first_reason() -> None:
    other = a_slice(devices(1, prefix="nic-"), driver="net.example.com", pool="a", all_nodes=True)
    gpus = a_slice([*devices(3), a_device("gpu-3", attributes={"index": 3}, taints=[a_taint()])])
    selector = f'device.attributes["{DRIVER}"].index != 0'
    snapshot = a_snapshot([other, gpus], in_use={f"{DRIVER}/node-1/gpu-1": "ml/eval"})
    explanation = explain_node(snapshot, a_node(), [a_claim(a_request("gpu", selector, count=2))])

    assert explanation == NodeExplanation(
        node="node-1",
        requests=(RequestSummary(0, GPU, "gpu", "ExactCount", 2, candidates=5, eligible=1),),
        rejected=(
            RejectedDevice(0, GPU, device("gpu-0"), SelectorFalse("request", 0, selector)),
            RejectedDevice(0, GPU, device("gpu-1"), InUse(("ml/eval",))),
            RejectedDevice(0, GPU, device("gpu-3"), Tainted(a_taint())),
            RejectedDevice(
                0,
                GPU,
                device("nic-0", "a", "net.example.com"),
                SelectorFalse("class gpu", 0, f'device.driver == "{DRIVER}"'),
            ),
        ),
    )


def test_devices_of_other_nodes_are_no_candidates() -> None:
    published = a_slice(
        [a_device("mine", node_name="node-1"), a_device("yours", node_name="node-2")],
        per_device=True,
    )
    explanation = explain_node(a_snapshot(published), a_node(), [a_claim(a_request(count=2))])
    assert explanation.requests == (
        RequestSummary(0, GPU, "gpu", "ExactCount", 2, candidates=1, eligible=1),
    )
    assert explanation.rejected == ()


def test_a_competing_request_is_named() -> None:
    claims = [a_claim(name="own"), a_claim(a_request("every", mode=ALL), name="shared")]
    explanation = explain_node(a_snapshot(a_slice(devices(2))), a_node(), claims)
    assert explanation.rejected == (
        RejectedDevice(
            1, RequestRef("every"), device("gpu-0"), TakenInThisAttempt("default/own", "gpu")
        ),
    )
    assert [(s.wanted, s.eligible) for s in explanation.requests] == [(1, 2), (2, 1)]


def test_a_constraint_is_explained_by_the_first_attempt() -> None:
    published = a_slice(
        [
            *(a_device(f"d{n}", attributes={"numa": n % 2}) for n in range(4)),
            a_device("bare"),
        ]
    )
    claim = a_claim(a_request(count=3), constraints=[matching(NUMA)])
    refused = ConstraintRefused("matchAttribute", NUMA, "1", device("d2"), "0")
    found = rejections(a_snapshot(published), claim)["0:gpu"]
    assert found == {
        "d1": ConstraintRefused("matchAttribute", NUMA, "1", device("d0"), "0"),
        "d3": refused,
        "bare": AttributeMissing("matchAttribute", NUMA),
    }


def test_every_alternative_is_explained() -> None:
    claim = a_claim(
        first_available("x", a_body(name="many", count=99), a_body("false", name="none"))
    )
    explanation = explain_node(a_snapshot(a_slice(devices(2))), a_node(), [claim])
    assert explanation.requests == (
        RequestSummary(
            0,
            RequestRef("x", "many"),
            "gpu",
            "ExactCount",
            99,
            candidates=2,
            eligible=2,
            limit=LimitReached(32),
        ),
        RequestSummary(0, RequestRef("x", "none"), "gpu", "ExactCount", 1, 2, 0),
    )
    assert {each.rejection for each in explanation.rejected} == {
        SelectorFalse("request", 0, "false")
    }


def test_a_selector_that_fails_where_the_search_did_not_come_is_a_reason() -> None:
    broken = f'device.attributes["{DRIVER}"].missing'
    claim = a_claim(a_request("impossible", "false"), a_request("broken", broken))
    found = rejections(a_snapshot(a_slice(devices(1))), claim)
    rejection = found["0:broken"]["gpu-0"]
    assert isinstance(rejection, SelectorFailed)
    assert (rejection.owner, rejection.index, rejection.expression) == (
        "request",
        0,
        broken,
    )
    assert rejection.detail.startswith("no such key")


def test_pools_that_cannot_be_used_are_listed() -> None:
    half = a_slice(devices(1), pool="half", count=2)
    problem = PoolIncomplete(PoolID(DRIVER, "half"), 1, seen=1, want=2)
    snapshot = a_snapshot(half)
    assert explain_node(snapshot, a_node(), [a_claim()]) == NodeExplanation(
        node="node-1",
        requests=(RequestSummary(0, GPU, "gpu", "ExactCount", 1, 0, 0),),
        rejected=(),
        problems=(problem,),
    )
    assert explain_node(snapshot, a_node(), [a_claim(a_request(mode=ALL))]) == NodeExplanation(
        node="node-1", requests=(), rejected=(), problems=(problem,)
    )
