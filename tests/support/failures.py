# SPDX-License-Identifier: Apache-2.0
"""One failure for every kind of refusal, as a small cluster produces it, explained in full.

Unlike ``tests.support.conflicts`` nothing is made by hand: the pod is placed, and what is said of
it is what a user reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory
from berth.engine.snapshot import Snapshot
from berth.explain.conflict import Conflict
from berth.explain.full import explain_fully
from berth.model.claims import ALL, ResourceClaim
from berth.model.devices import Device, DeviceID
from berth.model.features import Features
from berth.model.nodes import Node, NodeTaint
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.slices import DeviceTaintRule, ResourceSlice
from berth.model.usage import NodeState
from berth.placement.place import place
from berth.quantity import Quantity
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_class,
    a_device,
    a_node,
    a_request,
    a_slice,
    a_taint,
    a_taint_rule,
    devices,
    matching,
)

POD = Pod(namespace="ml", name="train-0", requests=MappingProxyType({"cpu": 4000}))
NODES = ("gpu-1", "gpu-2", "gpu-3")
ROOM = MappingProxyType({"cpu": 64_000, "pods": 110})
NUMA = f"{DRIVER}/numa"
H100 = f'device.attributes["{DRIVER}"].model == "h100"'
CLASSES = (
    a_class("gpu"),
    a_class("nic", driver="nic.example.com"),
    a_class("h100", H100),
)


def a_node_state(name: str, *, free_cpu: int = 64_000, **fields: object) -> NodeState:
    node = replace(a_node(name), allocatable=ROOM, **fields)  # type: ignore[arg-type]  # of Node
    return NodeState(node, used=MappingProxyType({"cpu": 64_000 - free_cpu}))


def a_cluster(
    slices: Sequence[ResourceSlice],
    *,
    held: Mapping[str, str] = MappingProxyType({}),
    rules: Sequence[DeviceTaintRule] = (),
    features: Features = Features(),  # noqa: B008 - a frozen value
) -> Snapshot:
    """A snapshot; ``held`` maps ``pool/device`` to the claim that holds it."""
    holders = {DeviceID(DRIVER, *device.split("/")): (by,) for device, by in held.items()}
    return Snapshot(
        Inventory.build(slices, rules, features),
        {each.name: each for each in CLASSES},
        AllocatedState(holders),
        features,
    )


def explained(
    snapshot: Snapshot,
    *claims: ResourceClaim,
    states: Sequence[NodeState] | None = None,
    pod: Pod = POD,
    allocated: Sequence[ResourceClaim] = (),
    consumers: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Conflict:
    """Place the pod, which must fail, and explain it; the nodes are ``NODES`` by default."""
    states = [a_node_state(name) for name in NODES] if states is None else states
    outcome = place(snapshot, pod, claims, states, allocated=allocated)
    assert isinstance(outcome, Unplaceable)
    return explain_fully(
        snapshot, pod, claims, states, outcome, allocated=allocated, consumers=consumers
    )


def fleet(published: Sequence[Device], nodes: Sequence[str] = NODES) -> list[ResourceSlice]:
    return [a_slice(published, node_name=node) for node in nodes]


def train(*requests: object, **fields: object) -> ResourceClaim:
    return a_claim(*requests, name="train", namespace="ml", **fields)  # type: ignore[arg-type]


def _in_use() -> Conflict:
    held = {f"{node}/gpu-{n}": "team-a/train-7" for node in NODES for n in (0, 1)}
    held["gpu-1/gpu-2"] = "ml/notebook"
    return explained(
        a_cluster(fleet(devices(8)), held=held),
        train(a_request(count=8)),
        consumers={"team-a/train-7": ["train-7-0"], "ml/notebook": ["notebook-0"]},
    )


def _selector_false() -> Conflict:
    return explained(
        a_cluster(fleet(devices(8, model="a100"))), train(a_request("gpu", H100, count=2))
    )


def _selector_failed() -> Conflict:
    bare = [a_device("gpu-0"), a_device("gpu-1", attributes={"model": "h100"})]
    return explained(
        a_cluster(fleet(bare), held={f"{node}/gpu-0": "ml/other" for node in NODES}),
        train(a_request("gpu", H100, count=2)),
    )


def _class() -> Conflict:
    return explained(
        a_cluster(fleet(devices(8, model="a100"))), train(a_request(device_class="nic"))
    )


def _tainted() -> Conflict:
    rule = a_taint_rule("burn-in", a_taint("example.com/burn-in"), driver=DRIVER)
    return explained(a_cluster(fleet(devices(4)), rules=[rule]), train(a_request()))


def _constraint() -> Conflict:
    published = [a_device(f"gpu-{n}", attributes={"numa": n // 4}) for n in range(8)]
    return explained(
        a_cluster(fleet(published)),
        train(a_request(count=6), constraints=[matching(NUMA)]),
    )


def _attribute_missing() -> Conflict:
    return explained(
        a_cluster(fleet([a_device("gpu-0"), a_device("gpu-1")])),
        train(a_request(count=2), constraints=[matching(NUMA)]),
    )


def _taken() -> Conflict:
    return explained(
        a_cluster(fleet(devices(8))),
        train(a_request(count=5)),
        a_claim(a_request(count=5), name="eval", namespace="ml"),
    )


def _all_and_one_more() -> Conflict:
    return explained(
        a_cluster(fleet(devices(2))),
        a_claim(a_request("every", mode=ALL), name="shared", namespace="ml"),
        train(a_request()),
    )


def _pool_incomplete() -> Conflict:
    slices = [
        a_slice(devices(4), name="gpu-1-a", node_name="gpu-1", generation=2, count=2),
        a_slice(devices(4, prefix="old-"), name="gpu-1-b", node_name="gpu-1", count=2),
    ]
    return explained(a_cluster(slices), train(a_request(count=2)), states=[a_node_state("gpu-1")])


def _pool_invalid() -> Conflict:
    twice = [a_device("gpu-0"), a_device("gpu-0")]
    return explained(
        a_cluster(fleet(twice, ["gpu-1"])), train(a_request()), states=[a_node_state("gpu-1")]
    )


def _node_short() -> Conflict:
    spot = Node("spot", allocatable=ROOM, taints=(NodeTaint("spot", "yes", "NoSchedule"),))
    held = {f"gpu-1/gpu-{n}": "team-a/train-7" for n in range(8)}
    return explained(
        a_cluster(fleet(devices(8), ["gpu-1", "gpu-2"]), held=held),
        train(a_request()),
        states=[
            a_node_state("gpu-1"),
            a_node_state("gpu-2", free_cpu=1500),
            NodeState(spot),
        ],
    )


def _feature_off() -> Conflict:
    waiting = [
        a_device("gpu-0", binding_conditions=["Attached"], binding_failure_conditions=["Broken"])
    ]
    return explained(
        a_cluster(fleet(waiting), features=Features(device_binding_and_status=False)),
        train(a_request()),
    )


def _together() -> Conflict:
    published = [a_device(f"gpu-{n}", attributes={"numa": n % 2}) for n in range(4)]
    return explained(
        a_cluster(fleet(published)),
        train(
            a_request("left", count=2),
            a_request("right", count=1),
            constraints=[matching(NUMA)],
        ),
    )


def _counters() -> Conflict:
    parts = [
        a_device(f"gpu-0-part-{n}", consumes={"gpu-0": {"memory": size}})
        for n, size in enumerate(["20Gi", "40Gi"])
    ]
    published = a_slice(parts, node_name="gpu-1", per_device=None)
    counters = a_slice(
        (), name="counters", node_name="gpu-1", counter_sets={"gpu-0": {"memory": "48Gi"}}
    )
    slices = [replace(each, resource_slice_count=2) for each in (published, counters)]
    return explained(
        a_cluster(slices, held={"gpu-1/gpu-0-part-0": "ml/notebook"}),
        train(a_request()),
        states=[a_node_state("gpu-1")],
        consumers={"ml/notebook": ["notebook-0"]},
    )


def _counters_of_the_pod() -> Conflict:
    parts = [
        a_device(f"part-{n}", consumes={"gpu-0": {"memory": size}}, attributes={"size": n})
        for n, size in enumerate(["20Gi", "40Gi"])
    ]
    slices = [
        a_slice(parts, node_name="gpu-1", count=2),
        a_slice(
            (),
            name="counters",
            node_name="gpu-1",
            count=2,
            counter_sets={"gpu-0": {"memory": "48Gi"}},
        ),
    ]
    return explained(
        a_cluster(slices),
        train(
            a_request("one", f'device.attributes["{DRIVER}"].size == 0'),
            a_request("two", f'device.attributes["{DRIVER}"].size == 1'),
        ),
        states=[a_node_state("gpu-1")],
    )


def _capacity() -> Conflict:
    shared = a_device("gpu-0", capacity={"memory": "40Gi"}, allow_multiple_allocations=True)
    device = DeviceID(DRIVER, "gpu-1", "gpu-0")
    snapshot = a_cluster(fleet([shared], ["gpu-1"]))
    used = AllocatedState(
        shared={device: ("ml/notebook",)}, capacity={device: {"memory": Quantity.parse("24Gi")}}
    )
    return explained(
        replace(snapshot, allocated=used),
        train(a_request(capacity={"memory": "20Gi"})),
        states=[a_node_state("gpu-1")],
    )


def _count() -> Conflict:
    return explained(a_cluster(fleet(devices(8))), train(a_request(count=9)))


FAILURES: dict[str, Callable[[], Conflict]] = {
    "failure-in-use": _in_use,
    "failure-selector-false": _selector_false,
    "failure-selector-fails": _selector_failed,
    "failure-class": _class,
    "failure-taint": _tainted,
    "failure-constraint": _constraint,
    "failure-attribute-missing": _attribute_missing,
    "failure-same-pod": _taken,
    "failure-all-and-one-more": _all_and_one_more,
    "failure-pool-incomplete": _pool_incomplete,
    "failure-pool-invalid": _pool_invalid,
    "failure-node": _node_short,
    "failure-feature-off": _feature_off,
    "failure-together": _together,
    "failure-counters": _counters,
    "failure-counters-of-the-pod": _counters_of_the_pod,
    "failure-capacity": _capacity,
    "failure-count": _count,
}
