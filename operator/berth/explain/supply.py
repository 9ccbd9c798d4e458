# SPDX-License-Identifier: Apache-2.0
"""Sentences for what there is too little of: counters of a pool, capacity of a device.

Decides the wording and nothing else.

Source: KEP-4815 (counters), KEP-5963 (compatibility groups), KEP-5075 (capacity).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import assert_never

from berth.engine.rejections import (
    CapacityMissing,
    CapacityPolicy,
    CapacityShort,
    CompatibilityRefused,
    CounterShort,
)
from berth.explain.words import name_list, verb
from berth.quantity import NANO, Quantity, QuantityFormat

Supply = CounterShort | CompatibilityRefused | CapacityMissing | CapacityPolicy | CapacityShort


def supply_reason(rejection: Supply, count: int) -> str:
    """Say what devices lack, after their number: ``have capacity memory 8Gi short: …``."""
    match rejection:
        case CounterShort(_, counter, want, free):
            return f"{verb(count, 'finds', 'find')} counter {counter} {_lacking(want, free, count)}"
        case CompatibilityRefused(counter_set, groups, others):
            return (
                f"{verb(count, 'has', 'have')} no compatibility group in common with the other "
                f"devices in use of counter set {counter_set}: {_groups(groups)} beside "
                f"{_groups(others)}"
            )
        case CapacityMissing(name):
            return (
                f"{verb(count, 'does', 'do')} not publish capacity {name}, which the request "
                "asks for"
            )
        case CapacityPolicy(name, want, allowed):
            return (
                f"{verb(count, 'does', 'do')} not give {want} of capacity {name}: "
                f"the request policy allows {allowed}"
            )
        case CapacityShort(name, want, free):
            return f"{verb(count, 'has', 'have')} capacity {name} {_lacking(want, free, count)}"
    assert_never(rejection)


def _lacking(want: Quantity, free: Quantity, count: int) -> str:
    if free <= Quantity.of(0):
        return f"{amount_text(want)} short: {amount_text(want)} is wanted, nothing is left"
    # Of several devices the nearest miss is known: others may have less.
    least, most = ("", "") if count == 1 else ("at least ", "at most ")
    return (
        f"{least}{amount_text(want - free)} short: {amount_text(want)} is wanted, "
        f"{most}{amount_text(free)} is left"
    )


def amount_text(amount: Quantity) -> str:
    """Return the amount with a binary suffix where it is even, as sums have lost their notation."""
    if amount.nanos and amount.nanos % (1024 * NANO) == 0:
        return str(replace(amount, format=QuantityFormat.BINARY_SI))
    return str(amount)


def _groups(names: Sequence[str]) -> str:
    return name_list(names) if names else "none"
