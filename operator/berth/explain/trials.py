# SPDX-License-Identifier: Apache-2.0
"""Trying a changed input: does it fit, does it not, or is it not known?

Decides how much may be tried. The answer is the engine's, on the nodes that are otherwise fine; a
caller that can place whole pods brings a judge of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from berth.engine.allocator import allocate
from berth.engine.outcomes import Allocated, Undecided
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError, InvalidSelectorError, SelectorRuntimeError
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node

MAX_TRIALS = 64
"""So many changed inputs are tried for one pod."""
MAX_STEPS = 50_000
"""So many steps of the engine are spent on them together."""
STEPS_EACH = 2_000
"""So many steps are spent on one of them, on one node."""

Judge = Callable[[Sequence[ResourceClaim], Snapshot], bool | None]
"""Tells whether claims fit: yes, proven no, or ``None`` where it is not known."""


class Trials:
    """Judges changed inputs until its bounds are reached; after that everything is unknown.

    Deterministic: bounds are counted in trials and steps, never in time.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        *,
        max_trials: int = MAX_TRIALS,
        max_steps: int = MAX_STEPS,
        steps_each: int = STEPS_EACH,
    ) -> None:
        self._nodes = tuple(nodes)
        self._trials_left = max_trials
        self._steps_left = max_steps
        self._steps_each = steps_each

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more can be tried."""
        return self._trials_left <= 0 or self._steps_left <= 0

    def __call__(self, claims: Sequence[ResourceClaim], snapshot: Snapshot) -> bool | None:
        """Tell whether ``claims`` fit on one of the nodes."""
        self._trials_left -= 1
        answer: bool | None = False
        for node in self._nodes:
            if self._trials_left < 0 or self._steps_left <= 0:
                return None
            fits = self._on(node, claims, snapshot)
            if fits:
                return True
            if fits is None:
                answer = None
        return answer

    def on(self, node: Node) -> Judge:
        """Return a judge for one node, within the same bounds."""

        def judge(claims: Sequence[ResourceClaim], snapshot: Snapshot) -> bool | None:
            self._trials_left -= 1
            return None if self._trials_left < 0 else self._on(node, claims, snapshot)

        return judge

    def _on(self, node: Node, claims: Sequence[ResourceClaim], snapshot: Snapshot) -> bool | None:
        budget = min(self._steps_each, max(self._steps_left, 1))
        try:
            outcome = allocate(snapshot, node, claims, budget=budget)
        except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError):
            # Neither yes nor no: the changed input is wrong in another way.
            self._steps_left -= 1
            return None
        # A refusal without a step has still cost the planning.
        self._steps_left -= outcome.steps + 1
        if isinstance(outcome, Allocated):
            return True
        return None if isinstance(outcome, Undecided) else False
