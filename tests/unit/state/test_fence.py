# SPDX-License-Identifier: Apache-2.0
"""The fence: which devices are behind it, and which claims kube-scheduler could reach."""

from __future__ import annotations

import pytest

from berth.model.claims import ResourceClaim
from berth.model.devices import TaintEffect
from berth.model.fence import FENCE_KEY
from berth.model.slices import DeviceTaintRule
from berth.model.tolerations import DeviceToleration
from berth.state.cluster import Cluster
from berth.state.fence import Hole, Reach
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_device,
    a_request,
    a_slice,
    a_taint,
    a_taint_rule,
    first_available,
)

OTHER = "nic.example.com"
FENCE = a_taint(FENCE_KEY, "reserved")
CLAIM = a_claim()


def fenced(*rules: DeviceTaintRule, settled: bool = True) -> Cluster:
    cluster = Cluster()
    cluster.apply_class(a_class())
    cluster.apply_slice(a_slice([a_device("gpu-0"), a_device("gpu-1")]))
    for rule in rules:
        cluster.apply_taint_rule(rule)
        if settled:
            cluster.settle_fence(rule)
    return cluster


def holes_of(cluster: Cluster, claim: ResourceClaim = CLAIM) -> tuple[Hole, ...]:
    return cluster.published.holes(claim.spec)


UNFENCED = (Hole("gpu", "gpu", (DRIVER,), partly=False),)


@pytest.mark.parametrize(
    ("rule", "want"),
    [
        pytest.param(a_taint_rule("f", FENCE, driver=DRIVER), (), id="the driver"),
        pytest.param(a_taint_rule("f", FENCE, driver=DRIVER, pool="node-1"), (), id="its pool"),
        pytest.param(a_taint_rule("f", FENCE, driver=DRIVER, pool="p"), UNFENCED, id="a pool"),
        pytest.param(
            a_taint_rule("f", FENCE, driver=DRIVER, device="gpu-0"),
            (Hole("gpu", "gpu", (DRIVER,)),),
            id="one of two",
        ),
        pytest.param(a_taint_rule("f", FENCE, driver=OTHER), UNFENCED, id="another driver"),
        pytest.param(a_taint_rule("f", a_taint("other"), driver=DRIVER), UNFENCED, id="other key"),
        pytest.param(
            a_taint_rule("f", a_taint(FENCE_KEY, effect=TaintEffect.NO_EXECUTE), driver=DRIVER),
            UNFENCED,
            id="a fence that evicts is none",
        ),
        pytest.param(a_taint_rule("f", FENCE, has_selector=False), UNFENCED, id="no selector"),
    ],
)
def test_a_claim_is_fenced_where_every_device_that_it_matches_is(
    rule: DeviceTaintRule, want: tuple[Hole, ...]
) -> None:
    assert holes_of(fenced(rule)) == want


def test_a_rule_counts_only_when_it_has_settled_and_anew_after_each_change() -> None:
    rule = a_taint_rule("f", FENCE, driver=DRIVER)
    cluster = fenced(rule, settled=False)
    assert holes_of(cluster) == UNFENCED
    cluster.settle_fence(rule)
    assert holes_of(cluster) == ()
    narrower = a_taint_rule("f", FENCE, driver=DRIVER, pool="node-1")
    cluster.apply_taint_rule(narrower)
    assert holes_of(cluster) == UNFENCED
    cluster.settle_fence(rule)  # Late: that rule is no more.
    assert holes_of(cluster) == UNFENCED
    cluster.settle_fence(narrower)
    assert holes_of(cluster) == ()
    cluster.remove_taint_rule("f")
    assert holes_of(cluster) == UNFENCED


def test_a_rule_that_becomes_another_taint_is_the_fence_no_more() -> None:
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER))
    cluster.apply_taint_rule(a_taint_rule("f", a_taint("maintenance"), driver=DRIVER))
    assert holes_of(cluster) == UNFENCED
    assert set(cluster.taint_rules) == {"f"}


def test_berth_looks_past_the_fence_and_past_no_other_taint() -> None:
    rule = a_taint_rule("f", FENCE, driver=DRIVER)
    other = a_taint_rule("g", a_taint("maintenance"), driver=DRIVER)
    taints = [
        [taint.key for taint in device.taints]
        for device in fenced(rule, other).snapshot().inventory.devices
    ]
    assert taints == [["maintenance"], ["maintenance"]]


def test_a_driver_may_put_up_the_fence_itself() -> None:
    cluster = fenced()
    bare = a_slice([a_device("gpu-0"), a_device("gpu-1")])
    own = a_slice([a_device("gpu-0", taints=[FENCE]), a_device("gpu-1", taints=[FENCE])])
    assert holes_of(cluster) == UNFENCED
    cluster.apply_slice(own)
    assert holes_of(cluster) == ()
    assert [device.taints for device in cluster.snapshot().inventory.devices] == [(), ()]
    cluster.apply_slice(bare)
    assert holes_of(cluster) == UNFENCED


@pytest.mark.parametrize(
    ("toleration", "want"),
    [
        pytest.param(DeviceToleration(FENCE_KEY, "Exists"), True, id="the fence's key"),
        pytest.param(DeviceToleration(FENCE_KEY, value="reserved"), True, id="key and value"),
        pytest.param(DeviceToleration(operator="Exists"), True, id="every key"),
        pytest.param(
            DeviceToleration(operator="Exists", effect="NoExecute"), False, id="eviction only"
        ),
        pytest.param(DeviceToleration("maintenance", "Exists"), False, id="another key"),
    ],
)
def test_a_toleration_of_the_fence_is_a_hole(toleration: DeviceToleration, *, want: bool) -> None:
    claim = a_claim(a_request(tolerations=[toleration]))
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER))
    assert holes_of(cluster, claim) == ((Hole("gpu", "gpu"),) if want else ())


def test_a_selector_of_the_request_keeps_unfenced_devices_out() -> None:
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER))
    cluster.apply_class(a_class(driver=None))
    cluster.apply_slice(a_slice([a_device("nic-0")], name="nics", driver=OTHER))
    assert holes_of(cluster) == (Hole("gpu", "gpu", (OTHER,)),)
    assert cluster.published.reach_of_class("gpu") == Reach(frozenset({DRIVER}), frozenset({OTHER}))
    only = a_claim(a_request("gpu", f'device.driver == "{DRIVER}"'))
    assert holes_of(cluster, only) == ()
    cluster.remove_slice("nics")
    assert holes_of(cluster) == ()


def test_a_class_that_changes_is_looked_at_anew() -> None:
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER, pool="elsewhere"))
    assert holes_of(cluster) == UNFENCED
    cluster.apply_class(a_class(driver="none.example.com"))
    assert holes_of(cluster) == ()
    assert cluster.published.reach_of_class("gpu") == Reach()
    cluster.remove_class("gpu")
    assert cluster.published.reach_of_class("gpu") == Reach()


def test_every_alternative_of_a_request_must_be_fenced() -> None:
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER))
    cluster.apply_class(a_class("nic", driver=OTHER))
    cluster.apply_slice(a_slice([a_device("nic-0")], name="nics", driver=OTHER))
    claim = a_claim(
        first_available("gpu", a_body(name="first"), a_body(name="second", device_class="nic"))
    )
    assert holes_of(cluster, claim) == (Hole("gpu/second", "nic", (OTHER,), partly=False),)


def test_a_request_with_admin_access_is_no_hole_whatever_it_tolerates() -> None:
    everything = DeviceToleration(operator="Exists")
    claim = a_claim(a_request(admin_access=True, tolerations=[everything]))
    assert holes_of(fenced(a_taint_rule("f", FENCE, driver=DRIVER)), claim) == ()


def test_what_a_rule_fenced_is_opening_until_its_end_has_settled() -> None:
    rule = a_taint_rule("f", FENCE, driver=DRIVER)
    cluster = fenced(rule)
    assert not cluster.published.is_opening(CLAIM.spec)
    cluster.remove_taint_rule("f")
    assert cluster.published.is_opening(CLAIM.spec)
    assert holes_of(cluster) == UNFENCED
    cluster.settle_fence(rule)
    assert not cluster.published.is_opening(CLAIM.spec)
    assert holes_of(cluster) == UNFENCED


def test_a_rule_that_is_replaced_opens_what_only_the_old_one_fenced() -> None:
    cluster = fenced(a_taint_rule("f", FENCE, driver=DRIVER))
    narrower = a_taint_rule("f", FENCE, driver=DRIVER, device="gpu-0")
    cluster.apply_taint_rule(narrower)
    cluster.settle_fence(narrower)
    only_the_first = a_claim(a_request("gpu", 'device.driver == "none"'))
    assert cluster.published.is_opening(CLAIM.spec)
    assert not cluster.published.is_opening(only_the_first.spec)
