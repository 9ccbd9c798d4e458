# SPDX-License-Identifier: Apache-2.0
"""What is merged, what is the cause, and when the cause is a new one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from berth.engine.rejections import InUse, NodeExplanation, Rejection, TakenInThisAttempt
from berth.explain.conflict import Conflict, DeviceGroup, NodeGroup, NodeReasonGroup, Rivalry
from berth.explain.data import as_json
from berth.explain.line import blamed, cause_key, is_hopeless, one_line
from berth.explain.tree import tree
from berth.model.claims import ClaimKey, RequestRef
from berth.model.placement import NodeNotReady, ResourceShort
from tests.support.conflicts import (
    CASES,
    IS_BIG,
    IS_GPU,
    allocated_all,
    claim,
    conflict,
    device,
    everywhere,
    needs,
    node_says,
    refuse,
)

BUSY = InUse(("ml/eval",))


def test_equal_nodes_are_one_group_and_their_devices_are_added_up() -> None:
    refused: list[Rejection] = [BUSY, IS_BIG]
    one = needs(2, 1, candidates=3), refused

    (request,) = conflict([claim(gpu=2)], *everywhere(one)).requests

    assert request.groups == (
        NodeGroup(
            nodes=("gpu-1", "gpu-2", "gpu-3"),
            wanted=2,
            candidates=3,
            matching=2,
            eligible=1,
            devices=(
                DeviceGroup(BUSY, tuple(device(f"gpu-{n}", 0) for n in (1, 2, 3))),
                DeviceGroup(IS_BIG, tuple(device(f"gpu-{n}", 1) for n in (1, 2, 3))),
            ),
        ),
    )


def test_holders_of_devices_in_use_are_gathered_and_sorted() -> None:
    held = [InUse(("ml/b",)), InUse(("ml/a", "ml/c")), InUse(("ml/b",))]

    (request,) = conflict([claim(gpu=1)], *everywhere((needs(1, 0, candidates=3), held))).requests

    (group,) = request.groups
    assert [each.rejection for each in group.devices] == [InUse(("ml/a", "ml/b", "ml/c"))]


def test_nodes_that_differ_in_measure_are_groups_of_their_own_largest_first() -> None:
    (request,) = conflict(
        [claim(gpu=2)],
        node_says("n1", (needs(2, 0), [BUSY] * 8)),
        node_says("n2", (needs(2, 1), [BUSY] * 7)),
        node_says("n3", (needs(2, 1), [BUSY] * 7)),
    ).requests

    assert [group.nodes for group in request.groups] == [("n2", "n3"), ("n1",)]


def test_a_request_that_fails_on_one_of_several_nodes_names_it() -> None:
    told = tree(
        conflict(
            [claim(gpu=1, nic=1)],
            node_says(
                "n1", (needs(1, 1, candidates=1), []), (needs(1, 0, request="nic"), [IS_GPU])
            ),
            node_says("n2", (needs(1, 0), [IS_GPU]), (needs(1, 1, request="nic"), [])),
        )
    )

    supply = "needs 1 device of class `gpu.example.com`; 0 of 8 candidates are eligible on node"
    assert f"\n\nrequest `gpu` {supply} n2\n" in told
    assert f"\n\nrequest `nic` {supply} n1\n" in told


def test_the_only_node_that_was_looked_at_is_named_in_the_headline_alone() -> None:
    told = tree(conflict([claim(gpu=1)], node_says("n1", (needs(1, 0), [IS_GPU] * 8))))

    assert told.splitlines()[0].endswith("cannot be allocated on node n1")
    assert "; 0 of 8 candidates are eligible\n" in told


def test_of_nodes_that_differ_the_one_with_most_devices_counts() -> None:
    line = one_line(
        conflict(
            [claim(gpu=2)],
            node_says("n1", (needs(2, 0, candidates=1), [BUSY])),
            node_says("n2", (needs(2, 0, candidates=3), [BUSY] * 3)),
        )
    )

    assert line == (
        "claim ml/train, request gpu needs 2 devices of class gpu.example.com, none is eligible: "
        "4 devices are in use (claim ml/eval)"
    )


def test_the_most_frequent_reason_comes_first() -> None:
    line = one_line(conflict([claim(gpu=3)], *everywhere((needs(3, 0), [BUSY] * 3 + [IS_BIG] * 5))))

    assert line.index("15 devices do not match") < line.index("9 devices are in use")


def test_a_resource_that_is_short_on_many_nodes_is_told_by_the_nearest_miss() -> None:
    told = conflict(
        [claim(gpu=1)],
        refused=[
            refuse("n1", ResourceShort("cpu", 4000, 100)),
            refuse("n2", ResourceShort("cpu", 4000, 3900), NodeNotReady()),
            refuse("n3", ResourceShort("cpu", 4000, 0)),
        ],
    )

    assert told.refused == (
        NodeReasonGroup(ResourceShort("cpu", 4000, 3900), ("n1", "n2", "n3")),
        NodeReasonGroup(NodeNotReady(), ("n2",)),
    )


def test_a_request_that_has_enough_devices_is_not_blamed() -> None:
    told = conflict(
        [claim(gpu=1, net=1)],
        *everywhere((needs(1, 4), [BUSY] * 4), (needs(1, 0, request="net"), [BUSY] * 8)),
    )

    assert [request.request for request in told.requests] == [RequestRef("net")]


def test_a_prioritized_list_with_one_alternative_that_fits_is_not_blamed() -> None:
    told = conflict(
        [claim(gpu=("big", "small"), net=1)],
        *everywhere(
            (needs(1, 0, request="gpu/big"), [IS_BIG] * 8),
            (needs(1, 8, request="gpu/small"), []),
            (needs(1, 0, request="net"), [BUSY] * 8),
        ),
    )

    assert [request.request for request in told.requests] == [RequestRef("net")]


def test_the_fewest_requests_that_cover_every_node_are_told() -> None:
    gpu, net = needs(1, 0, candidates=1), needs(1, 0, request="net", candidates=1)
    fine = needs(1, 1, request="net", candidates=1)
    told = conflict(
        [claim(gpu=1, net=1)],
        node_says("n1", (gpu, [BUSY]), (net, [BUSY])),
        node_says("n2", (gpu, [BUSY]), (fine, [])),
    )

    assert [request.request for request in told.requests] == [RequestRef("gpu"), RequestRef("net")]
    assert [request.request for request in blamed(told)] == [RequestRef("gpu")]


@pytest.mark.parametrize("case", CASES)
def test_every_form_is_the_same_for_nodes_in_any_order(case: str) -> None:
    told = CASES[case]()

    assert CASES[case]() == told
    assert len(one_line(told).encode()) <= 1024
    assert "\n" not in one_line(told)
    json.dumps(as_json(told))
    assert tree(told).splitlines()[0]


def test_the_order_of_explanations_does_not_matter() -> None:
    parts = [node_says(f"n{i}", (needs(2, i % 2), [BUSY] * (8 - i % 2))) for i in range(6)]

    assert conflict([claim(gpu=2)], *parts) == conflict([claim(gpu=2)], *reversed(parts))


def test_the_text_of_a_thousand_nodes_fits_an_event() -> None:
    need = needs(99, 0, candidates=99)
    many = [
        node_says(f"n{i}", (need, [InUse((f"ml/job-{i * 99 + k}",)) for k in range(99)]))
        for i in range(50)
    ]

    line = one_line(conflict([claim(gpu=99)], *many, unexamined=[f"m{i}" for i in range(950)]))

    assert line == (
        "claim ml/train, request gpu needs 99 devices of class gpu.example.com, none is eligible: "
        "4950 devices are in use (claims ml/job-0, ml/job-1, ml/job-10 and 4947 more); "
        "950 more nodes without fitting devices are not described"
    )


class TestCauseKey:
    def busy(self, count: int, holder: str = "ml/eval") -> Conflict:
        held: list[Rejection] = [InUse((holder,))] * count
        return conflict([claim(gpu=3)], *everywhere((needs(3, 8 - count), held)))

    def test_numbers_and_holders_come_and_go_while_the_cause_stays(self) -> None:
        assert one_line(self.busy(6)) != one_line(self.busy(7, "ml/other"))
        assert cause_key(self.busy(6)) == cause_key(self.busy(7, "ml/other"))

    def test_another_reason_is_another_cause(self) -> None:
        other = conflict([claim(gpu=3)], *everywhere((needs(3, 2), [BUSY] * 5 + [IS_GPU])))

        assert cause_key(other) != cause_key(self.busy(6))

    def test_a_count_above_what_exists_is_another_cause(self) -> None:
        few = conflict([claim(gpu=3)], *everywhere((needs(3, 1, candidates=2), [BUSY])))

        assert cause_key(few) != cause_key(self.busy(6))

    def test_the_key_names_the_requests_the_reasons_and_the_resources(self) -> None:
        told = conflict(
            [claim(gpu=3)],
            *everywhere((needs(3, 1, candidates=3), [BUSY, BUSY])),
            refused=[refuse("n1", ResourceShort("cpu", 4000, 100))],
        )

        assert cause_key(told) == (
            "ml/train-0; nodes; ml/train gpu wants 3 exists True limit False: InUse; short of cpu"
        )

    def test_every_kind_of_failure_has_a_key_of_its_own(self) -> None:
        keys = {case: cause_key(make()) for case, make in CASES.items()}

        assert len(set(keys.values())) == len(CASES)


class TestAllAndOneMore:
    def all_second(self, *own: Rejection, shared: Rejection | None = None) -> Conflict:
        taken: list[Rejection] = [TakenInThisAttempt("ml/own", "gpu")]
        if shared is not None:
            taken.append(shared)
        return conflict(
            [claim("own", gpu=1), claim("shared", every="All")],
            node_says(
                "gpu-1",
                (needs(1, 2), list(own)),
                (needs(2, 2 - len(taken), request="every", claim_index=1, mode="All"), taken),
            ),
        )

    def test_whoever_comes_first_leaves_nothing_for_the_other(self) -> None:
        assert self.all_second().rivalries == (
            Rivalry(
                all_claim=ClaimKey("ml", "shared"),
                all_request=RequestRef("every"),
                all_devices=2,
                claim=ClaimKey("ml", "own"),
                request=RequestRef("gpu"),
                more=1,
                nodes=("gpu-1",),
            ),
        )

    def test_devices_that_match_only_one_of_the_two_do_not_matter(self) -> None:
        assert len(self.all_second(IS_BIG, shared=IS_BIG).rivalries) == 1

    def test_it_is_not_said_while_a_release_may_help_the_other(self) -> None:
        assert self.all_second(BUSY).rivalries == ()

    def test_it_is_not_said_while_all_lacks_devices_for_another_reason(self) -> None:
        assert self.all_second(shared=BUSY).rivalries == ()

    def test_a_claim_of_the_pod_that_is_allocated_counts_as_well(self) -> None:
        told = CASES["all-was-allocated"]()

        assert [(each.all_claim.name, each.more) for each in told.rivalries] == [("shared", 1)]
        assert is_hopeless(told)

    def test_devices_that_a_claim_of_another_pod_holds_do_not_count(self) -> None:
        said = node_says("gpu-1", (needs(1, 0, candidates=2), [InUse(("ml/shared",))] * 2))

        assert conflict([claim("own", gpu=1)], said).rivalries == ()

    def test_an_allocated_claim_that_does_not_ask_for_all_is_no_rival(self) -> None:
        said = node_says("gpu-1", (needs(1, 0, candidates=2), [InUse(("ml/shared",))] * 2))
        counted = replace(allocated_all("shared", "gpu-1", 2), spec=claim("shared", every=2).spec)
        told = conflict([claim("own", gpu=1)], said, allocated=[counted])

        assert told.rivalries == ()

    def test_a_node_where_the_wait_may_help_is_told_beside_the_rivalry(self) -> None:
        told = conflict(
            [claim("own", gpu=1), claim("shared", every="All")],
            self.node("gpu-1", []),
            self.node("gpu-2", [BUSY]),
        )

        assert not is_hopeless(told)
        assert one_line(told) == (
            "claim ml/shared, request every asks for All 2 matching devices, claim ml/own, "
            "request gpu needs 1 more of the same: 1 node cannot satisfy both; "
            "claim ml/own, request gpu needs 1 device of class gpu.example.com, "
            "none is eligible: 1 device is in use (claim ml/eval)"
        )

    def node(self, name: str, own: list[Rejection]) -> NodeExplanation:
        taken = [] if own else [TakenInThisAttempt("ml/own", "gpu")]
        return node_says(
            name,
            (needs(1, 0 if own else 2, candidates=2), own),
            (
                needs(2, 2 - len(taken), request="every", claim_index=1, mode="All", candidates=2),
                taken,
            ),
        )
