# SPDX-License-Identifier: Apache-2.0
"""Every reason as a sentence, for one and for several."""

from __future__ import annotations

import pytest

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
    Rejection,
    SelectorFailed,
    SelectorFalse,
    Tainted,
    TakenInThisAttempt,
)
from berth.explain.conflict import DeviceGroup, NodeReasonGroup
from berth.explain.sentences import device_sentence, node_sentence
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID, DeviceTaint, TaintEffect
from berth.model.nodes import NodeTaint
from berth.model.placement import (
    ClaimElsewhere,
    DeviceResourceShort,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    PodLevelShort,
    ResourceShort,
)
from berth.model.pods import HostPort
from berth.quantity import Quantity

OTHER = DeviceID("gpu.example.com", "node-1", "gpu-7")


def q(text: str) -> Quantity:
    return Quantity.parse(text)


@pytest.mark.parametrize(
    ("reason", "one", "two"),
    [
        (NodeNotReady(), "is not ready", "are not ready"),
        (NodeUnschedulable(), "is unschedulable (cordoned)", "are unschedulable (cordoned)"),
        (
            NodeTaintNotTolerated(NodeTaint("dedicated", "gpu", "NoSchedule")),
            "has taint dedicated=gpu:NoSchedule, which the pod does not tolerate",
            "have taint dedicated=gpu:NoSchedule, which the pod does not tolerate",
        ),
        (
            NodeTaintNotTolerated(NodeTaint("control-plane", "", "NoExecute")),
            "has taint control-plane:NoExecute, which the pod does not tolerate",
            "have taint control-plane:NoExecute, which the pod does not tolerate",
        ),
        (
            NodeSelectorMismatch("disk", "ssd"),
            "lacks label disk=ssd, which the pod's nodeSelector wants",
            "lack label disk=ssd, which the pod's nodeSelector wants",
        ),
        (
            NodeAffinityMismatch(),
            "does not match the pod's required node affinity",
            "do not match the pod's required node affinity",
        ),
        (
            ResourceShort("cpu", 4000, 1500),
            "is short of cpu: the pod wants 4, 1500m is free",
            "are short of cpu: the pod wants 4, at most 1500m is free",
        ),
        (
            ResourceShort("pods", 1, 0),
            "has no room for one more pod",
            "have no room for one more pod",
        ),
        (
            DeviceResourceShort("cpu", 6000, 4500, 4000),
            "is short of cpu with the devices chosen there: the pod wants 6, 4 of it for devices, "
            "4500m is free",
            "are short of cpu with the devices chosen there: on the nearest the pod wants 6, "
            "4 of it for devices, 4500m is free",
        ),
        (
            DeviceResourceShort("memory", 2 << 30, -1, 1 << 30),
            "is short of memory with the devices chosen there: the pod wants 2Gi, 1Gi of it for "
            "devices, 0 is free",
            "are short of memory with the devices chosen there: on the nearest the pod wants 2Gi, "
            "1Gi of it for devices, 0 is free",
        ),
        (
            PodLevelShort("cpu", 4000, 1000),
            "has devices that take 4 of cpu, for which the pod-level request leaves 1",
            "have devices that take 4 of cpu, for which the pod-level request leaves 1",
        ),
        (
            HostPortTaken(HostPort("TCP", 80)),
            "has host port TCP 80 taken by another pod",
            "have host port TCP 80 taken by another pod",
        ),
        (
            HostPortTaken(HostPort("UDP", 53, "10.0.0.1")),
            "has host port UDP 53 on 10.0.0.1 taken by another pod",
            "have host port UDP 53 on 10.0.0.1 taken by another pod",
        ),
        (
            ClaimElsewhere(ClaimKey("ml", "data")),
            "cannot reach the devices that claim ml/data is allocated",
            "cannot reach the devices that claim ml/data is allocated",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_reason_of_nodes_is_a_sentence(reason: NodeReason, one: str, two: str) -> None:
    assert node_sentence(NodeReasonGroup(reason, ("n1",))) == f"1 node {one}"
    assert node_sentence(NodeReasonGroup(reason, ("n1", "n2"))) == f"2 nodes {two}"


@pytest.mark.parametrize(
    ("rejection", "one", "two", "rest"),
    [
        (
            SelectorFalse("request", 0, "device.driver == 'x'"),
            "does",
            "do",
            "not match selector #0 of the request: `device.driver == 'x'`",
        ),
        (
            SelectorFailed("class gpu", 1, "device.x", "no such key"),
            "makes",
            "make",
            "selector #1 of class gpu fail: no such key: `device.x`",
        ),
        (InUse(("ml/a",)), "is", "are", "in use (claim ml/a)"),
        (InUse(("ml/a", "ml/b")), "is", "are", "in use (claims ml/a, ml/b)"),
        (InUse(()), "is", "are", "in use"),
        (
            TakenInThisAttempt("ml/own", "gpu"),
            "is",
            "are",
            "needed for claim ml/own, request gpu of the same pod",
        ),
        (
            Tainted(DeviceTaint("unhealthy", "", TaintEffect.NO_SCHEDULE)),
            "has",
            "have",
            "taint unhealthy:NoSchedule, which is not tolerated",
        ),
        (
            Tainted(DeviceTaint("unhealthy", "yes", TaintEffect.NO_EXECUTE, "maintenance")),
            "has",
            "have",
            "taint unhealthy=yes:NoExecute (DeviceTaintRule maintenance), which is not tolerated",
        ),
        (
            AttributeMissing("matchAttribute", "numa"),
            "does",
            "do",
            "not publish attribute numa, which a matchAttribute constraint needs",
        ),
        (
            ConstraintRefused("matchAttribute", "numa", "0", OTHER, "1"),
            "differs",
            "differ",
            "in attribute numa, against a matchAttribute constraint: `0` beside `1` of gpu-7",
        ),
        (
            ConstraintRefused("distinctAttribute", "numa", "0", OTHER, "0"),
            "repeats",
            "repeat",
            "attribute numa, against a distinctAttribute constraint: `0` beside `0` of gpu-7",
        ),
        (FeatureOff("DRADeviceTaints"), "needs", "need", "feature DRADeviceTaints, which is off"),
        (
            CounterShort("gpu", "slots", q("2"), q("-3")),
            "finds",
            "find",
            "counter slots 2 short: 2 is wanted, nothing is left",
        ),
        (
            CompatibilityRefused("gpu", ("a", "b"), ()),
            "has",
            "have",
            "no compatibility group in common with the other devices in use of counter set gpu: "
            "a, b beside none",
        ),
        (
            CapacityMissing("mem"),
            "does",
            "do",
            "not publish capacity mem, which the request asks for",
        ),
        (
            CapacityPolicy("mem", q("6"), "one of 2, 4"),
            "does",
            "do",
            "not give 6 of capacity mem: the request policy allows one of 2, 4",
        ),
        (
            CapacityShort("mem", q("6"), q("0")),
            "has",
            "have",
            "capacity mem 6 short: 6 is wanted, nothing is left",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rejection_is_a_sentence(rejection: Rejection, one: str, two: str, rest: str) -> None:
    several = DeviceID("gpu.example.com", "node-1", "gpu-0"), OTHER

    assert device_sentence(DeviceGroup(rejection, several[:1])) == f"1 device {one} {rest}"
    assert device_sentence(DeviceGroup(rejection, several)) == f"2 devices {two} {rest}"


@pytest.mark.parametrize(
    ("rejection", "one", "two"),
    [
        (
            CounterShort("gpu", "memory", q("20Gi"), q("10Gi")),
            "1 device finds counter memory 10Gi short: 20Gi is wanted, 10Gi is left",
            "2 devices find counter memory at least 10Gi short: 20Gi is wanted, "
            "at most 10Gi is left",
        ),
        (
            CapacityShort("mem", q("6"), q("4")),
            "1 device has capacity mem 2 short: 6 is wanted, 4 is left",
            "2 devices have capacity mem at least 2 short: 6 is wanted, at most 4 is left",
        ),
    ],
    ids=["counter", "capacity"],
)
def test_of_several_devices_the_nearest_miss_is_told(
    rejection: Rejection, one: str, two: str
) -> None:
    several = DeviceID("gpu.example.com", "node-1", "gpu-0"), OTHER

    assert device_sentence(DeviceGroup(rejection, several[:1])) == one
    assert device_sentence(DeviceGroup(rejection, several)) == two
