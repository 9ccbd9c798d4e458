# SPDX-License-Identifier: Apache-2.0
"""How much of a device's capacity a request takes, and whether that much is left.

Decides what one share consumes under the device's request policies, and whether the device has
room for it beside other shares. A device that cannot be shared is only compared with what is
asked. What ``try_`` consumes, ``undo_`` takes back exactly.

Source: KEP-5075 (consumable capacity, request policies); KEP-5075's fractional ranges, feature
DRAFractionalCapacityRange.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from berth.engine.allocated import AllocatedState
from berth.engine.records import DeviceRecord
from berth.engine.rejections import CapacityMissing, CapacityPolicy, CapacityShort
from berth.model.claims import ExactRequest
from berth.model.devices import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    DeviceCapacity,
    DeviceID,
)
from berth.model.features import Features
from berth.quantity import NANO, Quantity

MAX_INT64 = 2**63 - 1
MILLI = 10**6
"""Nano-units in one milli-unit."""
NOTHING: Mapping[str, Quantity] = MappingProxyType({})

Consumption = Mapping[str, Quantity]
"""What one share consumes, by the name under which the device publishes the capacity."""
Unsuitable = CapacityMissing | CapacityPolicy | CapacityShort


class CapacityError(ValueError):
    """An amount that cannot be computed with, or a negative one: fatal upstream."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """``validRange`` in whole numbers of ``unit`` nano-units."""

    unit: int
    least: int
    step: int


def _grid(limits: CapacityRequestPolicyRange, wanted: Quantity, *, fractional: bool) -> _Grid:
    """Return the arithmetic of a range that has a step: whole units, or milli-units.

    Raises:
        CapacityError: If ``wanted`` does not fit into 64 bits there.
    """
    step = limits.step or Quantity(0)
    bounds = [each for each in (limits.min, limits.max, step) if each is not None]
    in_millis = (
        fractional
        and all(each.nanos % MILLI == 0 for each in (*bounds, wanted))
        and all(abs(each.nanos // MILLI) <= MAX_INT64 for each in bounds)
    )
    unit = MILLI if in_millis else NANO
    if _up(wanted, unit) > MAX_INT64:
        raise CapacityError(f"{wanted} is more than the arithmetic of the device's range can hold")
    return _Grid(unit, _up(limits.min, unit), _up(step, unit))


def _up(amount: Quantity, unit: int) -> int:
    return -(-amount.nanos // unit)


def _rounded(limits: CapacityRequestPolicyRange, wanted: Quantity, *, fractional: bool) -> Quantity:
    """Return the least amount of the range that is not below ``wanted``."""
    if wanted < limits.min:
        return limits.min
    if limits.step is None:
        return wanted
    grid = _grid(limits, wanted, fractional=fractional)
    if grid.step <= 0:
        return wanted
    steps = -(-(_up(wanted, grid.unit) - grid.least) // grid.step)
    rounded = grid.least + steps * grid.step
    if rounded > MAX_INT64:
        raise CapacityError(
            f"{wanted}, rounded up to the next step, is more than the arithmetic of the device's "
            "range can hold"
        )
    return Quantity(rounded * grid.unit, limits.step.format)


def _amount(capacity: DeviceCapacity, wanted: Quantity | None, *, fractional: bool) -> Quantity:
    """Return what a share consumes of one capacity.

    Raises:
        CapacityError: If that cannot be computed.
    """
    policy = capacity.request_policy
    if wanted is None:
        return capacity.value if policy is None or policy.default is None else policy.default
    if policy is None:
        return wanted
    if policy.valid_range is not None:
        return _rounded(policy.valid_range, wanted, fractional=fractional)
    return min((each for each in policy.valid_values if each >= wanted), default=wanted)


def _allowed(policy: CapacityRequestPolicy | None, amount: Quantity, *, fractional: bool) -> str:
    """Return what the policy allows where it does not allow ``amount``, and else nothing."""
    if policy is None or policy.default == amount:
        return ""
    limits = policy.valid_range
    if limits is not None:
        step = "" if limits.step is None else f" in steps of {limits.step}"
        most = "" if limits.max is None else f" to {limits.max}"
        text = f"from {limits.min}{most}{step}"
        if limits.max is not None and amount > limits.max:
            return text
        if limits.step is not None and limits.step.nanos > 0:
            grid = _grid(limits, amount, fractional=fractional)
            if (_up(amount, grid.unit) - grid.least) % grid.step:
                return text
        return ""
    if policy.valid_values and amount not in policy.valid_values:
        *others, last = map(str, policy.valid_values)
        return f"{', '.join(others)} or {last}" if others else last
    return ""


class CapacityRules:
    """What shares consume, and what is consumed before an attempt begins."""

    __slots__ = ("_consumed", "_fractional", "_known", "_literal", "is_on")

    def __init__(self, allocated: AllocatedState, features: Features) -> None:
        self.is_on = features.consumable_capacity
        self._fractional = features.fractional_capacity_range
        self._literal = features.as_release_1_37
        self._consumed = allocated.capacity
        self._known: dict[tuple[int, DeviceRecord], Consumption | Unsuitable] = {}

    def is_shared(self, record: DeviceRecord) -> bool:
        """Tell whether the device can be given away in shares."""
        return record.device.allow_multiple_allocations and self.is_on

    def unsuitable(self, body: ExactRequest, record: DeviceRecord) -> Unsuitable | None:
        """Return why the device could not serve the request even if it were not used at all.

        Raises:
            CapacityError: If the amounts cannot be computed with.
        """
        found = self._consumption(body, record)
        return None if isinstance(found, Mapping) else found

    def consumption(self, body: ExactRequest, record: DeviceRecord) -> Consumption:
        """Return what a share for the request consumes; the device is not unsuitable."""
        found = self._consumption(body, record)
        if not isinstance(found, Mapping):
            raise AssertionError(f"{record} does not suit the request: {found}")  # noqa: TRY004 - a broken invariant
        return found

    def short(
        self, body: ExactRequest, record: DeviceRecord, taken: Consumption = NOTHING
    ) -> CapacityShort | None:
        """Return the first capacity that has too little left beside ``taken``."""
        used = self._consumed.get(record.id, NOTHING)
        if not used and not taken:
            return None
        if not self._literal:
            used = {self._name(name, record): amount for name, amount in used.items()}
        for name, want in self.consumption(body, record).items():
            before = used.get(name if self._literal else self._name(name, record))
            free = record.device.capacity[name].value
            for amount in (before, taken.get(name)):
                free = free if amount is None else free - amount
            if free < want:
                return CapacityShort(name, want, free)
        return None

    def _consumption(self, body: ExactRequest, record: DeviceRecord) -> Consumption | Unsuitable:
        # By identity: a body lives as long as its claim, and so as long as the attempt.
        key = (id(body), record)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._computed(body.capacity_requests or NOTHING, record)
        return known

    def _computed(
        self, requests: Mapping[str, Quantity], record: DeviceRecord
    ) -> Consumption | Unsuitable:
        published = record.device.capacity
        wanted: dict[str, Quantity] = {}
        names = self._published_names(record)
        # Qualified names last, because they win where both forms are asked for.
        for name in sorted(requests, key=lambda each: "/" in each):
            known = names.get(name if self._literal else self._name(name, record))
            if known is None:
                return CapacityMissing(name)
            wanted[known] = requests[name]
        consumption: dict[str, Quantity] = {}
        for name, capacity in published.items():
            try:
                amount = _amount(capacity, wanted.get(name), fractional=self._fractional)
            except CapacityError as error:
                raise CapacityError(f"capacity `{name}`: {error}") from None
            if amount.nanos < 0:
                raise CapacityError(f"capacity `{name}`: {amount} is negative")
            consumption[name] = amount
        for name, amount in consumption.items():
            capacity = published[name]
            allowed = _allowed(capacity.request_policy, amount, fractional=self._fractional)
            if allowed:
                return CapacityPolicy(name, amount, allowed)
            if amount > capacity.value:
                return CapacityShort(name, amount, capacity.value)
        return MappingProxyType(consumption)

    def _published_names(self, record: DeviceRecord) -> Mapping[str, str]:
        published = record.device.capacity
        if self._literal:
            return {name: name for name in published}
        # Where a device publishes both forms, the qualified one wins.
        return {
            self._name(name, record): name
            for name in sorted(published, key=lambda each: "/" in each)
        }

    @staticmethod
    def _name(name: str, record: DeviceRecord) -> str:
        return name if "/" in name else f"{record.id.driver}/{name}"


class Shares:
    """The shares that one attempt takes."""

    __slots__ = ("_rules", "_taken")

    def __init__(self, rules: CapacityRules) -> None:
        self._rules = rules
        # Sums up to each share, so that undoing is exact.
        self._taken: dict[DeviceID, list[Consumption]] = {}

    def has_share(self, record: DeviceRecord) -> bool:
        """Tell whether the attempt has a share of the device."""
        return record.id in self._taken

    def try_share(self, body: ExactRequest, record: DeviceRecord) -> bool:
        """Take a share, and tell whether there was room; if not, nothing has changed."""
        before = self._sum(record)
        if self._rules.short(body, record, before) is not None:
            return False
        total = {
            name: amount + before[name] if name in before else amount
            for name, amount in self._rules.consumption(body, record).items()
        }
        self._taken.setdefault(record.id, []).append(total)
        return True

    def undo_share(self, record: DeviceRecord) -> None:
        """Take back the last share of the device."""
        sums = self._taken[record.id]
        sums.pop()
        if not sums:
            del self._taken[record.id]

    def refusal(self, body: ExactRequest, record: DeviceRecord) -> CapacityShort | None:
        """Return why ``try_share`` would refuse the device now."""
        return self._rules.short(body, record, self._sum(record))

    def _sum(self, record: DeviceRecord) -> Consumption:
        sums = self._taken.get(record.id)
        return sums[-1] if sums else NOTHING

    def state(self) -> Hashable:
        """Return all that ``try_share`` and ``undo_share`` change, to compare."""
        return frozenset(
            (device, tuple(tuple(total.items()) for total in sums))
            for device, sums in self._taken.items()
        )
