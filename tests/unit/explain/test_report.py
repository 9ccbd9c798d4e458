# SPDX-License-Identifier: Apache-2.0
"""From a cluster to the text of the Event, through placement's outcome and the real engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from berth.engine.allocated import AllocatedState
from berth.engine.allocator import allocate
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Unsatisfiable
from berth.engine.snapshot import Snapshot
from berth.explain.report import explain_unplaceable, one_line
from berth.model.claims import ALL, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.results import AllocationResult, DeviceResult
from berth.model.slices import ResourceSlice
from berth.model.usage import NodeState
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_device,
    a_node,
    a_request,
    a_slice,
    a_taint,
    devices,
    first_available,
    matching,
)

POD = Pod(namespace="default", name="pod")
NODES = ("n1", "n2", "n3")
CLASSES = (a_class(), a_class("nosuch", driver="nosuch.example.com"))
BIG = 'device.attributes["gpu.example.com"].index >= 6'


def fleet(count: int = 8, nodes: Sequence[str] = NODES) -> list[ResourceSlice]:
    return [a_slice(devices(count, numa=0), node_name=node) for node in nodes]


def event(
    slices: Sequence[ResourceSlice],
    *claims: ResourceClaim,
    held: Mapping[str, str] | None = None,
    allocated: Sequence[ResourceClaim] = (),
    nodes: Sequence[str] = NODES,
) -> str:
    """Return the Event for a pod that fits on none of ``nodes``; ``held``: device → claim."""
    holders = {
        DeviceID(DRIVER, *device.split("/")): (claim,) for device, claim in (held or {}).items()
    }
    snapshot = Snapshot(
        Inventory.build(slices), {each.name: each for each in CLASSES}, AllocatedState(holders)
    )
    states = [NodeState(a_node(name)) for name in nodes]
    outcomes = {s.node.name: allocate(snapshot, s.node, claims) for s in states}
    assert {type(outcome) for outcome in outcomes.values()} == {Unsatisfiable}
    outcome = Unplaceable(
        no_fit=tuple(sorted(outcomes)),
        problems=tuple(
            n for n, o in outcomes.items() if isinstance(o, Unsatisfiable) and o.problems
        ),
    )
    return one_line(
        explain_unplaceable(snapshot, POD, claims, states, outcome, allocated=allocated)
    )


def test_a_count_above_what_exists() -> None:
    assert event(fleet(), a_claim(a_request(count=9))) == (
        "claim default/claim, request gpu needs 9 devices of class gpu, no node has more than 8"
    )


def test_a_count_above_what_matches() -> None:
    assert event(fleet(), a_claim(a_request("gpu", BIG, count=3))) == (
        "claim default/claim, request gpu needs 3 devices of class gpu, no node has more than 2: "
        f"18 devices do not match selector #0 of the request: `{BIG}`"
    )


def test_a_class_of_a_driver_that_publishes_nothing() -> None:
    assert event(fleet(), a_claim(a_request(device_class="nosuch"))) == (
        "claim default/claim, request gpu: no published device matches class nosuch: "
        "devices are published by driver gpu.example.com"
    )


def test_a_class_is_not_to_blame_alone_where_a_selector_refuses_devices_of_it() -> None:
    nic = a_slice(devices(1, prefix="nic-"), driver="nic.example.com", node_name="n1")

    text = event(
        [*fleet(2, ["n1"]), nic],
        a_claim(a_request("gpu", BIG)),
        nodes=["n1"],
    )

    assert text == (
        "claim default/claim, request gpu needs 1 device of class gpu, no device matches: "
        f"2 devices do not match selector #0 of the request: `{BIG}`, "
        "1 device does not match selector #0 of class gpu: "
        '`device.driver == "gpu.example.com"`'
    )


def test_a_cluster_without_devices() -> None:
    assert event([], a_claim()) == (
        "claim default/claim, request gpu needs 1 device of class gpu, no driver publishes devices"
    )


def test_devices_in_use_and_tainted_and_of_the_wrong_kind() -> None:
    published = [*devices(7), a_device("gpu-7", attributes={"index": 7}, taints=[a_taint()])]
    held = {"n1/gpu-6": "default/other"}

    text = event(
        [a_slice(published, node_name="n1")],
        a_claim(a_request("gpu", BIG)),
        held=held,
        nodes=["n1"],
    )

    assert text == (
        "claim default/claim, request gpu needs 1 device of class gpu, none is eligible: "
        f"6 devices do not match selector #0 of the request: `{BIG}`, "
        "1 device is in use (claim default/other), "
        "1 device has taint maintenance:NoSchedule, which is not tolerated"
    )


def test_a_constraint_that_no_choice_satisfies() -> None:
    published = [a_device(f"gpu-{i}", attributes={"numa": i % 2}) for i in range(8)]
    claim = a_claim(a_request(count=6), constraints=[matching(f"{DRIVER}/numa")])

    text = event([a_slice(published, node_name="n1")], claim, nodes=["n1"])

    assert text == (
        "claim default/claim, request gpu needs 6 devices of class gpu, "
        "at most 4 are eligible on the node: 4 devices differ in attribute "
        "gpu.example.com/numa, against a matchAttribute constraint: `1` beside `0` of gpu-0"
    )


def test_two_claims_that_need_more_than_a_node_has() -> None:
    text = event(
        fleet(4),
        a_claim(a_request(count=3), name="one"),
        a_claim(a_request(count=3), name="two"),
    )

    assert text == (
        "claim default/two, request gpu needs 3 devices of class gpu, "
        "at most 1 is eligible on any node: "
        "9 devices are needed for claim default/one, request gpu of the same pod"
    )


def test_a_prioritized_list_names_every_alternative() -> None:
    claim = a_claim(
        first_available("gpu", a_body(name="many", count=9), a_body("false", name="odd"))
    )

    assert event(fleet(), claim) == (
        "claim default/claim, request gpu/many needs 9 devices of class gpu, "
        "no node has more than 8; claim default/claim, request gpu/odd needs 1 device of class "
        "gpu, no device matches: 24 devices do not match selector #0 of the request: `false`"
    )


def test_an_incomplete_pool_is_blamed_where_all_is_asked() -> None:
    slices = [a_slice(devices(2), node_name="n1", count=2)]

    assert event(slices, a_claim(a_request(mode=ALL)), nodes=["n1"]) == (
        "pool gpu.example.com/n1 is incomplete, its devices do not count: "
        "1 of 2 slices of generation 1 is published (node n1)"
    )


def test_an_incomplete_pool_is_told_where_a_count_is_asked() -> None:
    slices = [a_slice(devices(2), node_name="n1", count=2)]

    assert event(slices, a_claim(), nodes=["n1"]) == (
        "claim default/claim, request gpu needs 1 device of class gpu, "
        "1 node has no usable devices; "
        "pool gpu.example.com/n1 is incomplete, its devices do not count: "
        "1 of 2 slices of generation 1 is published (node n1)"
    )


class TestTheJobOfTheDocumentation:
    """A shared claim for All devices, and a claim of the pod's own for one more."""

    shared = a_claim(a_request("single-gpu-claim", mode=ALL), name="example-resource-claim")
    own = a_claim(a_request("gpu-claim"), name="example-dra-job-x")
    want = (
        "claim default/example-resource-claim, request single-gpu-claim asks for "
        "All 2 matching devices, claim default/example-dra-job-x, request gpu-claim needs "
        "1 more of the same: no node can satisfy both"
    )
    slices = (
        a_slice(devices(2), node_name="n1"),
        a_slice(devices(8, prefix="nic-"), driver="nic.example.com", node_name="n2"),
    )

    def test_in_the_order_of_the_documentation(self) -> None:
        assert event(self.slices, self.own, self.shared) == self.want

    def test_in_the_other_order(self) -> None:
        assert event(self.slices, self.shared, self.own) == self.want

    @pytest.mark.parametrize("nodes", [("n1",), NODES])
    def test_with_the_shared_claim_allocated_before(self, nodes: Sequence[str]) -> None:
        results = tuple(DeviceResult("single-gpu-claim", DRIVER, "n1", f"gpu-{i}") for i in (0, 1))
        text = event(
            self.slices,
            self.own,
            held={f"n1/gpu-{i}": str(self.shared.key) for i in (0, 1)},
            allocated=[replace(self.shared, allocation=AllocationResult(results))],
            nodes=nodes,
        )

        assert text == self.want

    def test_with_the_own_claim_allocated_before(self) -> None:
        results = (DeviceResult("gpu-claim", DRIVER, "n1", "gpu-0"),)
        text = event(
            self.slices,
            self.shared,
            held={"n1/gpu-0": str(self.own.key)},
            allocated=[replace(self.own, allocation=AllocationResult(results))],
        )

        assert text == self.want

    def test_a_device_that_another_pod_holds_is_the_better_reason(self) -> None:
        text = event(
            self.slices, self.own, self.shared, held={"n1/gpu-1": "default/other"}, nodes=["n1"]
        )

        assert text == (
            "claim default/example-resource-claim, request single-gpu-claim asks for All 2 "
            "matching devices, some cannot be taken: 1 device is needed for claim "
            "default/example-dra-job-x, request gpu-claim of the same pod, "
            "1 device is in use (claim default/other)"
        )
