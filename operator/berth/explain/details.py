# SPDX-License-Identifier: Apache-2.0
"""More about a conflict than the engine says: values, users and slices.

Decides what is looked up: which part of a selector is false and what it read, where a selector
fails, which pods use the claims that hold devices, and which slices of a pool are there. Changes
no reason, but splits devices that a selector refuses for different parts of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from berth.cel import CelDevice, CelRuntimeError, compile_selector
from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord
from berth.engine.rejections import InUse, SelectorFailed, SelectorFalse
from berth.errors import InvalidSelectorError
from berth.explain.conflict import (
    Conflict,
    DeviceGroup,
    FailedPart,
    FalsePart,
    Holder,
    NodeGroup,
    ProblemGroup,
)
from berth.explain.merge import regroup
from berth.model.devices import DeviceID

FalseParts = Callable[[str, CelDevice], Sequence[FalsePart]]
"""Tells which parts of a selector are false on a device, each value on its own."""
Guard = Callable[[str, tuple[int, int] | None], str]
"""Tells the expression that does not fail where this one does, empty where none is known."""


def no_guard(expression: str, span: tuple[int, int] | None) -> str:  # noqa: ARG001 - a Guard
    """Leave it open how the selector would not fail."""
    return ""


def with_details(
    conflict: Conflict,
    inventory: Inventory,
    *,
    consumers: Mapping[str, Sequence[str]],
    false_parts: FalseParts,
    guard: Guard,
) -> Conflict:
    """Return the conflict with what can be looked up.

    Args:
        conflict: The conflict.
        inventory: What is published.
        consumers: The pods that use a claim, by ``namespace/name`` of the claim.
        false_parts: Tells which parts of a selector are false.
        guard: Tells the cure of a selector that fails.
    """
    records = _newest(conflict, inventory)

    def detailed(group: NodeGroup) -> NodeGroup:
        devices = (
            each
            for devices in group.devices
            for each in _details(devices, records, consumers, false_parts, guard)
        )
        return replace(group, devices=regroup(devices))

    return replace(
        conflict,
        requests=tuple(
            replace(request, groups=tuple(detailed(group) for group in request.groups))
            for request in conflict.requests
        ),
        problems=tuple(_with_slices(group, inventory) for group in conflict.problems),
    )


def _newest(conflict: Conflict, inventory: Inventory) -> Mapping[DeviceID, DeviceRecord]:
    """Return the devices of the pools that the conflict names, in their newest generation."""
    pools = {
        device.pool_id
        for request in conflict.requests
        for group in request.groups
        for devices in group.devices
        for device in devices.devices
    }
    newest: dict[DeviceID, DeviceRecord] = {}
    for pool in pools:
        for record in (d for each in inventory.slices_by_pool[pool] for d in each.devices):
            known = newest.get(record.id)
            if known is None or known.slice.generation < record.slice.generation:
                newest[record.id] = record
    return newest


def _details(
    group: DeviceGroup,
    records: Mapping[DeviceID, DeviceRecord],
    consumers: Mapping[str, Sequence[str]],
    false_parts: FalseParts,
    guard: Guard,
) -> Iterator[DeviceGroup]:
    match group.rejection:
        case SelectorFalse(_, _, expression):
            for device in group.devices:
                false = tuple(false_parts(expression, records[device].cel))
                yield replace(group, devices=(device,), false=false)
        case SelectorFailed(_, _, expression):
            for device in group.devices:
                span = _failing_span(expression, records[device].cel)
                failed = FailedPart(span, guard(expression, span))
                yield replace(group, devices=(device,), failed=failed)
        case InUse(holders):
            users = tuple(Holder(claim, tuple(consumers.get(claim, ()))) for claim in holders)
            yield replace(group, holders=users)
        case _:
            yield group


def _failing_span(expression: str, device: CelDevice) -> tuple[int, int] | None:
    try:
        compile_selector(expression).matches(device)
    except (CelRuntimeError, InvalidSelectorError) as error:
        return error.span
    raise AssertionError(f"`{expression}` was said to fail on a device, and does not")


def _with_slices(group: ProblemGroup, inventory: Inventory) -> ProblemGroup:
    slices = [r.slice for r in inventory.slices_by_pool.get(group.problem.pool, ())]
    newest = max((each.generation for each in slices), default=0)
    return replace(
        group,
        published=tuple(sorted(each.name for each in slices if each.generation == newest)),
        stale=tuple(sorted(each.name for each in slices if each.generation < newest)),
    )
