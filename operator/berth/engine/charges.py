# SPDX-License-Identifier: Apache-2.0
"""What devices cost their pool: counters and compatibility groups, charged together.

Decides whether a device can be paid for; how much is left is ``berth.engine.counters``, which
groups go together ``berth.engine.compatibility``. What ``try_pay`` does, ``undo_pay`` takes back
exactly.

Source: KEP-4815, KEP-5963.
"""

from __future__ import annotations

from collections.abc import Hashable

from berth.engine.allocated import AllocatedState
from berth.engine.compatibility import Compatibility, CompatibilityBaseline
from berth.engine.counters import CounterBudget, Counters
from berth.engine.pools import NodeView
from berth.engine.records import DeviceRecord
from berth.engine.rejections import CompatibilityRefused, CounterShort


class ChargeBaseline:
    """What pools have left before an attempt begins."""

    __slots__ = ("_nothing", "counters", "groups")

    def __init__(self, view: NodeView, allocated: AllocatedState, *, whole_pool: bool) -> None:
        self.counters = CounterBudget(view, allocated, whole_pool=whole_pool)
        self.groups = CompatibilityBaseline(self.counters, allocated)
        self._nothing = Charges(self)

    def refusal(self, record: DeviceRecord) -> CompatibilityRefused | CounterShort | None:
        """Return why the device cannot be paid for, whatever else the attempt takes."""
        return self._nothing.refusal(record)


class Charges:
    """What one attempt charges to pools."""

    __slots__ = ("_counters", "_groups")

    def __init__(self, baseline: ChargeBaseline) -> None:
        self._counters = Counters(baseline.counters)
        self._groups = Compatibility(baseline.groups)

    def try_pay(self, record: DeviceRecord) -> bool:
        """Charge the device, and tell whether that was possible; if not, nothing has changed."""
        if not self._groups.try_join(record):
            return False
        if self._counters.try_charge(record):
            return True
        self._groups.undo_join(record)
        return False

    def undo_pay(self, record: DeviceRecord) -> None:
        """Take back the charge of ``record``, which was the last one."""
        self._counters.undo_charge(record)
        self._groups.undo_join(record)

    def refusal(self, record: DeviceRecord) -> CompatibilityRefused | CounterShort | None:
        """Return why ``try_pay`` would refuse the device now."""
        return self._groups.refusal(record) or self._counters.refusal(record)

    def state(self) -> Hashable:
        """Return all that ``try_pay`` and ``undo_pay`` change, to compare."""
        return self._counters.state(), self._groups.state()
