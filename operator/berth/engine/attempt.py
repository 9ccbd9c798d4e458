# SPDX-License-Identifier: Apache-2.0
"""What one attempt has taken so far, and the two operations on it: try and undo.

Decides whether a device that is eligible can be taken beside those that the attempt has already.
What ``try_take`` does, ``undo_take`` takes back exactly; a refused ``try_take`` leaves no trace.

Source: KEP-4381; KEP-5018 for admin access within a claim; KEP-4815 and KEP-5963 for counters,
KEP-5075 for shares.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable

from berth.engine.capacity import Consumption, Shares
from berth.engine.charges import Charges
from berth.engine.constraints import Constraint
from berth.engine.eligibility import Eligibility
from berth.engine.plan import Plan, PlannedBody
from berth.engine.records import DeviceRecord
from berth.engine.rejections import Rejection, TakenInThisAttempt
from berth.model.features import Features


class Take(enum.Enum):
    """How ``try_take`` ended; ``CONFLICT`` is a refusal by a constraint."""

    TAKEN = enum.auto()
    REFUSED = enum.auto()
    CONFLICT = enum.auto()


class Attempt:
    """The devices taken, by claim, in the order in which they were taken."""

    __slots__ = (
        "_capacity",
        "_charges",
        "_eligibility",
        "_plan",
        "_shares",
        "_taking",
        "constraints",
        "taken",
    )

    def __init__(self, plan: Plan, eligibility: Eligibility, features: Features) -> None:
        self._plan = plan
        self._eligibility = eligibility
        self._capacity = eligibility.capacity
        self._shares = Shares(eligibility.capacity)
        # Made when a device first has something to pay, which most never do.
        self._charges: Charges | None = None
        self.constraints = tuple(
            tuple(Constraint(each, features) for each in planned.claim.spec.constraints)
            for planned in plan
        )
        self._taking: dict[DeviceRecord, list[PlannedBody]] = {}
        self.taken: tuple[list[tuple[PlannedBody, DeviceRecord]], ...] = tuple([] for _ in plan)

    def is_taken_for(self, body: PlannedBody, record: DeviceRecord) -> bool:
        """Tell whether the attempt has the device already, in a way that matters to ``body``.

        Admin access minds only its own claim; everybody else minds everybody, also an admin.
        """
        takers = self._taking.get(record)
        if takers is None:
            return False
        return not body.admin or any(taker.claim == body.claim for taker in takers)

    def try_take(self, body: PlannedBody, record: DeviceRecord) -> Take:
        """Take an eligible device for ``body`` if that goes together with what is taken."""
        if self.is_taken_for(body, record):
            return Take.REFUSED
        pays = self._pays(record)
        if pays and not self._charged().try_pay(record):
            return Take.REFUSED
        if body.constraints and not self._try_constrain(body, record):
            if pays:
                self._charged().undo_pay(record)
            return Take.CONFLICT
        if not self._capacity.is_shared(record):
            self._taking.setdefault(record, []).append(body)
        elif not self._shares.try_share(body.body, record):
            self._undo_constrain(body, record)
            if pays:
                self._charged().undo_pay(record)
            return Take.REFUSED
        self.taken[body.claim].append((body, record))
        return Take.TAKEN

    def _pays(self, record: DeviceRecord) -> bool:
        """Tell whether the device must be charged to counters: for the first share of it only."""
        return bool(record.device.consumes_counters) and not (
            self._shares.has_share(record) or self._eligibility.has_paid(record)
        )

    def _charged(self) -> Charges:
        if self._charges is None:
            self._charges = Charges(self._eligibility.charges)
        return self._charges

    def _try_constrain(self, body: PlannedBody, record: DeviceRecord) -> bool:
        constraints = self.constraints[body.claim]
        for position, number in enumerate(body.constraints):
            if not constraints[number].try_add(record, body.derived):
                for earlier in reversed(body.constraints[:position]):
                    constraints[earlier].undo_add(record)
                return False
        return True

    def _undo_constrain(self, body: PlannedBody, record: DeviceRecord) -> None:
        for number in reversed(body.constraints):
            self.constraints[body.claim][number].undo_add(record)

    def undo_take(self, body: PlannedBody, record: DeviceRecord) -> None:
        """Take back the last ``try_take`` that succeeded."""
        last = self.taken[body.claim].pop()
        if last != (body, record):
            raise AssertionError(f"undo of {record}, but {last[1]} was taken last")
        if self._capacity.is_shared(record):
            self._shares.undo_share(record)
        else:
            takers = self._taking[record]
            takers.pop()
            if not takers:
                del self._taking[record]
        self._undo_constrain(body, record)
        if self._pays(record):
            self._charged().undo_pay(record)

    def consumed(self, body: PlannedBody, record: DeviceRecord) -> Consumption | None:
        """Return what the share of a taken device consumes, or ``None`` for a whole device."""
        shared = self._capacity.is_shared(record)
        return self._capacity.consumption(body.body, record) if shared else None

    def refusal(self, body: PlannedBody, record: DeviceRecord) -> Rejection | None:
        """Return why ``try_take`` would refuse the device now; changes nothing."""
        if self.is_taken_for(body, record):
            taker = self._taking[record][-1]
            claim = self._plan[taker.claim].claim
            return TakenInThisAttempt(str(claim.key), str(taker.ref))
        if self._pays(record):
            refused = self._charged().refusal(record)
            if refused is not None:
                return refused
        for number in body.constraints:
            constraint = self.constraints[body.claim][number]
            if not constraint.try_add(record, body.derived):
                return constraint.refusal(record, body.derived)
            constraint.undo_add(record)
        if self._capacity.is_shared(record):
            return self._shares.refusal(body.body, record)
        return None

    def state(self) -> Hashable:
        """Return everything that trying and undoing change, to compare."""
        return (
            tuple(tuple((body.ref, record.id) for body, record in taken) for taken in self.taken),
            frozenset(
                (record.id, tuple((body.claim, body.ref) for body in takers))
                for record, takers in self._taking.items()
            ),
            tuple(tuple(each.state() for each in claim) for claim in self.constraints),
            self._charged().state(),
            self._shares.state(),
        )
