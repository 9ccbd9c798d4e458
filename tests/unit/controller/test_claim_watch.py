# SPDX-License-Identifier: Apache-2.0
"""What changes of a claim tell: devices that failed a pod, and consumers that flap."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from berth.controller.avoided import KEY, Avoided
from berth.controller.claim_watch import ClaimWatch
from berth.controller.flapping import RETURNS
from berth.model.claims import ConsumerReference, DeviceConditions, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference
from berth.model.policy import AllocationPolicy
from berth.model.results import AllocationResult, DeviceResult
from berth.state.cluster import Cluster
from tests.support.builders import a_claim, a_device, a_slice

GPU = DeviceID("gpu.example.com", "node-1", "gpu-0")
RESULT = DeviceResult(
    "gpu", *GPU, binding_conditions=("Ready",), binding_failure_conditions=("Failed",)
)
POD = Pod(
    "default", "pod", uid="uid-of-pod", claims=(PodClaimReference("gpu", claim_name="claim"),)
)


class Said:
    """Stands in for the recorder of events."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def post(self, pod: Pod, _: str, reason: str, message: str, __: str) -> None:
        self.lines.append((f"pod {pod.key}", reason, message))

    def post_about(self, about: Any, _: str, reason: str, message: str, __: str) -> None:
        self.lines.append((f"claim {about.namespace}/{about.name}", reason, message))


class Stage:
    """A ledger with one claim of one pod, and what is said about it."""

    def __init__(self, pod: Pod = POD, *, may_write: bool = True, ours: bool = True) -> None:
        self.cluster = Cluster()
        self.cluster.apply_namespace("default", {})
        if ours:
            self.cluster.apply_policy(AllocationPolicy("everything"))
        self.cluster.apply_pod(pod)
        self.said = Said()
        self.avoided = Avoided(self.cluster, changed=lambda: None, seconds=0.05)
        self.now = 0.0
        self.watch = ClaimWatch(
            self.cluster,
            self.said,  # type: ignore[arg-type] # only these two methods are used
            self.avoided,
            may_write=lambda: may_write,
            clock=lambda: self.now,
        )
        consumer = ConsumerReference("pods", pod.name, pod.uid)
        self.claim = replace(
            a_claim(), allocation=AllocationResult((RESULT,)), reserved_for=(consumer,)
        )
        self.see(self.claim)

    def see(self, claim: ResourceClaim) -> None:
        known = self.cluster.claims.get(claim.key)
        self.cluster.apply_claim(claim)
        self.watch.changed(known, claim)

    def report(self, *true: str) -> None:
        conditions = (DeviceConditions(*GPU, share_id=None, true=frozenset(true)),)
        self.see(replace(self.claim, device_conditions=conditions))

    @property
    def is_avoided(self) -> bool:
        return any(rule.taint.key == KEY for rule in self.cluster.taint_rules.values())


async def test_a_failed_device_of_an_ungated_pod_is_told_of_and_avoided_for_a_while() -> None:
    stage = Stage()
    stage.report("Failed")
    stage.report("Failed", "Other")
    assert stage.said.lines == [
        (
            "pod default/pod",
            "DeviceBindingFailed",
            f"claim default/claim: binding device {GPU} failed: `Failed` is True; the device is "
            "avoided for 0.05 s",
        )
    ]
    assert stage.is_avoided
    async with asyncio.timeout(5):
        while stage.is_avoided:
            await asyncio.sleep(0.01)


async def test_a_failure_of_a_pod_that_was_seen_without_a_gate_too_late_is_told_of() -> None:
    stage = Stage(replace(POD, gates=(SCHEDULING_GATE,)))
    stage.report("Failed")
    assert stage.said.lines == []
    stage.cluster.apply_pod(POD)
    failed = stage.cluster.claims[stage.claim.key]
    stage.see(replace(failed, reserved_for=()))
    stage.see(replace(failed, reserved_for=(), allocation=None))
    assert [line[1] for line in stage.said.lines] == ["DeviceBindingFailed"]
    stage.avoided.close()


async def test_an_allocation_that_is_cleared_before_its_device_was_ready_is_told_of() -> None:
    stage = Stage()
    stage.see(replace(stage.claim, allocation=None, reserved_for=()))
    assert [line[2] for line in stage.said.lines] == [
        "claim default/claim: kube-scheduler has given the allocation up while `Ready` of device "
        f"{GPU} is not True; the device is avoided for 0.05 s"
    ]
    assert stage.is_avoided
    stage.avoided.close()


@pytest.mark.parametrize(
    "stage",
    [
        lambda: Stage(replace(POD, gates=(SCHEDULING_GATE,))),
        lambda: Stage(replace(POD, node_name="node-1")),
        lambda: Stage(replace(POD, deleting=True)),
        lambda: Stage(ours=False),
    ],
    ids=["gated", "bound", "deleting", "not ours"],
)
async def test_devices_of_other_pods_are_nobodys_failure(stage: Any) -> None:
    made = stage()
    made.report("Failed")
    made.see(replace(made.claim, allocation=None, reserved_for=()))
    assert made.said.lines == []
    assert not made.is_avoided


async def test_a_ready_device_that_is_given_back_has_not_failed() -> None:
    stage = Stage()
    stage.report("Ready")
    stage.see(replace(stage.claim, allocation=None, reserved_for=()))
    assert stage.said.lines == []


async def test_who_may_not_write_says_nothing_but_avoids_the_device() -> None:
    stage = Stage(may_write=False)
    stage.report("Failed")
    assert stage.said.lines == []
    assert stage.is_avoided
    stage.avoided.close()


async def test_an_avoided_device_is_tainted_in_decisions() -> None:
    stage = Stage()
    stage.cluster.apply_slice(a_slice([a_device("gpu-0"), a_device("gpu-1")]))
    stage.avoided.avoid([GPU])
    tainted = {
        record.id.device: [str(taint) for taint in record.taints]
        for record in stage.cluster.snapshot().inventory.devices
    }
    assert tainted == {"gpu-0": [f"{KEY}:NoSchedule"], "gpu-1": []}
    stage.avoided.close()


async def test_a_claim_whose_consumer_flaps_is_told_of() -> None:
    stage = Stage()
    for _ in range(RETURNS):
        stage.see(replace(stage.claim, reserved_for=()))
        stage.see(stage.claim)
        stage.now += 0.1
    ((where, reason, _),) = stage.said.lines
    assert (where, reason) == ("claim default/claim", "ClaimConsumersFlapping")
