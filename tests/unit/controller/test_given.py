# SPDX-License-Identifier: Apache-2.0
"""What kube-scheduler takes back: the node is refused for a while, and the tries become rare."""

from __future__ import annotations

from dataclasses import replace

from berth.controller.given import MAX_PAUSE_SECONDS, REFUSED_SECONDS, Given
from berth.model.claims import ResourceClaim
from berth.model.pods import Pod, PodClaimReference
from berth.model.results import AllocationResult, DeviceResult
from berth.state.cluster import Cluster
from tests.support.builders import a_claim

POD = Pod("default", "pod", uid="u", claims=(PodClaimReference("gpu", claim_name="claim"),))
OPEN = replace(a_claim(), resource_version="1")
GPU = AllocationResult((DeviceResult("gpu", "gpu.example.com", "node-1", "gpu-0"),))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def seen(*versions: ResourceClaim) -> Cluster:
    cluster = Cluster()
    for each in versions:
        cluster.apply_claim(each)
    return cluster


CLEARED = seen(OPEN)
KEPT = seen(OPEN, replace(OPEN, resource_version="2", allocation=GPU))


def test_what_was_given_and_is_there_still_is_not_taken_back() -> None:
    given = Given(Clock())
    assert given.taken_back(CLEARED, POD) == ""
    given.gave(POD, "node-1", (OPEN,))
    assert given.taken_back(KEPT, POD) == ""
    assert given.refused(POD) == frozenset()


def test_the_loss_is_told_once_with_its_node() -> None:
    given = Given(Clock())
    given.gave(POD, "node-1", (OPEN,))
    assert [given.taken_back(CLEARED, POD) for _ in range(2)] == ["node-1", ""]
    assert given.refused(POD) == {"node-1"}


def test_a_claim_of_the_same_name_that_was_made_anew_is_no_loss() -> None:
    given = Given(Clock())
    given.gave(POD, "node-1", (replace(OPEN, uid="an earlier one"),))
    assert given.taken_back(CLEARED, POD) == ""


def test_a_pod_of_the_same_name_begins_anew() -> None:
    given = Given(Clock())
    given.gave(POD, "node-1", (OPEN,))
    given.taken_back(CLEARED, POD)
    assert given.refused(replace(POD, uid="another")) == frozenset()
    assert given.taken_back(CLEARED, replace(POD, uid="another")) == ""


def test_pauses_grow_from_none_to_the_limit() -> None:
    clock = Clock()
    given = Given(clock)
    pauses = []
    for number in range(10):
        given.gave(POD, f"node-{number}", (OPEN,))
        given.taken_back(CLEARED, POD)
        pauses.append(given.pause(POD))
        clock.now += pauses[-1]
    assert pauses == [
        0,
        1,
        2,
        4,
        8,
        16,
        32,
        MAX_PAUSE_SECONDS,
        MAX_PAUSE_SECONDS,
        MAX_PAUSE_SECONDS,
    ]
    assert given.pause(POD) == 0


def test_a_refused_node_may_be_tried_again_after_a_while() -> None:
    clock = Clock()
    given = Given(clock)
    given.gave(POD, "node-1", (OPEN,))
    given.taken_back(CLEARED, POD)
    assert given.next_try(POD) == REFUSED_SECONDS
    clock.now += REFUSED_SECONDS
    assert given.refused(POD) == frozenset()
    assert given.next_try(POD) == 0


def test_what_kube_scheduler_said_before_the_allocation_is_no_news() -> None:
    given = Given(Clock())
    said = replace(POD, unschedulable_message="cannot allocate all claims")
    assert given.is_news(said)
    given.gave(said, "node-1", (OPEN,))
    assert not given.is_news(said)
    assert given.is_news(replace(said, unschedulable_message="Insufficient cpu"))
    given.forget(said.key)
    assert given.is_news(said)
