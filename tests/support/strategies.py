# SPDX-License-Identifier: Apache-2.0
"""Small random clusters and claims for Hypothesis, in which conflicts are likely."""

from __future__ import annotations

from hypothesis import strategies as st

from berth.model.claims import (
    ALL,
    DeviceConstraint,
    DeviceRequest,
    DeviceToleration,
    ExactRequest,
    ResourceClaim,
)
from berth.model.devices import Device, DeviceID
from berth.model.slices import ResourceSlice
from tests.support import builders
from tests.support.oracle import Instance

NET = "net.example.com"
SELECTORS = (
    'device.attributes["gpu.example.com"].?model.orValue("") == "a100"',
    'device.attributes["gpu.example.com"].?numa.orValue(9) == 0',
)
CONSTRAINTS = (
    builders.matching("gpu.example.com/numa"),
    builders.matching("gpu.example.com/model", "r0"),
    builders.distinct("gpu.example.com/numa"),
    builders.distinct("gpu.example.com/model", "r1", "r0/a"),
)
CLASSES = {
    "gpu": builders.a_class(),
    "any": builders.a_class("any", driver=None),
    "net": builders.a_class("net", driver=NET),
}
TOLERATION = DeviceToleration(operator="Exists")


@st.composite
def published_devices(draw: st.DrawFn, most: int = 4) -> tuple[Device, ...]:
    return tuple(
        builders.a_device(
            f"d{number}",
            attributes={
                key: value
                for key, value in (
                    ("numa", draw(st.integers(0, 1))),
                    ("model", draw(st.sampled_from(["a100", "t4"]))),
                )
                if draw(st.integers(0, 9))
            },
            taints=[builders.a_taint()] if draw(st.integers(0, 7)) == 0 else (),
        )
        for number in range(draw(st.integers(0, most)))
    )


@st.composite
def slice_lists(draw: st.DrawFn) -> list[ResourceSlice]:
    """Pools of one or two slices; now and then one is missing, or left from an old generation."""
    found: list[ResourceSlice] = []
    pools = draw(
        st.lists(
            st.sampled_from([("p0", builders.DRIVER), ("p1", builders.DRIVER), ("p0", NET)]),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    for pool, driver in pools:
        slices = draw(st.integers(1, 2))
        want = slices + (draw(st.integers(0, 9)) == 0)
        all_nodes = draw(st.booleans())
        for number in range(slices):
            devices = tuple(
                builders.a_device(f"s{number}{d.name}", taints=d.taints, attributes=d.attributes)
                for d in draw(published_devices(most=3))
            )
            found.append(
                builders.a_slice(
                    devices,
                    name=f"{pool}-{driver}-{number}",
                    driver=driver,
                    pool=pool,
                    generation=2,
                    count=want,
                    all_nodes=all_nodes,
                )
            )
        if draw(st.integers(0, 4)) == 0:
            stale = draw(published_devices(most=2))
            found.append(
                builders.a_slice(
                    stale,
                    name=f"{pool}-{driver}-old",
                    driver=driver,
                    pool=pool,
                    generation=1,
                    all_nodes=all_nodes,
                )
            )
    return found


@st.composite
def bodies(draw: st.DrawFn, name: str = "") -> ExactRequest:
    mode = draw(st.sampled_from(["ExactCount"] * 5 + [ALL]))
    return builders.a_body(
        *draw(st.lists(st.sampled_from(SELECTORS), max_size=1)),
        name=name,
        device_class=draw(st.sampled_from(["gpu", "gpu", "any", "net"])),
        mode=mode,
        count=draw(st.integers(1, 3)),
        admin_access=None if name or draw(st.integers(0, 5)) else True,
        tolerations=[TOLERATION] if draw(st.booleans()) else (),
    )


@st.composite
def requests(draw: st.DrawFn, name: str) -> DeviceRequest:
    if draw(st.integers(0, 3)):
        return DeviceRequest(name, exactly=draw(bodies()))
    return DeviceRequest(name, first_available=(draw(bodies("a")), draw(bodies("b"))))


@st.composite
def claims(draw: st.DrawFn, name: str) -> ResourceClaim:
    count = draw(st.integers(1, 2))
    constraints: list[DeviceConstraint] = draw(
        st.lists(st.sampled_from(CONSTRAINTS), max_size=2, unique_by=repr)
    )
    return builders.a_claim(
        *(draw(requests(f"r{number}")) for number in range(count)),
        name=name,
        constraints=constraints,
    )


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    slices = draw(slice_lists())
    everything = sorted({DeviceID(s.driver, s.pool, d.name) for s in slices for d in s.devices})
    in_use = draw(st.sets(st.sampled_from(everything), max_size=3)) if everything else set()
    return Instance(
        slices=slices,
        classes=CLASSES,
        in_use=frozenset(in_use),
        node=builders.a_node(),
        claims=[draw(claims(f"c{number}")) for number in range(draw(st.integers(1, 2)))],
    )
