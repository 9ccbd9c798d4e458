# SPDX-License-Identifier: Apache-2.0
"""What an expression reads of a device, and which devices look alike to it.

Decides when two devices cannot be told apart by an expression, so that it is evaluated once for
both. A fleet has tens of thousands of devices and few that differ in what a selector reads.

Source: KEP-4381 (``selectors[].cel.expression``).
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterable, Sequence

from berth.cel.analyse import Projection
from berth.cel.device import attribute_value
from berth.engine.records import DeviceRecord
from berth.model.devices import AttributeValue


class Reads:
    """The attributes and capacities that some expressions read; one object for each such set."""

    __slots__ = ("allow_multiple", "attributes", "capacity", "driver")

    def __init__(self, projection: Projection) -> None:
        self.attributes = tuple(sorted(projection.attributes))
        self.capacity = tuple(sorted(projection.capacity))
        self.driver = projection.driver
        self.allow_multiple = projection.allow_multiple

    def of(self, record: DeviceRecord) -> Hashable:
        """Return the values that are read of the device; remembered there."""
        known = record.seen.get(self)
        if known is None:
            known = record.seen[self] = self._values(record)
        return known

    def _values(self, record: DeviceRecord) -> Hashable:
        parts: list[Hashable] = [problem_of(record)]
        if self.driver:
            parts.append(record.id.driver)
        if self.allow_multiple:
            parts.append(record.device.allow_multiple_allocations)
        parts.extend(record.attribute(domain, name) for domain, name in self.attributes)
        for domain, name in self.capacity:
            capacity = record.device.capacity.get(f"{domain}/{name}")
            if capacity is None and domain == record.id.driver:
                capacity = record.device.capacity.get(name)
            # Equal amounts in different notation are equal, but may not print alike.
            parts.append(None if capacity is None else (capacity.value, capacity.value.format))
        return tuple(parts)

    def identities(self, records: Sequence[DeviceRecord]) -> Iterable[tuple[int, ...]]:
        """Return, for each of ``records``, the identities of the values that are read.

        Devices with the same identities look alike; devices that look alike may differ in them,
        where equal values were not decoded into one object.
        """
        columns: list[list[int]] = [[id(problem_of(each)) for each in records]]
        if self.driver:
            columns.append([id(each.id.driver) for each in records])
        if self.allow_multiple:
            columns.append([int(each.device.allow_multiple_allocations) for each in records])
        columns.extend(
            [id(each.attribute(domain, name)) for each in records]
            for domain, name in self.attributes
        )
        for domain, name in self.capacity:
            qualified = f"{domain}/{name}"
            columns.append(
                [
                    id(
                        each.device.capacity.get(qualified)
                        or (each.device.capacity.get(name) if domain == each.id.driver else None)
                    )
                    for each in records
                ]
            )
        return zip(*columns, strict=True)


def problem_of(record: DeviceRecord) -> str:
    """Return why no expression can be evaluated on the device, or an empty text."""
    if record.is_readable is None:
        record.is_readable = all(map(_is_readable, record.device.attributes.values()))
    return "" if record.is_readable else record.cel.problem


def _is_readable(value: AttributeValue) -> bool:
    if value.string_value is not None or value.int_value is not None:
        return True
    return value.bool_value is not None or _can_be_read(value)


@functools.lru_cache(maxsize=4096)
def _can_be_read(value: AttributeValue) -> bool:
    try:
        attribute_value(value)
    except ValueError:
        return False
    return True
