# SPDX-License-Identifier: Apache-2.0
"""What one attempt has taken so far, and the two operations on it: try and undo.

Decides whether a device that is eligible can be taken beside those that the attempt has already.
What ``try_take`` does, ``undo_take`` takes back exactly; a refused ``try_take`` leaves no trace.

Source: KEP-4381; KEP-5018 for admin access within a claim.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable

from berth.engine.constraints import Constraint
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

    __slots__ = ("_plan", "_taking", "constraints", "taken")

    def __init__(self, plan: Plan, features: Features) -> None:
        self._plan = plan
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
        constraints = self.constraints[body.claim]
        for position, number in enumerate(body.constraints):
            if not constraints[number].try_add(record):
                for earlier in reversed(body.constraints[:position]):
                    constraints[earlier].undo_add(record)
                return Take.CONFLICT
        self._taking.setdefault(record, []).append(body)
        self.taken[body.claim].append((body, record))
        return Take.TAKEN

    def undo_take(self, body: PlannedBody, record: DeviceRecord) -> None:
        """Take back the last ``try_take`` that succeeded."""
        last = self.taken[body.claim].pop()
        if last != (body, record):
            raise AssertionError(f"undo of {record}, but {last[1]} was taken last")
        takers = self._taking[record]
        takers.pop()
        if not takers:
            del self._taking[record]
        for number in reversed(body.constraints):
            self.constraints[body.claim][number].undo_add(record)

    def refusal(self, body: PlannedBody, record: DeviceRecord) -> Rejection | None:
        """Return why ``try_take`` would refuse the device now; changes nothing."""
        if self.is_taken_for(body, record):
            taker = self._taking[record][-1]
            claim = self._plan[taker.claim].claim
            return TakenInThisAttempt(str(claim.key), str(taker.ref))
        for number in body.constraints:
            constraint = self.constraints[body.claim][number]
            if not constraint.try_add(record):
                return constraint.refusal(record)
            constraint.undo_add(record)
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
        )
