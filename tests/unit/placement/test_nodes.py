# SPDX-License-Identifier: Apache-2.0
"""Which nodes a pod may go to, and every reason why not."""

from __future__ import annotations

import dataclasses

import pytest

from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.nodes import (
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeTaint,
)
from berth.model.placement import (
    ClaimElsewhere,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    ResourceShort,
)
from berth.model.pods import HostPort, Pod, PodToleration
from berth.model.results import AllocationResult
from berth.model.usage import NodeState
from berth.placement.nodes import is_port_taken, is_tolerated, refusals

ROOM = {"cpu": 4000, "memory": 8 << 30, "ephemeral-storage": 100 << 30, "pods": 110}
NODE = Node(name="n1", allocatable=ROOM)
POD = Pod(namespace="ml", name="train")
SPOT = NodeTaint(key="spot", value="yes", effect="NoSchedule")
CORDON_TAINT = NodeTaint(key="node.kubernetes.io/unschedulable", value="", effect="NoSchedule")
NOT_READY_TAINT = NodeTaint(key="node.kubernetes.io/not-ready", value="", effect="NoExecute")


def state(
    node: Node = NODE, *, pods: int = 0, ports: frozenset[HostPort] = frozenset(), **used: int
) -> NodeState:
    return NodeState(node=node, used=used, pods=pods, host_ports=ports)


def selector(key: str, operator: str, *values: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key=key, operator=operator, values=values)
    return NodeSelector(terms=(NodeSelectorTerm(match_expressions=(requirement,)),))


def named(name: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key="metadata.name", operator="In", values=(name,))
    return NodeSelector(terms=(NodeSelectorTerm(match_fields=(requirement,)),))


def node(**changes: object) -> Node:
    return dataclasses.replace(NODE, **changes)  # type: ignore[arg-type] # fields by name


def pod(**changes: object) -> Pod:
    return dataclasses.replace(POD, **changes)  # type: ignore[arg-type] # fields by name


def test_a_ready_node_with_room_takes_a_pod_that_asks_for_nothing() -> None:
    assert refusals(POD, state()) == ()


@pytest.mark.parametrize(
    ("who", "where", "want"),
    [
        pytest.param(POD, state(node(ready=False)), (NodeNotReady(),), id="not ready"),
        pytest.param(
            pod(tolerations=(PodToleration(operator="Exists"),)),
            state(node(ready=False)),
            (NodeNotReady(),),
            id="not ready, whatever the pod tolerates",
        ),
        pytest.param(
            POD,
            state(node(ready=False, taints=(NOT_READY_TAINT,))),
            (NodeNotReady(),),
            id="the taint that says not ready is not told twice",
        ),
        pytest.param(
            POD,
            state(node(taints=(NOT_READY_TAINT,))),
            (NodeTaintNotTolerated(NOT_READY_TAINT),),
            id="the taint alone refuses as well",
        ),
        pytest.param(POD, state(node(unschedulable=True)), (NodeUnschedulable(),), id="cordoned"),
        pytest.param(
            POD,
            state(node(unschedulable=True, taints=(CORDON_TAINT,))),
            (NodeUnschedulable(),),
            id="the cordon's own taint is not told twice",
        ),
        pytest.param(
            pod(tolerations=(PodToleration(key=CORDON_TAINT.key, operator="Exists"),)),
            state(node(unschedulable=True, taints=(CORDON_TAINT,))),
            (),
            id="a cordon can be tolerated",
        ),
        pytest.param(
            pod(
                tolerations=(
                    PodToleration(key=CORDON_TAINT.key, operator="Exists", effect="NoExecute"),
                )
            ),
            state(node(unschedulable=True)),
            (NodeUnschedulable(),),
            id="a cordon is not tolerated under another effect",
        ),
        pytest.param(
            POD, state(node(taints=(SPOT,))), (NodeTaintNotTolerated(SPOT),), id="NoSchedule taint"
        ),
        pytest.param(
            POD,
            state(node(taints=(NodeTaint(key="spot", value="", effect="PreferNoSchedule"),))),
            (),
            id="PreferNoSchedule does not refuse",
        ),
        pytest.param(
            pod(node_selector={"zone": "a", "disk": "ssd"}),
            state(node(labels={"zone": "b"})),
            (NodeSelectorMismatch("disk", "ssd"), NodeSelectorMismatch("zone", "a")),
            id="every label of the nodeSelector that is missing or different",
        ),
        pytest.param(
            pod(required_affinity=selector("zone", "In", "a")),
            state(node(labels={"zone": "b"})),
            (NodeAffinityMismatch(),),
            id="required affinity",
        ),
        pytest.param(
            pod(required_affinity=selector("zone", "In", "a")),
            state(node(labels={"zone": "a"})),
            (),
            id="required affinity that matches",
        ),
        pytest.param(
            pod(required_affinity=selector("zone", "Near", "a")),
            state(node(labels={"zone": "a"})),
            (NodeAffinityMismatch(),),
            id="an affinity that cannot be evaluated matches nothing",
        ),
        pytest.param(
            pod(requests={"cpu": 1500}),
            state(cpu=2501),
            (ResourceShort("cpu", 1500, 1499),),
            id="one milli-unit of cpu short",
        ),
        pytest.param(pod(requests={"cpu": 1500}), state(cpu=2500), (), id="cpu to the last unit"),
        pytest.param(
            pod(requests={"memory": 9 << 30, "example.com/fpga": 1, "ephemeral-storage": 1}),
            state(),
            (ResourceShort("example.com/fpga", 1, 0), ResourceShort("memory", 9 << 30, 8 << 30)),
            id="memory and an extended resource that the node does not have",
        ),
        pytest.param(
            pod(requests={"cpu": 0}), state(cpu=5000), (), id="nothing fits an over-committed node"
        ),
        pytest.param(POD, state(pods=110), (ResourceShort("pods", 1, 0),), id="room for pods"),
        pytest.param(POD, state(pods=109), (), id="room for the last pod"),
        pytest.param(
            pod(host_ports=(HostPort("TCP", 80),)),
            state(ports=frozenset({HostPort("TCP", 80)})),
            (HostPortTaken(HostPort("TCP", 80)),),
            id="host port",
        ),
    ],
)
def test_a_node_is_refused_with_every_reason(
    who: Pod, where: NodeState, want: tuple[NodeReason, ...]
) -> None:
    assert refusals(who, where) == want


def test_an_allocated_claim_ties_the_pod_to_the_nodes_that_reach_its_devices() -> None:
    here = AllocationResult(node_selector=named("n1"))
    elsewhere = AllocationResult(node_selector=named("n2"))
    claims = [
        ResourceClaim("ml", "here", allocation=here),
        ResourceClaim("ml", "elsewhere", allocation=elsewhere),
        ResourceClaim("ml", "anywhere", allocation=AllocationResult()),
        ResourceClaim("ml", "open"),
    ]

    assert refusals(POD, state(), claims) == (ClaimElsewhere(ClaimKey("ml", "elsewhere")),)


def test_reasons_come_in_a_fixed_order() -> None:
    where = state(
        node(ready=False, unschedulable=True, taints=(SPOT,)),
        pods=200,
        ports=frozenset({HostPort("UDP", 53)}),
        cpu=4000,
    )
    who = pod(
        node_selector={"a": "b"},
        required_affinity=selector("zone", "Exists"),
        requests={"cpu": 1},
        host_ports=(HostPort("UDP", 53),),
    )

    assert refusals(who, where) == (
        NodeNotReady(),
        NodeUnschedulable(),
        NodeTaintNotTolerated(SPOT),
        NodeSelectorMismatch("a", "b"),
        NodeAffinityMismatch(),
        ResourceShort("pods", 1, -90),
        ResourceShort("cpu", 1, 0),
        HostPortTaken(HostPort("UDP", 53)),
    )


@pytest.mark.parametrize(
    ("toleration", "want"),
    [
        pytest.param(PodToleration("spot", "Equal", "yes", "NoSchedule"), True, id="all equal"),
        pytest.param(PodToleration("spot", "", "yes"), True, id="no operator means Equal"),
        pytest.param(PodToleration("spot", "Equal", "no"), False, id="another value"),
        pytest.param(PodToleration("spot", "Exists"), True, id="Exists ignores the value"),
        pytest.param(PodToleration("", "Exists"), True, id="Exists without key covers all"),
        pytest.param(PodToleration("pot", "Exists"), False, id="another key"),
        pytest.param(PodToleration("spot", "Exists", "", "NoExecute"), False, id="another effect"),
        pytest.param(PodToleration("spot", "Lt", "yes"), False, id="an unknown operator"),
    ],
)
def test_a_toleration_covers_a_taint(toleration: PodToleration, want: bool) -> None:  # noqa: FBT001 - expectation
    assert is_tolerated(SPOT, [toleration]) is want


@pytest.mark.parametrize(
    ("wanted", "taken", "want"),
    [
        pytest.param(HostPort("TCP", 80), HostPort("TCP", 80), True, id="wildcard on both"),
        pytest.param(HostPort("TCP", 80), HostPort("TCP", 80, "10.0.0.1"), True, id="wildcard"),
        pytest.param(HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80), True, id="taken by all"),
        pytest.param(
            HostPort("TCP", 80, "10.0.0.1"), HostPort("TCP", 80, "10.0.0.2"), False, id="addresses"
        ),
        pytest.param(HostPort("TCP", 80), HostPort("UDP", 80), False, id="protocols"),
        pytest.param(HostPort("TCP", 80), HostPort("TCP", 81), False, id="ports"),
    ],
)
def test_host_ports_collide(wanted: HostPort, taken: HostPort, want: bool) -> None:  # noqa: FBT001 - expectation
    assert is_port_taken(wanted, [taken]) is want
