# SPDX-License-Identifier: Apache-2.0
"""The three outcomes of an allocation attempt on one node.

"Impossible" and "gave up" are different answers: ``Unsatisfiable`` is a proof, ``Undecided`` is
a budget that ran out. Input that cannot be honoured as written is no outcome but an exception
(``berth.errors``), because it is the same on every node.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.engine.rejections import NodeProblem
from berth.model.results import AllocationResult

DEFAULT_BUDGET = 200_000
"""Steps after which a search on one node gives up; steps are the same on every computer."""


@dataclass(frozen=True, slots=True)
class Allocated:
    """All claims fit; ``results`` has one entry per claim, in the order of the claims.

    ``score`` is the preference of the chosen alternatives: for each ``firstAvailable`` request 8
    minus the index of the chosen subrequest, summed (KEP-4816); 0 without such requests.
    """

    results: tuple[AllocationResult, ...]
    steps: int
    score: int = 0


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No choice of devices on this node fits all claims.

    ``problems`` is not empty where upstream reports a failure of the node rather than "no fit":
    an invalid pool was met, or an ``All`` request met a pool that is incomplete or invalid.
    """

    steps: int
    problems: tuple[NodeProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Undecided:
    """The budget of steps ran out before there was an answer."""

    steps: int


Outcome = Allocated | Unsatisfiable | Undecided
