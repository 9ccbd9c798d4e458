# SPDX-License-Identifier: Apache-2.0
"""Devices that take resources of their node (KEP-5517), through the real engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import POD_CLAIM_NAME_ANNOTATION, ConsumerReference, ResourceClaim
from berth.model.devices import (
    Device,
    NodeAllocatableMapping,
    NodeAllocatableOverhead,
    NodeAllocatableResource,
)
from berth.model.features import Features
from berth.model.placement import (
    DeviceResourceShort,
    NodeReason,
    NodeRefusal,
    Placed,
    PodLevelShort,
    Unplaceable,
)
from berth.model.pods import Pod, PodClaimReference
from berth.model.results import AllocationResult, DeviceResult
from berth.model.usage import NodeState
from berth.placement.node_allocatable import device_resources
from berth.placement.place import place
from berth.quantity import Quantity
from tests.support.builders import (
    DRIVER,
    NODE,
    a_body,
    a_claim,
    a_class,
    a_device,
    a_node,
    a_request,
    a_slice,
    first_available,
)

ON = Features(node_allocatable_resources=True)
POD = Pod(
    namespace="default",
    name="pod",
    uid="pod-uid",
    claims=(PodClaimReference("c", claim_name="claim", containers=2),),
    requests={"cpu": 2000},
)
Resources = Mapping[str, NodeAllocatableResource]


def q(text: str) -> Quantity:
    return Quantity.parse(text)


def by_capacity(key: str, multiplier: str) -> NodeAllocatableResource:
    return NodeAllocatableResource(NodeAllocatableMapping(key, q(multiplier)))


def by_device(multiplier: str) -> NodeAllocatableResource:
    return NodeAllocatableResource(NodeAllocatableMapping(device_multiplier=q(multiplier)))


def overhead(per_pod: str | None, per_container: str | None) -> NodeAllocatableResource:
    return NodeAllocatableResource(
        overhead=NodeAllocatableOverhead(
            None if per_pod is None else q(per_pod),
            None if per_container is None else q(per_container),
        )
    )


def taking(resources: Resources, count: int = 1) -> list[Device]:
    return [replace(a_device(f"gpu-{i}"), node_allocatable=resources) for i in range(count)]


def inventory(devices: Sequence[Device], *nodes: str) -> Inventory:
    return Inventory.build([a_slice(devices, node_name=n) for n in nodes or (NODE,)], (), ON)


def snapshot(known: Inventory, features: Features = ON) -> Snapshot:
    return Snapshot(known, {"gpu": a_class()}, AllocatedState(), features)


def state(name: str = NODE, *, cpu: int = 8000, memory: int = 64 << 30, used: int = 0) -> NodeState:
    allocatable = {"pods": 110, "cpu": cpu, "memory": memory}
    return NodeState(replace(a_node(name), allocatable=allocatable), used={"cpu": used})


def holding(*consumed: Mapping[str, str] | None) -> AllocationResult:
    return AllocationResult(
        tuple(
            DeviceResult(
                "gpu",
                DRIVER,
                NODE,
                f"gpu-{i}",
                consumed_capacity=None if each is None else {k: q(v) for k, v in each.items()},
            )
            for i, each in enumerate(consumed)
        )
    )


@pytest.mark.parametrize(
    ("resources", "consumed", "want"),
    [
        pytest.param({"cpu": by_device("4")}, [None], {"cpu": 4000}, id="a device"),
        pytest.param({"cpu": by_device("4")}, [None, None], {"cpu": 8000}, id="each device"),
        pytest.param(
            {"cpu": by_capacity("cores", "2")},
            [{"cores": "3"}, {"cores": "500m"}],
            {"cpu": 7000},
            id="consumed capacity times its multiplier",
        ),
        pytest.param(
            {"cpu": by_capacity("cores", "2")}, [{"ram": "1"}], {"cpu": 0}, id="an absent capacity"
        ),
        pytest.param(
            {"memory": overhead("1Gi", None)}, [None], {"memory": 1 << 30}, id="once a pod"
        ),
        pytest.param(
            {"memory": overhead("1Gi", "256Mi")},
            [None],
            {"memory": 3 << 29},
            id="and for each container",
        ),
        pytest.param(
            {
                "cpu": NodeAllocatableResource(
                    NodeAllocatableMapping(device_multiplier=q("1")),
                    NodeAllocatableOverhead(per_container=q("100m")),
                )
            },
            [None],
            {"cpu": 1200},
            id="mapping and overhead",
        ),
        pytest.param(
            {"cpu": by_capacity("cores", "1n")},
            [{"cores": "100u"}, {"cores": "100u"}],
            {"cpu": 1},
            id="rounded up once",
        ),
        pytest.param(
            {"memory": by_capacity("ram", "1500m")},
            [{"ram": "9007199254740993"}],
            {"memory": 13510798882111490},
            id="exact beyond 2^53",
        ),
        pytest.param({}, [None], {}, id="nothing"),
    ],
)
def test_devices_add_to_the_resources_of_the_pod(
    resources: Resources, consumed: Sequence[Mapping[str, str] | None], want: dict[str, int]
) -> None:
    known = inventory(taking(resources, count=len(consumed)))

    assert device_resources(known, POD, [(a_claim(), holding(*consumed))]) == want


@pytest.mark.parametrize(
    ("pod", "containers"),
    [
        (replace(POD, claims=()), 0),
        (
            replace(
                POD,
                claims=(PodClaimReference("c", template_name="t", containers=3),),
                claim_names={"c": "claim"},
            ),
            3,
        ),
        (replace(POD, claims=(PodClaimReference("entry", template_name="t", containers=4),)), 4),
        (replace(POD, claims=(PodClaimReference("c", claim_name="other", containers=5),)), 0),
    ],
    ids=["no reference", "status", "annotation", "another claim"],
)
def test_the_containers_that_use_the_claim_are_counted(pod: Pod, containers: int) -> None:
    claim = replace(a_claim(), annotations={POD_CLAIM_NAME_ANNOTATION: "entry"})
    known = inventory(taking({"cpu": overhead(None, "1")}))

    assert device_resources(known, pod, [(claim, holding(None))]) == {"cpu": 1000 * containers}


def test_the_newest_slice_of_a_device_counts_and_an_unpublished_device_adds_nothing() -> None:
    known = Inventory.build(
        [
            a_slice(taking({"cpu": by_device("9")}), name="new", generation=2),
            a_slice(taking({"cpu": by_device("1")}), name="old", generation=1),
        ],
        (),
        ON,
    )

    assert device_resources(known, POD, [(a_claim(), holding(None, None))]) == {"cpu": 9000}


MAPPING = f"claim default/claim, request gpu: device {DRIVER}/{NODE}/gpu-0: "


@pytest.mark.parametrize(
    ("mapping", "detail"),
    [
        (
            NodeAllocatableMapping("cores", q("2")),
            "counts capacity cores, but nothing is consumed of a device that is not shared: "
            "the driver must set allowMultipleAllocations, or map by deviceMultiplier",
        ),
        *(
            (each, "must have either deviceMultiplier, or capacityKey with capacityMultiplier")
            for each in (
                NodeAllocatableMapping(),
                NodeAllocatableMapping("cores"),
                NodeAllocatableMapping(None, q("1")),
                NodeAllocatableMapping("cores", q("1"), q("1")),
                NodeAllocatableMapping("cores", None, q("1")),
                NodeAllocatableMapping(None, q("1"), q("1")),
            )
        ),
    ],
)
def test_a_mapping_that_cannot_be_applied_is_refused(
    mapping: NodeAllocatableMapping, detail: str
) -> None:
    known = inventory(taking({"cpu": NodeAllocatableResource(mapping)}))

    with pytest.raises(InvalidClaimError) as caught:
        place(snapshot(known), POD, [a_claim()], [state()])

    assert str(caught.value) == f"{MAPPING}nodeAllocatableResources[cpu].mapping {detail}"
    assert caught.value.reason == "InvalidMapping"


@pytest.mark.parametrize(
    ("pod", "node", "want"),
    [
        pytest.param(POD, state(cpu=6000), (), id="just enough"),
        pytest.param(
            POD, state(cpu=5999), (DeviceResourceShort("cpu", 6000, 5999, 4000),), id="one short"
        ),
        pytest.param(
            POD,
            state(used=2001),
            (DeviceResourceShort("cpu", 6000, 5999, 4000),),
            id="used by others",
        ),
        pytest.param(
            replace(POD, requests={}),
            state(cpu=3000),
            (DeviceResourceShort("cpu", 4000, 3000, 4000),),
            id="devices alone",
        ),
        pytest.param(
            POD,
            state(cpu=5000, memory=1),
            (
                DeviceResourceShort("cpu", 6000, 5000, 4000),
                DeviceResourceShort("memory", 1 << 30, 1, 1 << 30),
            ),
            id="every resource",
        ),
        pytest.param(
            replace(POD, requests={"cpu": 6000}, pod_level_room={"cpu": 4000}),
            state(cpu=6000),
            (),
            id="within the pod-level request",
        ),
        pytest.param(
            replace(POD, requests={"cpu": 6000}, pod_level_room={"cpu": 3999}),
            state(),
            (PodLevelShort("cpu", 4000, 3999),),
            id="beyond the pod-level request",
        ),
    ],
)
def test_a_node_needs_room_for_the_pod_and_its_devices(
    pod: Pod, node: NodeState, want: tuple[NodeReason, ...]
) -> None:
    known = inventory(taking({"memory": overhead("1Gi", None), "cpu": by_device("4")}))

    placed = place(snapshot(known), pod, [a_claim()], [node])

    if want:
        assert placed == Unplaceable(refused=(NodeRefusal(NODE, want),))
    else:
        assert isinstance(placed, Placed)


def test_what_is_consumed_of_a_shared_device_counts() -> None:
    shared = replace(
        a_device("numa-0", capacity={"cores": "16"}, allow_multiple_allocations=True),
        node_allocatable={"cpu": by_capacity("cores", "2")},
    )
    claim = a_claim(a_request(capacity={"cores": "3"}))

    placed = place(snapshot(inventory([shared])), POD, [claim], [state(cpu=7999)])

    refusal = NodeRefusal(NODE, (DeviceResourceShort("cpu", 8000, 7999, 6000),))
    assert placed == Unplaceable(refused=(refusal,))


@pytest.mark.parametrize("policy", ["FirstFit", "Pack", "Spread"])
def test_the_next_node_is_tried_and_refused_nodes_are_told_by_name(policy: str) -> None:
    known = inventory(taking({"cpu": by_device("4")}), "a", "b", "c")
    small = [state("c", cpu=5000), state("a", cpu=5000)]
    short = (DeviceResourceShort("cpu", 6000, 5000, 4000),)

    placed = place(snapshot(known), POD, [a_claim()], [*small, state("b")], policy=policy)
    refused = place(snapshot(known), POD, [a_claim()], small, policy=policy)

    assert isinstance(placed, Placed)
    assert placed.node == "b"
    assert refused == Unplaceable(refused=(NodeRefusal("a", short), NodeRefusal("c", short)))


def test_no_other_devices_are_tried_on_the_node() -> None:
    known = inventory(
        [*taking({"cpu": by_device("4")}), replace(a_device("gpu-1"), node_allocatable={})]
    )

    placed = place(snapshot(known), POD, [a_claim()], [state(cpu=5000)])

    assert placed == Unplaceable(
        refused=(NodeRefusal(NODE, (DeviceResourceShort("cpu", 6000, 5000, 4000),)),)
    )


def test_a_better_alternative_that_does_not_fit_leaves_the_node_with_a_worse_one() -> None:
    claim = a_claim(
        first_available("gpu", a_body(name="two", count=2), a_body(name="one", count=1))
    )
    devices = taking({"cpu": by_device("4")}, count=2)
    known = Inventory.build(
        [a_slice(devices[:1], node_name="a"), a_slice(devices, node_name="b")], (), ON
    )

    placed = place(snapshot(known), POD, [claim], [state("a"), state("b")])

    assert isinstance(placed, Placed)
    assert placed.node == "a"


def allocated(*reserved_for: ConsumerReference) -> ResourceClaim:
    return replace(a_claim(), allocation=holding(None), reserved_for=reserved_for)


MINE = ConsumerReference("pods", "pod", "pod-uid")
OTHERS = ConsumerReference("pods", "other", "other-uid")


def test_the_devices_of_a_claim_that_has_its_allocation_count_too() -> None:
    known = inventory(taking({"cpu": by_device("4")}))

    placed = place(snapshot(known), POD, [], [state(cpu=5000)], allocated=[allocated(MINE)])

    assert placed == Unplaceable(
        refused=(NodeRefusal(NODE, (DeviceResourceShort("cpu", 6000, 5000, 4000),)),)
    )


def test_a_claim_that_is_a_part_of_the_node_is_not_shared_between_pods() -> None:
    known = inventory(taking({"memory": by_device("1Gi"), "cpu": by_device("4")}))

    with pytest.raises(InvalidClaimError) as caught:
        place(snapshot(known), POD, [], [state()], allocated=[allocated(MINE, OTHERS)])

    assert str(caught.value) == (
        f"claim default/claim, request gpu: device {DRIVER}/{NODE}/gpu-0 is a part of its node's "
        "cpu, memory (nodeAllocatableResources), so that pods cannot share it, but the claim is "
        "reserved for other: give each pod a claim of its own"
    )
    assert caught.value.reason == "SharedMapping"


@pytest.mark.parametrize(
    ("resources", "reserved_for"),
    [
        ({"cpu": by_device("1")}, (MINE,)),
        ({"cpu": by_device("1")}, ()),
        ({"cpu": overhead("1", None)}, (MINE, OTHERS)),
        ({}, (OTHERS,)),
    ],
    ids=["own", "free", "overhead", "plain devices"],
)
def test_other_claims_may_be_shared(
    resources: Resources, reserved_for: tuple[ConsumerReference, ...]
) -> None:
    known = inventory(taking(resources))

    placed = place(snapshot(known), POD, [], [state()], allocated=[allocated(*reserved_for)])

    assert isinstance(placed, Placed)


def test_nothing_of_this_counts_while_the_feature_is_off() -> None:
    broken = {"memory": NodeAllocatableResource(NodeAllocatableMapping())}
    known = inventory(taking({"cpu": by_device("400"), **broken}, count=2))
    shared = replace(allocated(OTHERS), name="shared")

    placed = place(snapshot(known, Features()), POD, [a_claim()], [state()], allocated=[shared])

    assert isinstance(placed, Placed)
    assert placed.node == NODE
