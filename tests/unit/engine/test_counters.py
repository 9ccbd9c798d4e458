# SPDX-License-Identifier: Apache-2.0
"""Partitions share the counters of their pool, and may exclude each other by groups."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.allocator import explain_node
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Unsatisfiable
from berth.engine.rejections import (
    CompatibilityRefused,
    CounterShort,
    FeatureOff,
    Rejection,
)
from berth.engine.snapshot import Snapshot
from berth.model.claims import ALL, ResourceClaim
from berth.model.devices import Device
from berth.model.features import Features
from berth.model.slices import ResourceSlice
from berth.quantity import Quantity
from tests.support.allocations import a_snapshot, attempt, given
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_device,
    a_node,
    a_request,
    a_slice,
    matching,
)

NUMA = f"{DRIVER}/numa"
GROUPS = replace(Features(), compatibility_groups=True)


def partitions(*sizes: str, shared: bool = False) -> list[Device]:
    return [
        a_device(
            f"p{n}",
            consumes={"gpu": {"memory": size}},
            attributes={"numa": n},
            allow_multiple_allocations=shared,
        )
        for n, size in enumerate(sizes)
    ]


def pool(*sizes: str, shared: bool = False) -> list[ResourceSlice]:
    return [
        a_slice(partitions(*sizes, shared=shared), name="devices", count=2),
        a_slice(name="counters", count=2, counter_sets={"gpu": {"memory": "40Gi"}}),
    ]


def grouped(*groups: tuple[str, ...]) -> list[ResourceSlice]:
    found = [
        replace(
            each,
            consumes_counters=(replace(each.consumes_counters[0], compatibility_groups=groups[n]),),
        )
        for n, each in enumerate(partitions(*["1Gi"] * len(groups)))
    ]
    return [
        a_slice(found, name="devices", count=2),
        a_slice(name="counters", count=2, counter_sets={"gpu": {"memory": "40Gi"}}),
    ]


def held(*names: str) -> dict[str, str]:
    return {f"{DRIVER}/node-1/{name}": "ml/eval" for name in names}


def reasons(snapshot: Snapshot, *claims: ResourceClaim) -> list[Rejection]:
    return [each.rejection for each in explain_node(snapshot, a_node(), claims).rejected]


def gib(amount: int) -> Quantity:
    return Quantity.parse(f"{amount}Gi")


def test_partitions_are_taken_as_long_as_the_counter_lasts() -> None:
    snapshot = a_snapshot(pool("20Gi", "20Gi", "20Gi"))
    assert given(attempt(snapshot, a_claim(a_request(count=2)))) == [["gpu=p0", "gpu=p1"]]
    assert isinstance(attempt(snapshot, a_claim(a_request(count=3))), Unsatisfiable)


def test_a_large_partition_gives_way_to_small_ones() -> None:
    snapshot = a_snapshot(pool("30Gi", "20Gi", "20Gi"))
    assert given(attempt(snapshot, a_claim(a_request(count=2)))) == [["gpu=p1", "gpu=p2"]]


def test_devices_in_use_are_charged() -> None:
    snapshot = a_snapshot(pool("30Gi", "20Gi", "10Gi"), in_use=held("p0"))
    assert given(attempt(snapshot, a_claim())) == [["gpu=p2"]]
    assert reasons(snapshot, a_claim(a_request(count=2))) == [
        *reasons(snapshot, a_claim(a_request(count=2)))[:1],
        CounterShort("gpu", "memory", gib(20), gib(10)),
    ]


def test_what_the_pod_itself_takes_is_charged_and_explained() -> None:
    snapshot = a_snapshot(pool("30Gi", "20Gi"))
    assert reasons(snapshot, a_claim(a_request(count=2))) == [
        CounterShort("gpu", "memory", gib(20), gib(10))
    ]


def test_counters_of_other_nodes_partitions_count() -> None:
    elsewhere = a_slice(
        [a_device("far", consumes={"gpu": {"memory": "30Gi"}})],
        name="elsewhere",
        pool="node-1",
        node_name="node-2",
        count=3,
    )
    near = [replace(each, resource_slice_count=3) for each in pool("20Gi", "10Gi")]
    snapshot = a_snapshot([*near, elsewhere], in_use=held("far"))
    assert given(attempt(snapshot, a_claim())) == [["gpu=p1"]]


def test_equal_pool_names_of_two_drivers_have_counters_of_their_own() -> None:
    other = [replace(each, driver="other.example.com") for each in pool("40Gi")]
    snapshot = a_snapshot(
        [*pool("40Gi"), *other], in_use={"other.example.com/node-1/p0": "ml/eval"}
    )
    assert given(attempt(snapshot, a_claim())) == [["gpu=p0"]]


def test_all_fails_where_the_counter_does_not_last() -> None:
    claim = a_claim(a_request(mode=ALL))
    assert given(attempt(a_snapshot(pool("20Gi", "20Gi")), claim)) == [["gpu=p0", "gpu=p1"]]
    assert isinstance(attempt(a_snapshot(pool("30Gi", "20Gi")), claim), Unsatisfiable)


def test_a_refused_constraint_returns_the_counters() -> None:
    claim = a_claim(a_request("a"), a_request("b"), constraints=[matching(NUMA)])
    devices = [
        a_device("p0", consumes={"gpu": {"memory": "20Gi"}}, attributes={"numa": 0}),
        a_device("p1", consumes={"gpu": {"memory": "20Gi"}}, attributes={"numa": 1}),
        a_device("p2", consumes={"gpu": {"memory": "20Gi"}}, attributes={"numa": 0}),
    ]
    slices = [
        a_slice(devices, name="devices", count=2),
        a_slice(name="counters", count=2, counter_sets={"gpu": {"memory": "40Gi"}}),
    ]
    assert given(attempt(a_snapshot(slices), claim)) == [["a=p0", "b=p2"]]


def test_the_shares_of_a_device_pay_once() -> None:
    snapshot = a_snapshot(pool("30Gi", "30Gi", shared=True))
    claims = [a_claim(name="a"), a_claim(name="b")]
    assert given(attempt(snapshot, *claims)) == [["gpu=p0"], ["gpu=p0"]]


def over_committed(features: Features) -> Snapshot:
    devices = [
        a_device("p0", consumes={"gpu": {"memory": "1Gi"}}),
        a_device("p1", consumes={"gpu": {"slots": "2"}}),
    ]
    slices = [
        a_slice(devices, name="devices", count=2),
        a_slice(name="c", count=2, counter_sets={"gpu": {"memory": "1Gi", "slots": "1"}}),
    ]
    return a_snapshot(slices, in_use=held("p1"), features=features)


def test_an_over_committed_counter_blocks_those_that_consume_it() -> None:
    assert given(attempt(over_committed(Features()), a_claim())) == [["gpu=p0"]]


def test_an_over_committed_counter_blocks_the_pool_as_in_release_1_37() -> None:
    outcome = attempt(over_committed(Features(as_release_1_37=True)), a_claim())
    assert isinstance(outcome, Unsatisfiable)


def test_partitions_need_the_feature() -> None:
    snapshot = a_snapshot(
        a_slice(partitions("1Gi")), features=Features(partitionable_devices=False)
    )
    assert reasons(snapshot, a_claim()) == [FeatureOff("DRAPartitionableDevices")]


class TestCompatibilityGroups:
    @pytest.mark.parametrize(
        ("groups", "want"),
        [
            ((("a",), ("b",), ("a",)), ["p0", "p2"]),
            ((("a",), (), ("a", "b")), ["p0", "p2"]),
            (((), ("a",), ()), ["p0", "p2"]),
            ((("a", "b"), ("b", "c"), ("c",)), ["p0", "p1"]),
        ],
    )
    def test_users_of_a_set_have_one_group_in_common_or_none_at_all(
        self, groups: tuple[tuple[str, ...], ...], want: list[str]
    ) -> None:
        snapshot = a_snapshot(grouped(*groups), features=GROUPS)
        outcome = attempt(snapshot, a_claim(a_request(count=2)))
        assert given(outcome) == [[f"gpu={name}" for name in want]]

    def test_the_common_group_narrows(self) -> None:
        snapshot = a_snapshot(grouped(("a", "b"), ("b", "c"), ("a", "c")), features=GROUPS)
        assert isinstance(attempt(snapshot, a_claim(a_request(count=3))), Unsatisfiable)

    def test_devices_in_use_are_users(self) -> None:
        snapshot = a_snapshot(grouped(("a",), ("b",), ("a",)), features=GROUPS, in_use=held("p0"))
        assert given(attempt(snapshot, a_claim())) == [["gpu=p2"]]
        assert reasons(snapshot, a_claim(a_request(count=2)))[1] == CompatibilityRefused(
            "gpu", ("b",), ("a",)
        )

    def test_a_pool_with_groups_is_hidden_while_the_feature_is_off(self) -> None:
        assert Inventory.build(grouped(("a",))).devices == ()
