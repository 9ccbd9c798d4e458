# SPDX-License-Identifier: Apache-2.0
"""Small random clusters and claims for Hypothesis, in which conflicts are likely."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from berth.model.claims import (
    ALL,
    DeviceConstraint,
    DeviceRequest,
    ExactRequest,
    ResourceClaim,
)
from berth.model.devices import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CounterConsumption,
    Device,
    DeviceCapacity,
    DeviceID,
)
from berth.model.slices import CounterSet, ResourceSlice
from berth.model.tolerations import DeviceToleration
from berth.quantity import Quantity
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
POLICIES = (
    None,
    CapacityRequestPolicy(Quantity.of(1)),
    CapacityRequestPolicy(Quantity.of(1), (Quantity.of(1), Quantity.of(3))),
    CapacityRequestPolicy(
        Quantity.of(1),
        valid_range=CapacityRequestPolicyRange(
            Quantity.of(1), Quantity.of(3), Quantity.parse("500m")
        ),
    ),
    CapacityRequestPolicy(
        Quantity.of(2), valid_range=CapacityRequestPolicyRange(Quantity.of(2), Quantity.of(3))
    ),
)
"""What devices with 4 units of a capacity may allow."""
AMOUNTS = ("500m", "1", "1250m", "2", "3", "4", "4", "5")


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
            taints=[builders.a_taint()] if draw(st.integers(0, 4)) == 0 else (),
        )
        for number in range(draw(st.integers(0, most)))
    )


@st.composite
def with_supply(draw: st.DrawFn, device: Device, *, partitions: bool) -> Device:
    """The device, perhaps consuming a counter, perhaps with a capacity and for sharing."""
    if partitions and draw(st.integers(0, 3)):
        slots = Quantity.of(draw(st.integers(1, 3)))
        device = replace(device, consumes_counters=(CounterConsumption("gpu", {"slots": slots}),))
    if draw(st.integers(0, 3)):
        name = draw(st.sampled_from(["mem", f"{builders.DRIVER}/mem"]))
        shared = draw(st.booleans())
        policy = draw(st.sampled_from(POLICIES)) if shared else None
        device = replace(
            device,
            capacity={name: DeviceCapacity(Quantity.of(4), policy)},
            allow_multiple_allocations=shared,
        )
    return device


@st.composite
def slice_lists(draw: st.DrawFn, *, supplied: bool = False) -> list[ResourceSlice]:
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
        partitions = supplied and draw(st.booleans())
        want = slices + partitions + (draw(st.integers(0, 9)) == 0)
        all_nodes = draw(st.booleans())
        for number in range(slices):
            devices = tuple(
                replace(d, name=f"s{number}{d.name}") for d in draw(published_devices(most=3))
            )
            if supplied:
                devices = tuple(draw(with_supply(d, partitions=partitions)) for d in devices)
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
        if partitions:
            slots = Quantity.of(draw(st.integers(1, 6)))
            counters = CounterSet("gpu" if draw(st.integers(0, 9)) else "other", {"slots": slots})
            budget = builders.a_slice(
                name=f"{pool}-{driver}-counters",
                driver=driver,
                pool=pool,
                generation=2,
                count=want,
                all_nodes=all_nodes,
            )
            found.append(replace(budget, shared_counters=(counters,)))
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
def bodies(draw: st.DrawFn, name: str = "", *, supplied: bool = False) -> ExactRequest:
    mode = draw(st.sampled_from(["ExactCount"] * 5 + [ALL]))
    return builders.a_body(
        *draw(st.lists(st.sampled_from(SELECTORS), max_size=1)),
        name=name,
        device_class=draw(
            st.sampled_from(
                ["gpu", "any", "any", "any"] if supplied else ["gpu", "gpu", "any", "net"]
            )
        ),
        mode=mode,
        count=draw(st.sampled_from([1, 1, 1, 2, 3]) if supplied else st.integers(1, 3)),
        admin_access=None if name or draw(st.integers(0, 5)) else True,
        tolerations=[TOLERATION] if draw(st.booleans()) else (),
        capacity=draw(amounts()) if supplied else None,
    )


@st.composite
def amounts(draw: st.DrawFn) -> dict[str, str] | None:
    if draw(st.integers(0, 2)):
        return None
    name = draw(st.sampled_from(["mem"] * 4 + [f"{builders.DRIVER}/mem", "cores"]))
    return {name: draw(st.sampled_from(AMOUNTS))}


@st.composite
def requests(draw: st.DrawFn, name: str, *, supplied: bool = False) -> DeviceRequest:
    if draw(st.integers(0, 3)):
        return DeviceRequest(name, exactly=draw(bodies(supplied=supplied)))
    alternatives = tuple(draw(bodies(each, supplied=supplied)) for each in ("a", "b"))
    return DeviceRequest(name, first_available=alternatives)


@st.composite
def claims(draw: st.DrawFn, name: str, *, supplied: bool = False) -> ResourceClaim:
    count = draw(st.integers(1, 2))
    constraints: list[DeviceConstraint] = draw(
        st.lists(st.sampled_from(CONSTRAINTS), max_size=2, unique_by=repr)
    )
    return builders.a_claim(
        *(draw(requests(f"r{number}", supplied=supplied)) for number in range(count)),
        name=name,
        constraints=constraints,
    )


@st.composite
def instances(draw: st.DrawFn, *, supplied: bool = False) -> Instance:
    """Problems; with ``supplied`` some devices have counters, or capacity, or can be shared."""
    slices = draw(slice_lists(supplied=supplied))
    everything = sorted({DeviceID(s.driver, s.pool, d.name) for s in slices for d in s.devices})
    in_use = draw(st.sets(st.sampled_from(everything), max_size=3)) if everything else set()
    return Instance(
        slices=slices,
        classes=CLASSES,
        in_use=frozenset(in_use),
        node=builders.a_node(),
        claims=[
            draw(claims(f"c{number}", supplied=supplied))
            for number in range(draw(st.integers(1, 2)))
        ],
        shares=draw(shares_of(slices, in_use)) if supplied else {},
    )


@st.composite
def shares_of(
    draw: st.DrawFn, slices: list[ResourceSlice], in_use: set[DeviceID]
) -> dict[DeviceID, dict[str, Quantity]]:
    """What is consumed of some shared devices, now and then of one that became exclusive."""
    found: dict[DeviceID, dict[str, Quantity]] = {}
    for each in slices:
        for device in each.devices:
            known = DeviceID(each.driver, each.pool, device.name)
            rare = 2 if device.allow_multiple_allocations else 15
            if known in in_use or each.generation == 1 or draw(st.integers(0, rare)):
                continue
            amount = Quantity.of(draw(st.integers(1, 3)))
            found[known] = dict.fromkeys(device.capacity, amount)
    return found
