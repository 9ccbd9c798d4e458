# SPDX-License-Identifier: Apache-2.0
"""A whole problem as a value, and whether its counters and capacity last for a choice of devices.

Shares no code with ``berth.engine``. Amounts are nano-units; what a policy allows is listed, and
the least that suffices is looked up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from berth.model.claims import ExactRequest, RequestRef, ResourceClaim
from berth.model.devices import Device, DeviceCapacity, DeviceID, PoolID
from berth.model.nodes import Node
from berth.model.slices import DeviceClass, ResourceSlice
from berth.quantity import Quantity

Choice = tuple[int, RequestRef, ExactRequest, tuple["Published", ...]]
"""The index of a claim, a request or alternative of it, and the devices given to it."""


@dataclass(frozen=True, eq=False)
class Published:
    id: DeviceID
    device: Device
    driver: str

    @property
    def is_shared(self) -> bool:
        return self.device.allow_multiple_allocations


@dataclass(frozen=True)
class Instance:
    """A whole problem: is there a choice of devices for ``claims`` on ``node``?

    ``shares`` is what the shares that are out consume of each device.
    """

    slices: Sequence[ResourceSlice]
    classes: Mapping[str, DeviceClass]
    in_use: frozenset[DeviceID]
    node: Node
    claims: Sequence[ResourceClaim]
    shares: Mapping[DeviceID, Mapping[str, Quantity]] = field(default_factory=dict)


def is_consistent(slices: Sequence[ResourceSlice]) -> bool:
    """Tell whether the counters that the devices of one pool consume are all there, once."""
    sets = [each for published in slices for each in published.shared_counters]
    counters = {(each.name, name) for each in sets for name in each.counters}
    return len({each.name for each in sets}) == len(sets) and all(
        key in counters for s in slices for d in s.devices for key, _ in _charge(d)
    )


def consumption(body: ExactRequest, published: Published) -> dict[str, int] | None:
    """Return what a share consumes, or ``None`` where the device cannot serve the request."""

    def full(name: str) -> str:
        return name if "/" in name else f"{published.driver}/{name}"

    asked = {full(name): amount.nanos for name, amount in (body.capacity_requests or {}).items()}
    found: dict[str, int] = {}
    for name, capacity in published.device.capacity.items():
        amount = _least(capacity, asked.pop(full(name), None))
        if amount is None or amount > capacity.value.nanos:
            return None
        found[name] = amount
    return None if asked else found


def _least(capacity: DeviceCapacity, asked: int | None) -> int | None:
    policy = capacity.request_policy
    default = None if policy is None else policy.default
    if asked is None:
        return (capacity.value if default is None else default).nanos
    if policy is None:
        return asked
    if policy.valid_values:
        return min((v.nanos for v in policy.valid_values if v.nanos >= asked), default=None)
    limits = policy.valid_range
    if limits is None:
        return asked
    most = capacity.value.nanos if limits.max is None else limits.max.nanos
    if limits.step is None:
        amount = max(asked, limits.min.nanos)
        return amount if amount <= most else None
    grid = range(limits.min.nanos, most + 1, limits.step.nanos)
    return min((each for each in grid if each >= asked), default=None)


def lasts(instance: Instance, choices: Sequence[Choice]) -> bool:
    """Tell whether counters and capacity last for all of the choices together."""
    return _capacity_lasts(instance, choices) and _counters_last(instance, choices)


def _capacity_lasts(instance: Instance, choices: Sequence[Choice]) -> bool:
    used: Counter[tuple[DeviceID, str]] = Counter()
    for device, amounts in instance.shares.items():
        used.update({(device, name): amount.nanos for name, amount in amounts.items()})
    values: dict[tuple[DeviceID, str], int] = {}
    for _, _, body, devices in choices:
        for published in devices:
            if published.is_shared:
                for name, amount in (consumption(body, published) or {}).items():
                    used[published.id, name] += amount
                    values[published.id, name] = published.device.capacity[name].value.nanos
    return all(used[key] <= value for key, value in values.items())


def _counters_last(instance: Instance, choices: Sequence[Choice]) -> bool:
    used: Counter[tuple[PoolID, str, str]] = Counter()
    taken = {*instance.in_use, *instance.shares}
    for published in instance.slices:
        for device in published.devices:
            if DeviceID(*published.pool_id, device.name) in taken:
                used.update({(published.pool_id, *key): amount for key, amount in _charge(device)})
    touched: set[tuple[PoolID, str, str]] = set()
    paid = set(instance.shares)
    for _, _, _, devices in choices:
        for each in devices:
            if each.is_shared and each.id in paid:
                continue
            if each.is_shared:
                paid.add(each.id)
            for key, amount in _charge(each.device):
                used[each.id.pool_id, *key] += amount
                touched.add((each.id.pool_id, *key))
    values = {
        (published.pool_id, each.name, name): amount.nanos
        for published in instance.slices
        for each in published.shared_counters
        for name, amount in each.counters.items()
    }
    return all(used[key] <= values[key] for key in touched)


def _charge(device: Device) -> Iterator[tuple[tuple[str, str], int]]:
    for each in device.consumes_counters:
        for name, amount in each.counters.items():
            yield (each.counter_set, name), amount.nanos
