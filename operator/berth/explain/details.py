# SPDX-License-Identifier: Apache-2.0
"""More about a conflict than the engine says: values, users and slices.

Decides what is looked up: which part of a selector is false and what it read, where a selector
fails, which pods use the claims that hold devices, and which slices of a pool are there. Changes
no reason, but splits devices that a selector refuses for different parts of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from berth.cel import CelDevice
from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord
from berth.engine.rejections import InUse, SelectorFailed, SelectorFalse
from berth.explain.conflict import (
    Conflict,
    DeviceGroup,
    FalsePart,
    Holder,
    NodeGroup,
    ProblemGroup,
)
from berth.explain.false_parts import failed_part, false_parts
from berth.explain.merge import regroup
from berth.model.devices import DeviceID

FalseParts = Callable[[str, CelDevice], Sequence[FalsePart]]
"""Tells which parts of a selector are false on a device, each value on its own."""


def with_details(
    conflict: Conflict,
    inventory: Inventory,
    *,
    consumers: Mapping[str, Sequence[str]],
    explain_false: FalseParts = false_parts,
) -> Conflict:
    """Return the conflict with what can be looked up.

    Args:
        conflict: The conflict.
        inventory: What is published.
        consumers: The pods that use a claim, by ``namespace/name`` of the claim.
        explain_false: Tells which parts of a selector are false.
    """
    records = _newest(conflict, inventory)

    def detailed(group: NodeGroup) -> NodeGroup:
        devices = (
            each
            for devices in group.devices
            for each in _details(devices, records, consumers, explain_false)
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
    explain_false: FalseParts,
) -> Iterator[DeviceGroup]:
    match group.rejection:
        case SelectorFalse(_, _, expression):
            for device in group.devices:
                false = tuple(explain_false(expression, records[device].cel))
                yield replace(group, devices=(device,), false=false)
        case SelectorFailed(_, _, expression):
            for device in group.devices:
                failed = failed_part(expression, records[device].cel)
                yield replace(group, devices=(device,), failed=failed)
        case InUse(holders):
            users = tuple(Holder(claim, tuple(consumers.get(claim, ()))) for claim in holders)
            yield replace(group, holders=users)
        case _:
            yield group


def _with_slices(group: ProblemGroup, inventory: Inventory) -> ProblemGroup:
    slices = [r.slice for r in inventory.slices_by_pool.get(group.problem.pool, ())]
    newest = max((each.generation for each in slices), default=0)
    return replace(
        group,
        published=tuple(sorted(each.name for each in slices if each.generation == newest)),
        stale=tuple(sorted(each.name for each in slices if each.generation < newest)),
    )
