# SPDX-License-Identifier: Apache-2.0
"""More given away than there is: whole devices, shares, capacity, counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.audit.finding import Severity
from berth.model.pods import PodKey
from tests.support.audits import (
    a_cluster,
    a_pod,
    a_result,
    a_share,
    a_sound_cluster,
    an_allocation,
    found,
    holding,
    keys,
    only,
)
from tests.support.builders import a_device, a_slice, devices

P = a_pod("p", "a", "b", "c")
DEVICE = "gpu.example.com/node-1"


def test_a_sound_cluster_has_no_findings() -> None:
    assert found(a_sound_cluster()) == []


def test_a_device_that_two_claims_hold_is_an_error_that_counts_at_once() -> None:
    finding = only(a_sound_cluster(holding("b")))

    assert finding.kind == "DeviceHeldTwice"
    assert finding.severity is Severity.ERROR
    assert not finding.settles
    assert finding.evidence == f"device {DEVICE}/gpu-0: held by 2 claims: ml/a, ml/b"
    assert [each.uid for each in finding.objects] == ["uid-of-a", "uid-of-b"]
    assert finding.repair is None
    assert "all but one of the claims" in finding.remedy


def test_three_holders_are_one_finding() -> None:
    finding = only(a_sound_cluster(holding("b"), holding("c")))

    assert keys(finding) == ["ml/a", "ml/b", "ml/c"]


def test_admin_access_holds_nothing() -> None:
    watching = holding("b", a_result(admin_access=True))

    assert found(a_sound_cluster(watching, holding("c", a_result(admin_access=True)))) == []


def test_the_same_name_in_another_pool_is_another_device() -> None:
    other = a_slice(devices(1), pool="other", name="other")
    elsewhere = holding("b", a_result("gpu-0", pool="other"))

    assert found(a_sound_cluster(other, elsewhere)) == []


def test_a_device_that_one_claim_lists_twice_has_one_holder() -> None:
    assert found(a_cluster(a_slice(devices(1)), holding("a", a_result(), a_result()), P)) == []


def test_what_berth_has_decided_and_not_seen_does_not_count() -> None:
    cluster = a_sound_cluster(replace(holding("b"), allocation=None, reserved_for=()))
    (key,) = [each for each in cluster.claims if each.name == "b"]
    cluster.assume(PodKey("ml", "q"), None, {key: an_allocation()})

    assert found(cluster) == []


SHARED = a_slice([a_device("gpu-0", allow_multiple_allocations=True, capacity={"memory": "10Gi"})])


def test_shares_of_one_device_are_no_overlap() -> None:
    first = holding("a", a_share("gpu-0", "s1", memory="5Gi"))
    second = holding("b", a_share("gpu-0", "s2", memory="5Gi"))

    assert found(a_cluster(SHARED, first, second, P)) == []


def test_one_share_that_two_claims_hold_is_found() -> None:
    first = holding("a", a_share("gpu-0", "s1", memory="1Gi"))
    second = holding("b", a_share("gpu-0", "s1", memory="1Gi"))
    third = holding("c", a_share("gpu-0", "s2", memory="1Gi"))

    finding = only(a_cluster(SHARED, first, second, third, P))

    assert finding.evidence == f"device {DEVICE}/gpu-0, share s1: held by 2 claims: ml/a, ml/b"


def test_a_device_that_is_held_as_a_whole_and_in_shares_is_found() -> None:
    first = holding("b", a_share("gpu-0", "s1", memory="1Gi"))

    finding = only(a_cluster(SHARED, holding("a"), first, P))

    assert finding.evidence == (
        f"device {DEVICE}/gpu-0: held as a whole and in shares by different claims: whole ml/a, "
        "shares ml/b"
    )


def test_a_claim_that_holds_the_whole_and_a_share_is_alone() -> None:
    both = holding("a", a_result(), a_share("gpu-0", "s1", memory="1Gi"))

    assert found(a_cluster(SHARED, both, P)) == []


@pytest.mark.parametrize("name", ["memory", "gpu.example.com/memory"])
def test_more_capacity_than_there_is_is_found(name: str) -> None:
    first = holding("a", a_share("gpu-0", "s1", **{name: "6Gi"}))
    second = holding("b", a_share("gpu-0", "s2", memory="5Gi"))

    assert found(a_cluster(SHARED, first, second, P)) == [
        f"CapacityOverCommitted: device {DEVICE}/gpu-0, capacity memory: over-committed: 11Gi "
        "consumed, 10Gi published: claims ml/a, ml/b"
    ]


def test_shares_of_a_device_that_cannot_be_shared_are_found() -> None:
    first, second = holding("a", a_share("gpu-0", "s1")), holding("b", a_share("gpu-0", "s2"))

    assert found(a_cluster(a_slice(devices(1)), first, second, P)) == [
        f"DeviceNotShareable: device {DEVICE}/gpu-0: shared by 2 claims, but published without "
        "`allowMultipleAllocations`: ml/a, ml/b"
    ]
    assert found(a_cluster(a_slice(devices(1)), first, P)) == []


def partitions(**counters: str) -> list[object]:
    """A pool with a counter of 4, whose devices each consume what is said."""
    made = [
        a_device(name.replace("_", "-"), consumes={"card": {"cores": amount}})
        for name, amount in counters.items()
    ]
    return [a_slice(made, counter_sets={"card": {"cores": "4"}})]


def test_counters_that_are_just_used_up_are_fine() -> None:
    pool = partitions(half_0="2", half_1="2", full="4")
    first, second = holding("a", a_result("half-0")), holding("b", a_result("half-1"))

    assert found(a_cluster(*pool, first, second, P)) == []


def test_counters_that_are_over_committed_are_found_with_devices_and_claims() -> None:
    pool = partitions(half_0="2", half_1="2", full="4")
    first, second = holding("a", a_result("half-0")), holding("b", a_result("full"))

    assert found(a_cluster(*pool, first, second, P)) == [
        "CountersOverCommitted: pool gpu.example.com/node-1, counter card/cores: over-committed: "
        "6 consumed, 4 published: devices half-0, full (claims ml/a, ml/b)"
    ]


def test_a_device_in_shares_is_charged_to_the_counters_once() -> None:
    shared = a_device("half-0", consumes={"card": {"cores": "3"}}, allow_multiple_allocations=True)
    pool = a_slice([shared], counter_sets={"card": {"cores": "4"}})
    first, second = holding("a", a_share("half-0", "s1")), holding("b", a_share("half-0", "s2"))

    assert found(a_cluster(pool, first, second, P)) == []


def test_admin_access_consumes_no_counters() -> None:
    pool = partitions(half_0="2", half_1="2", full="4")
    first, second = (
        holding("a", a_result("half-0")),
        holding("b", a_result("full", admin_access=True)),
    )

    assert found(a_cluster(*pool, first, second, P)) == []
