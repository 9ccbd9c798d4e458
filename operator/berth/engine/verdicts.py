# SPDX-License-Identifier: Apache-2.0
"""What a selector says of a device, found once for all devices that look alike to it.

Decides whether a selector is true, false or fails on a device, and remembers it. Never decides
whether a failure matters: it does only where the search reaches the device.

Source: KEP-4381 (``selectors[].cel.expression``).
"""

from __future__ import annotations

from collections.abc import Hashable

from berth.cel import CelRuntimeError, Selector, compile_selector
from berth.engine.records import DeviceRecord
from berth.errors import InvalidSelectorError
from berth.model.devices import AttributeValue

Verdict = bool | CelRuntimeError | InvalidSelectorError


class SelectorTable:
    """The verdicts of one expression.

    A fleet has thousands of devices and few that differ in what an expression reads, so verdicts
    are kept by what is read, and by device only as a shortcut.
    """

    __slots__ = ("_by_record", "_by_view", "_compiled")

    def __init__(self, expression: str) -> None:
        self._by_record: dict[DeviceRecord, Verdict] = {}
        self._by_view: dict[Hashable, Verdict] = {}
        self._compiled: Selector | InvalidSelectorError
        try:
            self._compiled = compile_selector(expression)
        except InvalidSelectorError as error:
            self._compiled = error

    def verdict(self, record: DeviceRecord) -> Verdict:
        """Return whether the selector is true for the device, or the error it ends with."""
        known = self._by_record.get(record)
        if known is not None:
            return known
        selector = self._compiled
        if isinstance(selector, InvalidSelectorError):
            return selector
        view = _view(selector, record)
        verdict = None if view is None else self._by_view.get(view)
        if verdict is None:
            try:
                verdict = selector.matches(record.cel)
            except CelRuntimeError as error:
                verdict = error
            if view is not None:
                self._by_view[view] = verdict
        self._by_record[record] = verdict
        return verdict


def _view(selector: Selector, record: DeviceRecord) -> Hashable:
    """Return all that ``selector`` reads of the device, or ``None`` where that is not known."""
    reads = selector.projection
    if not reads.fixed:
        return None
    device = record.device
    parts: list[Hashable] = [record.cel.problem if _may_fail(record) else ""]
    if reads.driver:
        parts.append(record.id.driver)
    if reads.allow_multiple:
        parts.append(device.allow_multiple_allocations)
    parts.extend(record.attribute(domain, name) for domain, name in sorted(reads.attributes))
    for domain, name in sorted(reads.capacity):
        capacity = device.capacity.get(f"{domain}/{name}")
        if capacity is None and domain == record.id.driver:
            capacity = device.capacity.get(name)
        # Equal amounts in different notation are equal, but may not print alike.
        parts.append(None if capacity is None else (capacity.value, capacity.value.format))
    return tuple(parts)


def _may_fail(record: DeviceRecord) -> bool:
    """Tell whether the device may have an attribute that CEL cannot read at all."""
    nothing = AttributeValue()
    return any(
        value.version_value is not None or value.versions is not None or value == nothing
        for value in record.device.attributes.values()
    )
