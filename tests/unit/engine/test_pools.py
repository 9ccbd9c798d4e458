# SPDX-License-Identifier: Apache-2.0
"""Pools as one node sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.inventory import Inventory
from berth.engine.pools import NodeView
from berth.engine.rejections import NodeProblem, PoolIncomplete, PoolInvalid
from berth.model.devices import PoolID
from berth.model.features import Features
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.slices import ResourceSlice
from tests.support.builders import DRIVER, a_device, a_node, a_slice, label_in

POOL = PoolID(DRIVER, "p")


def part(
    device: str, *, name: str = "s", generation: int = 1, count: int = 1, node_name: str = "node-1"
) -> ResourceSlice:
    return a_slice(
        [a_device(device)],
        name=name,
        pool="p",
        generation=generation,
        count=count,
        node_name=node_name,
    )


def view(*slices: ResourceSlice, features: Features = Features(), **labels: str) -> NodeView:  # noqa: B008 - a frozen value
    return Inventory.build(slices, features=features).view(a_node(**labels))


def names(seen: NodeView) -> list[str]:
    return [d.id.device for d in seen.devices if d not in seen.unreachable]


@pytest.mark.parametrize(
    ("slices", "want_devices", "want_problem"),
    [
        pytest.param([part("d")], ["d"], None, id="one slice of one is complete"),
        pytest.param(
            [part("old", name="a"), part("new", name="b", generation=2)],
            ["new"],
            None,
            id="the newest generation wins",
        ),
        pytest.param(
            [part("new", name="b", generation=2), part("old", name="a")],
            ["new"],
            None,
            id="the newest generation wins whatever the order",
        ),
        pytest.param(
            [part("d", count=2)],
            [],
            PoolIncomplete(POOL, 1, seen=1, want=2),
            id="a missing slice makes the pool incomplete",
        ),
        pytest.param(
            [part("a", name="a"), part("b", name="b")],
            [],
            PoolIncomplete(POOL, 1, seen=2, want=1),
            id="so does one too many",
        ),
        pytest.param(
            [part("here", count=2), part("there", name="t", count=2, node_name="node-2")],
            ["here"],
            None,
            id="a slice of another node completes the pool",
        ),
        pytest.param(
            [part("here", count=2), part("there", name="t", generation=2, node_name="node-2")],
            [],
            None,
            id="a newer generation elsewhere makes an incomplete pool obsolete",
        ),
        pytest.param(
            [part("here"), part("there", name="t", generation=2, node_name="node-2")],
            ["here"],
            None,
            id="but goes unnoticed beside a complete one, as upstream",
        ),
        pytest.param(
            [part("d", name="a", count=2), part("d", name="b", count=2)],
            [],
            PoolInvalid(POOL, "device `d` is published twice"),
            id="a device name twice makes the pool invalid",
        ),
        pytest.param([], [], None, id="no slices, no devices"),
    ],
)
def test_a_pool_is_what_its_slices_say(
    slices: list[ResourceSlice], want_devices: list[str], want_problem: NodeProblem | None
) -> None:
    seen = view(*slices)
    assert names(seen) == want_devices
    assert seen.problems == (() if want_problem is None else (want_problem,))


ZONE = label_in("zone", "a")


@pytest.mark.parametrize(
    ("published", "want"),
    [
        (a_slice([a_device("d")], node_name="node-1"), ["d"]),
        (a_slice([a_device("d")], node_name="node-2"), []),
        (a_slice([a_device("d")], all_nodes=True), ["d"]),
        (a_slice([a_device("d")], node_selector=ZONE), ["d"]),
        (a_slice([a_device("d")], node_selector=label_in("zone", "b")), []),
        (
            a_slice(
                [
                    a_device("mine", node_name="node-1"),
                    a_device("yours", node_name="node-2"),
                    a_device("ours", all_nodes=True),
                    a_device("here", node_selector=ZONE),
                    a_device("there", node_selector=label_in("zone", "b")),
                    a_device("nowhere"),
                ],
                per_device=True,
            ),
            ["mine", "ours", "here"],
        ),
        (a_slice([a_device("yours", node_name="node-2")], per_device=True), []),
        (a_slice([a_device("d")], node_name="", per_device=False), []),
    ],
    ids=[
        "its own node",
        "another node",
        "all nodes",
        "a label that the node has",
        "a label that it has not",
        "each device for itself",
        "no device for this node",
        "a kind of reach that is not known",
    ],
)
def test_a_node_sees_the_devices_that_reach_it(published: ResourceSlice, want: list[str]) -> None:
    assert names(view(published, zone="a")) == want


def test_a_node_is_looked_at_again_when_its_labels_change() -> None:
    inventory = Inventory.build([a_slice([a_device("d")], node_selector=ZONE)])
    assert names(inventory.view(a_node(zone="b"))) == []
    assert names(inventory.view(a_node(zone="a"))) == ["d"]


def test_a_node_that_declares_a_feature_later_is_looked_at_again() -> None:
    inventory = Inventory.build([a_slice([a_device("d")])])
    inventory.view(a_node())
    newer = replace(a_node(), declared_features=frozenset({"DRAOptionalNodeOperations"}))
    assert inventory.view(newer).node is newer


BROKEN = NodeSelector((NodeSelectorTerm((NodeSelectorRequirement("zone", "Near", ("a",)),)),))


def test_a_selector_of_a_slice_that_cannot_be_read_is_fatal() -> None:
    seen = view(a_slice([a_device("d")], name="s", node_selector=BROKEN))
    assert seen.fatal == (
        "resourceslice s: the node selector cannot be read: "
        "`Near` is not a valid label selector operator"
    )


def test_a_selector_of_a_device_is_fatal_only_where_it_is_reached() -> None:
    published = a_slice(
        [a_device("first", all_nodes=True), a_device("second", node_selector=BROKEN)],
        name="s",
        per_device=True,
    )
    seen = view(published)
    assert seen.fatal == ""
    assert {record.id.device: text for record, text in seen.mistakes.items()} == {
        "second": "resourceslice s, device second: the node selector cannot be read: "
        "`Near` is not a valid label selector operator"
    }


def test_a_selector_that_decides_whether_a_slice_counts_is_fatal_and_names_its_device() -> None:
    published = a_slice([a_device("d", node_selector=BROKEN)], name="s", per_device=True)
    assert view(published).fatal == (
        "resourceslice s, device d: the node selector cannot be read: "
        "`Near` is not a valid label selector operator"
    )


def test_pools_are_ordered_by_driver_and_name_and_slices_by_name() -> None:
    slices = [
        a_slice([a_device("d4")], driver="b.example.com", pool="a"),
        a_slice([a_device("d3")], driver="a.example.com", pool="z", name="y", count=2),
        a_slice(
            [a_device("d2"), a_device("d1")], driver="a.example.com", pool="z", name="x", count=2
        ),
        a_slice([a_device("d0")], driver="a.example.com", pool="Z"),
    ]
    assert names(view(*slices)) == ["d0", "d2", "d1", "d3", "d4"]
    assert [d.id.device for d in Inventory.build(slices).devices] == ["d0", "d2", "d1", "d3", "d4"]


def test_pools_with_binding_conditions_come_last() -> None:
    waits = a_slice([a_device("waits", binding_conditions=["Ready"]), a_device("w2")], pool="a")
    plain = a_slice([a_device("plain")], pool="b")
    assert names(view(waits, plain)) == ["plain", "waits", "w2"]


def test_counters_are_checked_against_the_pool() -> None:
    unknown_set = a_slice([a_device("d", consumes={"memory": {"slots": "1"}})], pool="p")
    assert view(unknown_set).problems == (
        PoolInvalid(
            POOL, "device `d` consumes counter set `memory`, which the pool does not publish"
        ),
    )
    counters = a_slice(pool="p", name="c", count=2, counter_sets={"memory": {"banks": "4"}})
    device = a_slice(
        [a_device("d", consumes={"memory": {"slots": "1"}})], pool="p", name="d", count=2
    )
    assert view(counters, device).problems == (
        PoolInvalid(
            POOL,
            "device `d` consumes counter `slots`, which counter set `memory` does not have",
        ),
    )
    assert view(
        counters, a_slice(pool="p", name="x", count=2, counter_sets={"memory": {}})
    ).problems == (PoolInvalid(POOL, "counter set `memory` is published twice"),)


def test_slices_for_partitions_are_skipped_while_the_feature_is_off() -> None:
    features = Features(partitionable_devices=False)
    each_its_own = a_slice([a_device("d", all_nodes=True)], per_device=True)
    assert names(view(each_its_own)) == ["d"]
    assert names(view(each_its_own, features=features)) == []
