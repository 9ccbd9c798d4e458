# SPDX-License-Identifier: Apache-2.0
"""Conflicts made by hand, one for every kind of failure, each as a cluster would produce it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from berth.engine.rejections import (
    AttributeMissing,
    CapacityMissing,
    CapacityPolicy,
    CapacityShort,
    CompatibilityRefused,
    ConstraintRefused,
    CounterShort,
    FeatureOff,
    InUse,
    LimitReached,
    NodeExplanation,
    NodeProblem,
    PoolIncomplete,
    PoolInvalid,
    RejectedDevice,
    Rejection,
    RequestSummary,
    SelectorFailed,
    SelectorFalse,
    Tainted,
    TakenInThisAttempt,
)
from berth.explain.build import build_conflict
from berth.explain.conflict import Conflict
from berth.model.claims import (
    ClaimKey,
    DeviceClaim,
    DeviceRequest,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.devices import DeviceID, DeviceTaint, PoolID, TaintEffect
from berth.model.nodes import NodeTaint
from berth.model.placement import (
    ClaimElsewhere,
    DeviceResourceShort,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeRefusal,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    PodLevelShort,
    ResourceShort,
    Unplaceable,
)
from berth.model.pods import HostPort, Pod
from berth.model.results import AllocationResult, DeviceResult
from berth.quantity import Quantity

CLASS = "gpu.example.com"
DRIVER = "gpu.example.com"
POD = Pod(namespace="ml", name="train-0")
IS_GPU = SelectorFalse("class gpu.example.com", 0, 'device.driver == "gpu.example.com"')
IS_BIG = SelectorFalse(
    "request",
    0,
    'device.capacity["gpu.example.com"].memory\n  .compareTo(quantity("40Gi")) >= 0',
)
NUMA = "gpu.example.com/numa"
ALL_NODES = ("gpu-1", "gpu-2", "gpu-3")


def claim(name: str = "train", **modes: str | int | tuple[str, ...]) -> ResourceClaim:
    """Make a claim: a keyword a request, with its count, its mode, or names of alternatives."""
    return ResourceClaim("ml", name, spec=DeviceClaim(tuple(map(_request, modes.items()))))


def _request(named: tuple[str, str | int | tuple[str, ...]]) -> DeviceRequest:
    name, shape = named
    if isinstance(shape, int):
        return DeviceRequest(name, exactly=ExactRequest(CLASS, count=shape))
    if isinstance(shape, str):
        return DeviceRequest(name, exactly=ExactRequest(CLASS, allocation_mode=shape))
    return DeviceRequest(name, first_available=tuple(ExactRequest(CLASS, name=n) for n in shape))


def device(node: str, number: int) -> DeviceID:
    return DeviceID(DRIVER, node, f"gpu-{number}")


def needs(
    wanted: int,
    eligible: int,
    *,
    request: str = "gpu",
    claim_index: int = 0,
    candidates: int = 8,
    mode: str = "ExactCount",
    limit: int = 0,
) -> RequestSummary:
    name, _, sub = request.partition("/")
    return RequestSummary(
        claim=claim_index,
        request=RequestRef(name, sub),
        device_class=CLASS,
        mode=mode,
        wanted=wanted,
        candidates=candidates,
        eligible=eligible,
        limit=LimitReached(limit) if limit else None,
    )


def node_says(
    node: str,
    *parts: tuple[RequestSummary, Sequence[Rejection]],
    problems: tuple[NodeProblem, ...] = (),
) -> NodeExplanation:
    """Make an explanation: each summary with the rejections of the node's devices from gpu-0 on."""
    rejected = tuple(
        RejectedDevice(summary.claim, summary.request, device(node, number), rejection)
        for summary, rejections in parts
        for number, rejection in enumerate(rejections)
    )
    return NodeExplanation(node, tuple(summary for summary, _ in parts), rejected, problems)


def conflict(
    claims: Sequence[ResourceClaim],
    *explanations: NodeExplanation,
    refused: Iterable[NodeRefusal] = (),
    unexamined: Iterable[str] = (),
    undecided: tuple[str, ...] = (),
    allocated: Sequence[ResourceClaim] = (),
    drivers: Iterable[str] = (DRIVER,),
    problems: tuple[str, ...] = (),
) -> Conflict:
    no_fit = (*(explanation.node for explanation in explanations), *unexamined)
    outcome = Unplaceable(tuple(refused), no_fit, undecided, problems)
    return build_conflict(
        POD,
        claims,
        outcome,
        explanations,
        allocated=allocated,
        drivers=drivers,
        budget=200_000,
    )


def everywhere(*parts: tuple[RequestSummary, Sequence[Rejection]]) -> tuple[NodeExplanation, ...]:
    return tuple(node_says(node, *parts) for node in ALL_NODES)


def refuse(node: str, *reasons: NodeReason) -> NodeRefusal:
    return NodeRefusal(node, reasons)


def quantity(text: str) -> Quantity:
    return Quantity.parse(text)


def allocated_all(name: str, node: str, count: int) -> ResourceClaim:
    results = tuple(DeviceResult("every", DRIVER, node, f"gpu-{i}") for i in range(count))
    return replace(claim(name, every="All"), allocation=AllocationResult(results))


def _device_taint(rule: str | None = None) -> Tainted:
    return Tainted(DeviceTaint("gpu.example.com/unhealthy", "", TaintEffect.NO_SCHEDULE, rule))


def _style_example() -> Conflict:
    """Four in use, two too small, one tainted, one eligible: the explanation of the README."""
    held = [InUse(("ml/eval",))] * 2 + [InUse(("ml/notebook",))] * 2
    refused: list[Rejection] = [*held, IS_BIG, IS_BIG, _device_taint()]
    return conflict([claim(gpu=2)], node_says("gpu-7", (needs(2, 1), refused)))


def _many_nodes() -> Conflict:
    busy = [InUse((f"ml/job-{i}",)) for i in range(7)]
    return conflict(
        [claim(gpu=2)],
        node_says("gpu-1", (needs(2, 1), busy)),
        node_says("gpu-2", (needs(2, 1), busy)),
        node_says("gpu-3", (needs(2, 0), [*busy, _device_taint("maintenance")])),
        refused=[
            refuse("cp-1", NodeTaintNotTolerated(NodeTaint("control-plane", "", "NoSchedule"))),
            refuse("cpu-1", NodeNotReady(), ResourceShort("cpu", 4000, 500)),
            refuse("cpu-2", ResourceShort("cpu", 4000, 1500)),
        ],
        unexamined=("gpu-4", "gpu-5"),
        undecided=("gpu-6",),
    )


def _every_node_reason() -> Conflict:
    return conflict(
        [claim(gpu=1)],
        refused=[
            refuse("n1", NodeNotReady(), NodeSelectorMismatch("disk", "ssd")),
            refuse("n2", NodeUnschedulable(), NodeAffinityMismatch()),
            refuse("n3", NodeTaintNotTolerated(NodeTaint("spot", "yes", "NoExecute"))),
            refuse("n4", ResourceShort("memory", 16 << 30, -1), ResourceShort("pods", 1, 0)),
            refuse(
                "n5", HostPortTaken(HostPort("TCP", 8080)), ResourceShort("memory", 16 << 30, 5)
            ),
            refuse("n6", HostPortTaken(HostPort("UDP", 53, "10.0.0.1"))),
            refuse("n7", ClaimElsewhere(ClaimKey("ml", "shared"))),
            refuse("n8", ClaimElsewhere(ClaimKey("ml", "shared")), NodeNotReady()),
            refuse("n9a", DeviceResourceShort("cpu", 6000, 1000, 4000)),
            refuse("n9b", DeviceResourceShort("cpu", 3000, 2500, 1000)),
            refuse("n9c", PodLevelShort("memory", 2 << 30, 1 << 30)),
        ],
    )


def _alternatives() -> Conflict:
    return conflict(
        [claim(gpu=("big", "small"))],
        *everywhere(
            (needs(1, 0, request="gpu/big"), [IS_BIG] * 8),
            (needs(2, 1, request="gpu/small"), [InUse(("ml/eval",))] * 7),
        ),
    )


def _constraints() -> Conflict:
    first = device("gpu-1", 0)
    numa = [ConstraintRefused("matchAttribute", NUMA, "1", first, "0")] * 4
    bare = [AttributeMissing("matchAttribute", NUMA)] * 2
    return conflict([claim(gpu=4)], node_says("gpu-1", (needs(4, 2), [*numa, *bare])))


def _distinct() -> Conflict:
    same = ConstraintRefused("distinctAttribute", NUMA, "0", device("gpu-1", 3), "0")
    return conflict([claim(gpu=2)], node_says("gpu-1", (needs(2, 1, candidates=4), [same] * 3)))


def _incomplete_pool() -> Conflict:
    problem = PoolIncomplete(PoolID(DRIVER, "gpu-1"), generation=3, seen=1, want=2)
    invalid = PoolInvalid(PoolID(DRIVER, "gpu-2"), "device `gpu-0` is published twice")
    none = needs(1, 0, candidates=0)
    return conflict(
        [claim(gpu=1)],
        node_says("gpu-1", (none, []), problems=(problem,)),
        node_says("gpu-2", (none, []), problems=(invalid,)),
        problems=("gpu-1", "gpu-2"),
    )


def _incomplete_pool_beside() -> Conflict:
    problem = PoolIncomplete(PoolID("net.example.com", "switch"), generation=1, seen=0, want=1)
    return conflict(
        [claim(gpu=1)],
        node_says("gpu-1", (needs(1, 0), [InUse(("ml/eval",))] * 8), problems=(problem,)),
        node_says("gpu-2", (needs(1, 0), [InUse(("ml/eval",))] * 8), problems=(problem,)),
    )


def _all_second() -> Conflict:
    return conflict(
        [claim("own", gpu=1), claim("shared", every="All")],
        node_says(
            "gpu-1",
            (needs(1, 2, candidates=2), []),
            (
                needs(2, 1, request="every", claim_index=1, candidates=2, mode="All"),
                [TakenInThisAttempt("ml/own", "gpu")],
            ),
        ),
        node_says(
            "cpu-1",
            (needs(1, 0, candidates=0), []),
            (needs(0, 0, request="every", claim_index=1, candidates=0, mode="All"), []),
        ),
    )


def _all_first() -> Conflict:
    taken = [TakenInThisAttempt("ml/shared", "every")] * 2
    return conflict(
        [claim("shared", every="All"), claim("own", gpu=1)],
        node_says(
            "gpu-1",
            (needs(2, 2, request="every", candidates=3, mode="All"), [IS_BIG]),
            (needs(1, 0, claim_index=1, candidates=3), [*taken, IS_BIG]),
        ),
    )


def _all_allocated() -> Conflict:
    return conflict(
        [claim("own", gpu=1)],
        node_says("gpu-1", (needs(1, 0, candidates=2), [InUse(("ml/shared",))] * 2)),
        refused=[refuse("gpu-2", ClaimElsewhere(ClaimKey("ml", "shared")))],
        allocated=[allocated_all("shared", "gpu-1", 2)],
    )


def _counters() -> Conflict:
    return conflict(
        [claim(gpu=1)],
        node_says(
            "gpu-1",
            (
                needs(1, 0, candidates=4),
                [
                    CounterShort("gpu-0", "memory", quantity("40Gi"), quantity("30Gi")),
                    CounterShort("gpu-0", "memory", quantity("40Gi"), quantity("32Gi")),
                    CounterShort("gpu-1", "memory", quantity("40Gi"), quantity("-2Gi")),
                    CompatibilityRefused("gpu-1", ("mig",), ("vgpu",)),
                ],
            ),
        ),
    )


def _capacity() -> Conflict:
    return conflict(
        [claim(gpu=1)],
        node_says(
            "gpu-1",
            (
                needs(1, 0, candidates=3),
                [
                    CapacityMissing("memory"),
                    CapacityPolicy("memory", quantity("9Gi"), "8Gi or 16Gi"),
                    CapacityShort("memory", quantity("10Gi"), quantity("8Gi")),
                ],
            ),
        ),
    )


CASES: dict[str, Callable[[], Conflict]] = {
    "style-example": _style_example,
    "many-nodes": _many_nodes,
    "every-node-reason": _every_node_reason,
    "no-nodes": lambda: conflict([claim(gpu=1)]),
    "count-above-what-exists": lambda: conflict([claim(gpu=9)], *everywhere((needs(9, 8), []))),
    "count-above-what-matches": lambda: conflict(
        [claim(gpu=4)], *everywhere((needs(4, 1), [IS_BIG] * 6 + [InUse(("ml/eval",))]))
    ),
    "no-device-of-the-class": lambda: conflict(
        [claim(gpu=1)], *everywhere((needs(1, 0), [IS_GPU] * 8)), drivers=("net.example.com",)
    ),
    "no-device-matches": lambda: conflict([claim(gpu=1)], *everywhere((needs(1, 0), [IS_BIG] * 8))),
    "no-device-published": lambda: conflict(
        [claim(gpu=1)], *everywhere((needs(1, 0, candidates=0), [])), drivers=()
    ),
    "no-device-on-the-nodes": lambda: conflict(
        [claim(gpu=1)],
        node_says("cpu-1", (needs(1, 0, candidates=0), [])),
        refused=[refuse("gpu-1", NodeUnschedulable())],
    ),
    "alternatives": _alternatives,
    "constraints": _constraints,
    "distinct": _distinct,
    "feature-off": lambda: conflict(
        [claim(gpu=1)],
        *everywhere((needs(1, 0), [FeatureOff("DRAPartitionableDevices")] * 8)),
    ),
    "selector-fails": lambda: conflict(
        [claim(gpu=1, more=1)],
        *everywhere(
            (needs(1, 0), [InUse(("ml/eval",))] * 8),
            (
                needs(1, 0, request="more"),
                [SelectorFailed("request", 0, "device.attributes[device.driver].x", "no such key")]
                * 8,
            ),
        ),
    ),
    "limit": lambda: conflict(
        [claim(gpu=20, more=20)],
        node_says(
            "gpu-1",
            (needs(20, 40, candidates=40), []),
            (needs(20, 40, request="more", candidates=40, limit=32), []),
        ),
    ),
    "incomplete-pool": _incomplete_pool,
    "incomplete-pool-beside": _incomplete_pool_beside,
    "all-comes-second": _all_second,
    "all-comes-first": _all_first,
    "all-was-allocated": _all_allocated,
    "all-some-in-use": lambda: conflict(
        [claim(every="All")],
        *everywhere(
            (needs(6, 4, request="every", mode="All"), [InUse(("ml/eval",))] * 2 + [IS_BIG] * 2)
        ),
    ),
    "all-matches-nothing": lambda: conflict(
        [claim(every="All")],
        *everywhere((needs(0, 0, request="every", mode="All"), [IS_BIG] * 8)),
    ),
    "two-requests-of-one-claim": lambda: conflict(
        [claim(gpu=3, spare=3)],
        *everywhere(
            (needs(3, 4, candidates=4), []),
            (
                needs(3, 1, request="spare", candidates=4),
                [TakenInThisAttempt("ml/train", "gpu")] * 3,
            ),
        ),
    ),
    "only-together": lambda: conflict(
        [claim(gpu=2, net=2)],
        *everywhere((needs(2, 4, candidates=4), []), (needs(2, 4, request="net"), [])),
    ),
    "counters": _counters,
    "capacity": _capacity,
    "undecided": lambda: conflict([claim(gpu=9)], undecided=("gpu-1", "gpu-2")),
}
