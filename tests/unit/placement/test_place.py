# SPDX-License-Identifier: Apache-2.0
"""Which node takes a pod, through the real engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import ALL, ClaimKey, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.placement import ClaimElsewhere, NodeNotReady, NodeRefusal, Placed, Unplaceable
from berth.model.pods import Pod
from berth.model.results import AllocationResult
from berth.model.slices import ResourceSlice
from berth.model.usage import NodeState
from berth.placement.place import place
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_node,
    a_request,
    a_slice,
    devices,
    first_available,
    matching,
)

POD = Pod(namespace="default", name="pod")


def cluster(
    counts: dict[str, int], *, taken: Iterable[str] = (), more: Iterable[ResourceSlice] = ()
) -> Snapshot:
    """Make a snapshot of nodes with that many devices; ``taken`` as ``node/device``."""
    slices = [a_slice(devices(count), node_name=node) for node, count in counts.items() if count]
    held = {DeviceID(DRIVER, *each.split("/")): ("default/other",) for each in taken}
    classes = {each.name: each for each in (a_class(), a_class("fast", "false"))}
    return Snapshot(Inventory.build([*slices, *more]), classes, AllocatedState(holders=held))


def states(*names: str, ready: bool = True) -> list[NodeState]:
    return [
        NodeState(replace(a_node(name), allocatable={"pods": 110}, ready=ready)) for name in names
    ]


def taken_by(placed: Placed | Unplaceable) -> tuple[str, list[list[str]]]:
    assert isinstance(placed, Placed)
    return placed.node, [[str(d.device_id) for d in result.devices] for result in placed.results]


def test_the_first_node_by_name_that_fits_is_taken() -> None:
    snapshot = cluster({"c": 2, "a": 0, "b": 2}, taken=["b/gpu-0"])

    placed = place(snapshot, POD, [a_claim()], states("c", "b", "a"))

    assert taken_by(placed) == ("b", [[f"{DRIVER}/b/gpu-1"]])
    assert isinstance(placed, Placed)
    assert placed.pin


def test_all_claims_of_the_pod_are_on_one_node() -> None:
    claims = [a_claim(name="one"), a_claim(a_request(count=2), name="two")]

    placed = place(cluster({"a": 2, "b": 3}), POD, claims, states("a", "b"))

    assert taken_by(placed) == (
        "b",
        [[f"{DRIVER}/b/gpu-0"], [f"{DRIVER}/b/gpu-1", f"{DRIVER}/b/gpu-2"]],
    )


def test_a_pod_with_features_that_are_not_modelled_is_not_pinned() -> None:
    placed = place(
        cluster({"a": 1}), replace(POD, unmodelled=("volumes",)), [a_claim()], states("a")
    )

    assert isinstance(placed, Placed)
    assert not placed.pin


@pytest.mark.parametrize(("policy", "want"), [("FirstFit", "a"), ("Pack", "b"), ("Spread", "c")])
def test_the_policy_decides_which_node_is_tried_first(policy: str, want: str) -> None:
    snapshot = cluster({"a": 3, "b": 4, "c": 4}, taken=["b/gpu-0", "b/gpu-1"])

    placed = place(snapshot, POD, [a_claim()], states("a", "b", "c"), policy=policy)

    assert isinstance(placed, Placed)
    assert placed.node == want


@pytest.mark.parametrize("policy", ["Pack", "Spread"])
def test_nodes_with_equally_many_free_devices_are_tried_by_name(policy: str) -> None:
    placed = place(cluster({"b": 2, "a": 2}), POD, [a_claim()], states("b", "a"), policy=policy)

    assert isinstance(placed, Placed)
    assert placed.node == "a"


def test_devices_of_other_classes_do_not_count_for_the_policy() -> None:
    nics = a_slice(devices(9, prefix="nic-"), driver="nic.example.com", node_name="a")

    placed = place(
        cluster({"a": 1, "b": 2}, more=[nics]), POD, [a_claim()], states("a", "b"), policy="Spread"
    )

    assert isinstance(placed, Placed)
    assert placed.node == "b"


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="Random"):
        place(cluster({"a": 1}), POD, [a_claim()], states("a"), policy="Random")


class TestPrioritizedLists:
    """KEP-4816: a better alternative on any node beats a worse one on an earlier node."""

    claim = a_claim(
        first_available("gpu", a_body(name="two", count=2), a_body(name="one", count=1))
    )

    def test_a_later_node_with_the_first_alternative_wins(self) -> None:
        placed = place(cluster({"a": 1, "b": 2}), POD, [self.claim], states("a", "b"))

        assert taken_by(placed) == ("b", [[f"{DRIVER}/b/gpu-0", f"{DRIVER}/b/gpu-1"]])

    def test_the_first_node_wins_among_equals(self) -> None:
        placed = place(cluster({"a": 1, "b": 1}), POD, [self.claim], states("a", "b"))

        assert taken_by(placed) == ("a", [[f"{DRIVER}/a/gpu-0"]])

    def test_trying_ends_where_no_node_can_be_better(self) -> None:
        snapshot = cluster({"a": 2, "b": 2})
        alone = place(snapshot, POD, [self.claim], states("a"))
        both = place(snapshot, POD, [self.claim], states("a", "b"))

        assert both == alone


class TestNoNode:
    def test_every_node_is_named_once_with_its_kind_of_no(self) -> None:
        half = a_slice(devices(2), name="half", node_name="broken", count=2)
        snapshot = cluster({"full": 1, "empty": 0}, taken=["full/gpu-0"], more=[half])

        outcome = place(
            snapshot,
            POD,
            [a_claim(a_request(mode=ALL))],
            [*states("full", "empty", "broken"), *states("down", ready=False)],
        )

        assert outcome == Unplaceable(
            refused=(NodeRefusal("down", (NodeNotReady(),)),),
            no_fit=("broken", "empty", "full"),
            problems=("broken",),
        )

    def test_an_empty_cluster_has_no_node_to_name(self) -> None:
        assert place(cluster({}), POD, [a_claim()], []) == Unplaceable()

    def test_a_search_that_gave_up_is_not_a_no(self) -> None:
        claim = a_claim(
            a_request("a", count=4),
            a_request("b", count=4),
            constraints=[matching(f"{DRIVER}/index")],
        )

        outcome = place(cluster({"a": 8}), POD, [claim], states("a"), budget=1)

        assert outcome == Unplaceable(undecided=("a",))

    def test_a_mistake_in_a_claim_is_raised(self) -> None:
        with pytest.raises(InvalidClaimError) as caught:
            place(cluster({"a": 1}), POD, [a_claim(a_request(device_class="nosuch"))], states("a"))

        assert str(caught.value) == (
            "claim default/claim, request gpu: DeviceClass nosuch does not exist"
        )


class TestAllocatedClaims:
    def allocated(self, node: str) -> ResourceClaim:
        term = NodeSelectorTerm(
            match_fields=(NodeSelectorRequirement("metadata.name", "In", (node,)),)
        )
        return replace(
            a_claim(name="shared"),
            allocation=AllocationResult(node_selector=NodeSelector((term,))),
        )

    def test_an_allocated_claim_decides_the_node(self) -> None:
        placed = place(
            cluster({"a": 1, "b": 1}),
            POD,
            [a_claim()],
            states("a", "b"),
            allocated=[self.allocated("b")],
        )

        assert taken_by(placed) == ("b", [[f"{DRIVER}/b/gpu-0"]])

    def test_a_pod_whose_claims_are_all_allocated_gets_a_node_that_reaches_them(self) -> None:
        placed = place(cluster({}), POD, [], states("a", "b"), allocated=[self.allocated("b")])

        assert placed == Placed(node="b", results=(), steps=0, pin=True)

    def test_claims_allocated_on_different_nodes_leave_no_node(self) -> None:
        outcome = place(
            cluster({}),
            POD,
            [],
            states("a"),
            allocated=[self.allocated("a"), self.allocated("b")],
        )

        refusal = NodeRefusal("a", (ClaimElsewhere(ClaimKey("default", "shared")),))
        assert outcome == Unplaceable(refused=(refusal,))


def test_a_claim_without_requests_fits_the_first_node() -> None:
    empty = ResourceClaim("default", "empty")

    assert taken_by(place(cluster({"b": 1}), POD, [empty], states("b", "a"))) == ("a", [[]])


def test_the_same_cluster_in_another_order_gives_the_same_answer() -> None:
    counts = {f"n{i:03}": i % 3 for i in range(40)}
    claim = a_claim(a_request(count=2))
    names = list(counts)

    one = place(cluster(counts), POD, [claim], states(*names))
    two = place(cluster(dict(reversed(counts.items()))), POD, [claim], states(*reversed(names)))

    assert one == two
    assert isinstance(one, Placed)
    assert one.node == "n002"
