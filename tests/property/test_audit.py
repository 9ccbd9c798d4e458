# SPDX-License-Identifier: Apache-2.0
"""On any ledger the audit finds exactly what a plain count over all claims finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.audit.findings_devices import (
    CapacityOverCommitted,
    CountersOverCommitted,
    DeviceHeldTwice,
    DeviceNotShareable,
)
from berth.audit.open_findings import OpenFindings
from berth.audit.sweep import DeviceUnit, audit, judge
from berth.audit.view import Scope, View
from berth.model.claims import ResourceClaim
from berth.model.results import AllocationResult, DeviceResult
from berth.quantity import Quantity
from berth.state.cluster import Cluster
from tests.support.audits import NOW, a_cluster, holding
from tests.support.builders import DRIVER, NODE, a_device, a_slice

pytestmark = pytest.mark.property

DEVICES = ("whole-0", "whole-1", "shared-0", "part-0", "part-1")
POOL = a_slice(
    [
        a_device("whole-0"),
        a_device("whole-1"),
        a_device("shared-0", allow_multiple_allocations=True, capacity={"memory": "4"}),
        a_device("part-0", consumes={"card": {"cores": "2"}}),
        a_device("part-1", consumes={"card": {"cores": "3"}}),
    ],
    counter_sets={"card": {"cores": "4"}},
)

exclusive = st.builds(
    lambda device, admin: DeviceResult("gpu", DRIVER, NODE, device, admin_access=admin),
    st.sampled_from(DEVICES),
    st.sampled_from([False, False, False, True]),
)
shares = st.builds(
    lambda device, share, amount: DeviceResult(
        "gpu", DRIVER, NODE, device, share_id=share, consumed_capacity={"memory": amount}
    ),
    st.sampled_from(DEVICES[1:3]),
    st.sampled_from(["s", "t"]),
    st.integers(0, 3).map(Quantity.of),
)
claims = st.lists(st.lists(exclusive | shares, max_size=3).map(tuple), min_size=1, max_size=4).map(
    lambda given: [
        holding(f"c{number}", allocation=AllocationResult(results))
        for number, results in enumerate(given)
    ]
)


def results_of(claims: Sequence[ResourceClaim]) -> list[tuple[str, DeviceResult]]:
    return [
        (claim.name, result)
        for claim in claims
        if claim.allocation is not None
        for result in claim.allocation.devices
        if not result.admin_access
    ]


def held_twice(claims: Sequence[ResourceClaim]) -> set[tuple[str, frozenset[str]]]:
    """Compare every result with every other one, in the plainest way."""
    clashes: dict[str, set[str]] = defaultdict(set)
    for one, first in results_of(claims):
        for other, second in results_of(claims):
            if one == other or first.device != second.device:
                continue
            both_are_shares = first.share_id is not None and second.share_id is not None
            if not both_are_shares or first.share_id == second.share_id:
                clashes[first.device] |= {one, other}
    return {(device, frozenset(names)) for device, names in clashes.items()}


def found_twice(cluster: Cluster) -> set[tuple[str, frozenset[str]]]:
    clashes: dict[str, set[str]] = defaultdict(set)
    for each in audit(cluster, NOW, Scope()):
        if isinstance(each, DeviceHeldTwice):
            clashes[each.device.device] |= {ref.name for ref in each.objects}
    return {(device, frozenset(names)) for device, names in clashes.items()}


@given(claims)
def test_devices_held_twice_are_those_of_a_plain_comparison(claims: list[ResourceClaim]) -> None:
    assert found_twice(a_cluster(POOL, *claims)) == held_twice(claims)


@given(claims)
def test_over_commitment_is_that_of_a_plain_sum(claims: list[ResourceClaim]) -> None:
    results = results_of(claims)
    memory = sum(
        (result.consumed_capacity or {}).get("memory", Quantity(0)).nanos
        for _, result in results
        if result.device == "shared-0" and result.share_id is not None
    )
    used = {result.device for _, result in results}
    cores = 2 * ("part-0" in used) + 3 * ("part-1" in used)
    sharers = {name for name, result in results if result.device == "whole-1" and result.share_id}

    kinds = [type(each) for each in audit(a_cluster(POOL, *claims), NOW, Scope())]

    assert (CapacityOverCommitted in kinds) == (memory > Quantity.of(4).nanos)
    assert (CountersOverCommitted in kinds) == (cores > 4)
    assert (DeviceNotShareable in kinds) == (len(sharers) > 1)


@given(st.lists(claims, min_size=2, max_size=4))
def test_event_by_event_the_same_devices_are_open_as_at_once(
    history: list[list[ResourceClaim]],
) -> None:
    """What the operator does: after each event only the devices of that claim are judged."""
    cluster = a_cluster(POOL)
    known = OpenFindings()
    version = 1
    for state in history:
        for claim in state:
            version += 1
            before = cluster.claims.get(claim.key)
            cluster.apply_claim(replace(claim, resource_version=str(version)))
            touched = {result.device_id for _, result in results_of([claim])}
            touched |= {result.device_id for _, result in results_of([before] if before else [])}
            view = View.of(cluster, NOW, Scope())
            for device in touched:
                known.update(DeviceUnit(device), judge(view, DeviceUnit(device)), NOW)

    want = [each for each in audit(cluster, NOW, Scope()) if isinstance(each, DeviceHeldTwice)]
    assert {each.key for each in known.open()} == {each.key for each in want}
