# SPDX-License-Identifier: Apache-2.0
"""Backtracking over a plan, bounded in steps.

Decides which devices satisfy all requests together: the first solution in upstream's order, a
proof that there is none, or neither within the budget. Iterative: the depth is that of the plan,
not of Python's stack. Prunes only branches that are proven empty, so that the first solution and
every error that upstream would reach stay the same.

Source: KEP-4381; KEP-4816 for prioritized lists.
"""

from __future__ import annotations

import enum
from typing import Protocol

from berth.engine.attempt import Attempt, Take
from berth.engine.candidates import Candidates
from berth.engine.eligibility import Eligibility
from berth.engine.plan import Plan, PlannedBody
from berth.engine.pools import NodeView
from berth.engine.proof import has_late_errors, is_proven_impossible
from berth.engine.records import DeviceRecord
from berth.engine.rejections import Rejection
from berth.errors import InvalidClaimError
from berth.model.claims import MAX_DEVICES_PER_CLAIM
from berth.model.features import Features


class Recorder(Protocol):
    """Is told what the search meets; for explanations."""

    def refused(self, body: PlannedBody, record: DeviceRecord, rejection: Rejection) -> None:
        """A device was refused because of what the attempt had taken."""

    def exhausted(self, body: PlannedBody) -> None:
        """A request could not get its next device beside what the attempt had taken."""


class Answer(enum.Enum):
    """How a search ended."""

    FOUND = enum.auto()
    NONE = enum.auto()
    GAVE_UP = enum.auto()


class _Signal(enum.Enum):
    """What the frame on top of the stack is told, or what became of a position.

    ``TOO_MANY`` says that more than 32 devices would be needed, whatever is chosen here.
    """

    OPENED = enum.auto()
    FOUND = enum.auto()
    FAILED = enum.auto()
    TOO_MANY = enum.auto()


class _Choice:
    """A prioritized list being tried: which alternative, and whether all so far were too many."""

    __slots__ = ("all_too_many", "bodies", "ends_claim", "index")

    def __init__(self, bodies: tuple[PlannedBody, ...], *, ends_claim: bool) -> None:
        self.bodies = bodies
        self.index = -1
        self.all_too_many = True
        self.ends_claim = ends_claim


class _Pick:
    """One device being chosen: the candidates before ``cursor`` were tried."""

    __slots__ = ("body", "cursor", "ends_claim", "ordinal", "record")

    def __init__(self, body: PlannedBody, ordinal: int, cursor: int, *, ends_claim: bool) -> None:
        self.body = body
        self.ordinal = ordinal
        self.cursor = cursor
        self.record: DeviceRecord | None = None
        # A claim ended before this frame: the limit of 32 is none of the earlier claim's business.
        self.ends_claim = ends_claim


class Search:
    """One search; to be run once."""

    def __init__(  # noqa: PLR0913 - the inputs of a search
        self,
        plan: Plan,
        view: NodeView,
        eligibility: Eligibility,
        features: Features,
        *,
        budget: int,
        record: Recorder | None = None,
    ) -> None:
        self.attempt = Attempt(plan, eligibility, features)
        self.steps = 0
        self._plan = plan
        self._eligibility = eligibility
        self._budget = budget
        self._record = record
        self._stack: list[_Choice | _Pick] = []
        self._has_failed = False
        devices = view.devices
        self._candidates = {
            body: Candidates(body, devices, eligibility)
            for claim in plan
            for request in claim.requests
            for body in request.bodies
        }

    def run(self) -> Answer:
        """Search until a solution, a proof or the end of the budget.

        Raises:
            InvalidClaimError, InvalidSelectorError, SelectorRuntimeError: If the search reaches
                what upstream calls fatal.
        """
        signal = self._enter(0, 0)
        while signal is not _Signal.FOUND:
            if not self._stack:
                return Answer.NONE
            if self.steps > self._budget:
                return Answer.GAVE_UP
            if not (signal is _Signal.OPENED or self._has_failed):
                self._has_failed = True
                # Looked at only now: a search that succeeds at once has nothing to prove.
                # An explanation wants to see the search fail.
                if self._record is None and is_proven_impossible(
                    self._plan, self._candidates, self.attempt.constraints, self._eligibility
                ):
                    return Answer.NONE
            frame = self._stack[-1]
            if isinstance(frame, _Choice):
                signal = self._next_alternative(frame, signal)
            else:
                signal = self._next_device(frame, signal)
        return Answer.FOUND

    def chosen(self) -> dict[tuple[int, int], PlannedBody]:
        """Return the alternative chosen for each request that was met, by claim and request."""
        chosen = {
            (claim.claim, claim.request): claim
            for planned in self._plan
            for request in planned.requests
            for claim in request.bodies[:1]
        }
        for frame in self._stack:
            if isinstance(frame, _Choice):
                body = frame.bodies[frame.index]
                chosen[body.claim, body.request] = body
        return chosen

    def _enter(self, claim: int, request: int) -> _Signal:
        """Open the request at that position, or the first one after it."""
        ends_claim = False
        while True:
            self.steps += 1
            if claim == len(self._plan):
                return _Signal.FOUND
            if request < len(self._plan[claim].requests):
                break
            claim, request, ends_claim = claim + 1, 0, True
        planned = self._plan[claim].requests[request]
        if planned.is_prioritized:
            self._stack.append(_Choice(planned.bodies, ends_claim=ends_claim))
            return _Signal.OPENED
        signal = self._open(planned.bodies[0], 0, 0, ends_claim=ends_claim)
        return _limited(signal, ends_claim=ends_claim)

    def _open(
        self, body: PlannedBody, ordinal: int, cursor: int, *, ends_claim: bool = False
    ) -> _Signal:
        """Open the choice of device number ``ordinal``, or go on where there are enough."""
        if body.is_all and body.wanted == 0:
            return _Signal.FAILED
        if ordinal >= body.wanted:
            return self._enter(body.claim, body.request + 1)
        missing = body.wanted - ordinal
        if len(self.attempt.taken[body.claim]) + missing > MAX_DEVICES_PER_CLAIM:
            return _Signal.TOO_MANY
        self._stack.append(_Pick(body, ordinal, cursor, ends_claim=ends_claim))
        return _Signal.OPENED

    def _close(self, signal: _Signal) -> _Signal:
        frame = self._stack.pop()
        if self._record is not None and isinstance(frame, _Pick):
            self._record.exhausted(frame.body)
        return _limited(signal, ends_claim=frame.ends_claim)

    def _next_alternative(self, frame: _Choice, signal: _Signal) -> _Signal:
        if signal is _Signal.FAILED:
            frame.all_too_many = False
        frame.index += 1
        if frame.index == len(frame.bodies):
            return self._close(_Signal.TOO_MANY if frame.all_too_many else _Signal.FAILED)
        self.steps += 1
        return self._open(frame.bodies[frame.index], 0, 0)

    def _next_device(self, frame: _Pick, signal: _Signal) -> _Signal:
        body = frame.body
        if frame.record is not None:
            self.attempt.undo_take(body, frame.record)
            frame.record = None
            if signal is _Signal.TOO_MANY or body.is_all:
                return self._close(signal)
        taken = self._take_listed(frame) if body.is_all else self._take_next(frame)
        if not taken:
            return self._close(_Signal.FAILED)
        self.steps += 1
        return self._open(body, frame.ordinal + 1, frame.cursor)

    def _take_listed(self, frame: _Pick) -> bool:
        """Take the device that mode All wants at this place; there is no other."""
        body = frame.body
        record = body.listed[frame.ordinal]
        if self._candidates[body].is_untakable(record):
            return False
        outcome = self.attempt.try_take(body, record)
        if outcome is Take.CONFLICT:
            raise InvalidClaimError(
                str(self._plan[body.claim].claim.key),
                str(body.ref),
                f"device {record.id} matches, but a constraint of the claim refuses it beside "
                "the others, and mode All cannot leave it out",
                reason="AllConstraintConflict",
            )
        if outcome is Take.REFUSED:
            self._tell(body, record)
            return False
        frame.record = record
        return True

    def _take_next(self, frame: _Pick) -> bool:
        """Take the next candidate that goes together with what is taken."""
        body = frame.body
        candidates = self._candidates[body]
        missing = body.wanted - frame.ordinal
        can_count = self._has_failed and not has_late_errors(
            body, self.attempt.constraints[body.claim]
        )
        while True:
            if can_count and candidates.has_fewer(frame.cursor, missing):
                self._tell_rest(frame)
                return False
            record = candidates.at(frame.cursor)
            if record is None:
                return False
            frame.cursor += 1
            if self.attempt.is_taken_for(body, record):
                self._tell(body, record)
                continue
            candidates.raise_error_of(frame.cursor - 1)
            if self.attempt.try_take(body, record) is Take.TAKEN:
                frame.record = record
                return True
            self._tell(body, record)

    def _tell(self, body: PlannedBody, record: DeviceRecord) -> None:
        if self._record is not None:
            refusal = self.attempt.refusal(body, record)
            if refusal is not None:
                self._record.refused(body, record, refusal)

    def _tell_rest(self, frame: _Pick) -> None:
        """Tell of the candidates that were not tried because they are too few."""
        if self._record is not None:
            for record in self._candidates[frame.body].rest(frame.cursor):
                self._tell(frame.body, record)


def _limited(signal: _Signal, *, ends_claim: bool) -> _Signal:
    return _Signal.FAILED if ends_claim and signal is _Signal.TOO_MANY else signal
