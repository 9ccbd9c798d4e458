# SPDX-License-Identifier: Apache-2.0
"""Shrinks the facts of a "no" to those that suffice for it.

Decides by deletion: what can be taken out while the rest still does not fit was no reason. A fact
is kept where it is not known what its absence would mean, so that the result always suffices.
"""

from __future__ import annotations

from collections.abc import Sequence

from berth.engine.snapshot import Snapshot
from berth.explain.conflict import Conflict
from berth.explain.facts import (
    ConstraintFact,
    Fact,
    HolderFact,
    RequestFact,
    SelectorFact,
    TaintFact,
)
from berth.explain.reduction import all_facts, reduced_input, told_facts
from berth.explain.trials import Judge
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node

_ORDER: tuple[type[Fact], ...] = (
    RequestFact,
    ConstraintFact,
    SelectorFact,
    TaintFact,
    HolderFact,
)
"""What is taken out first: the fewest requests and constraints are the easiest to read."""


def sufficient_facts(
    conflict: Conflict,
    claims: Sequence[ResourceClaim],
    snapshot: Snapshot,
    nodes: Sequence[Node],
    judge: Judge,
) -> tuple[Fact, ...]:
    """Return facts with which alone the claims do not fit on any of the nodes.

    Args:
        conflict: Why they do not fit.
        claims: The claims of the attempt.
        snapshot: What was published and in use.
        nodes: The nodes in question.
        judge: Tells whether a reduced input fits on one of ``nodes``; within its bounds.

    Returns:
        A part of what the conflict names, where that suffices; else a part of all there is. Empty
        where it is not proven that the claims do not fit.
    """

    def fails(facts: Sequence[Fact]) -> bool:
        reduced, cluster = reduced_input(claims, snapshot, facts, nodes)
        return bool(reduced) and judge(reduced, cluster) is False

    facts = told_facts(conflict, claims)
    if not fails(facts):
        facts = all_facts(claims, snapshot, nodes)
        if not fails(facts):
            return ()
    for kind in _ORDER:
        of_kind = tuple(fact for fact in facts if isinstance(fact, kind))
        others = tuple(fact for fact in facts if not isinstance(fact, kind))
        if of_kind and fails(others):
            facts = others
            continue
        # From the end, so that what the claims ask for first stays.
        for fact in reversed(of_kind[1:] if len(of_kind) == 1 else of_kind):
            rest = tuple(each for each in facts if each != fact)
            if fails(rest):
                facts = rest
    return facts
