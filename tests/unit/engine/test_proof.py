# SPDX-License-Identifier: Apache-2.0
"""What counting proves impossible is refused, however hard the rest of the claims is to search."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from berth.engine.outcomes import Allocated, Undecided, Unsatisfiable
from berth.model.claims import ALL, DeviceRequest, ResourceClaim
from berth.model.devices import Device
from tests.support.allocations import a_snapshot, attempt
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_class,
    a_device,
    a_request,
    a_slice,
    devices,
    distinct,
)

NIC = "nic.example.com"
ONLY_0 = f'device.attributes["{NIC}"].index == 0'


def hard() -> ResourceClaim:
    """13 devices of different NUMA nodes where 12 exist: no counting argument covers it."""
    return a_claim(a_request(count=13), name="hard", constraints=[distinct(f"{DRIVER}/numa")])


def outcome_of(
    published: Sequence[Device], *requests: DeviceRequest, in_use: Sequence[str] = ()
) -> object:
    gpus = [a_device(f"d{n}", attributes={"numa": n // 2}) for n in range(24)]
    snapshot = a_snapshot(
        [a_slice(gpus), a_slice(published, driver=NIC)],
        classes=[a_class("gpu"), a_class("nic", driver=NIC)],
        in_use={f"{NIC}/node-1/{name}": "ml/eval" for name in in_use},
    )
    return attempt(snapshot, hard(), a_claim(*requests, name="nics"), budget=500)


def nic(name: str, *selectors: str, count: int = 1, mode: str = "ExactCount") -> DeviceRequest:
    return a_request(name, *selectors, device_class="nic", count=count, mode=mode)


def shared(count: int) -> list[Device]:
    return [a_device(f"gpu-{n}", allow_multiple_allocations=True) for n in range(count)]


def test_where_counting_says_nothing_the_search_gives_up() -> None:
    assert outcome_of(devices(2), nic("a", count=2)) == Undecided(501)


@pytest.mark.parametrize(
    ("published", "requests", "in_use"),
    [
        pytest.param(devices(2), [nic("a", count=3)], [], id="too few"),
        pytest.param(devices(2), [nic("a", count=2)], ["gpu-0"], id="too few that are free"),
        pytest.param(devices(2), [nic("a", mode=ALL)], ["gpu-0"], id="All, and one is in use"),
        pytest.param(devices(2), [nic("a", "false", mode=ALL)], [], id="All of none"),
        pytest.param(shared(2), [nic("a", count=3)], [], id="too few that are shared"),
        pytest.param(
            devices(3), [nic("a", ONLY_0), nic("b", ONLY_0)], [], id="two for the same device"
        ),
        pytest.param(
            devices(4),
            [nic("a", count=2), nic("b", ONLY_0), nic("c", ONLY_0)],
            [],
            id="two for the same device beside others",
        ),
        pytest.param(devices(3), [nic("a", count=2), nic("b", count=2)], [], id="too few together"),
        pytest.param(devices(3), [nic("a", mode=ALL), nic("b")], [], id="All and one more"),
    ],
)
def test_an_impossible_part_ends_the_search_at_once(
    published: Sequence[Device], requests: Sequence[DeviceRequest], in_use: Sequence[str]
) -> None:
    outcome = outcome_of(published, *requests, in_use=in_use)

    assert isinstance(outcome, Unsatisfiable)
    assert outcome.steps <= 30


def test_an_admin_request_needs_no_device_of_its_own() -> None:
    # `a` takes gpu-0 first, which `b` needs: only after that failure is anything counted.
    ordinary = a_claim(nic("a"), nic("b", ONLY_0), name="ordinary")
    admin = a_claim(
        a_request("every", device_class="nic", count=2, admin_access=True), name="admin"
    )
    snapshot = a_snapshot([a_slice(devices(2), driver=NIC)], classes=[a_class("nic", driver=NIC)])
    outcome = attempt(snapshot, ordinary, admin)

    assert isinstance(outcome, Allocated)
    assert [[device.device for device in result.devices] for result in outcome.results] == [
        ["gpu-1", "gpu-0"],
        ["gpu-0", "gpu-1"],
    ]
