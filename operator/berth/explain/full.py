# SPDX-License-Identifier: Apache-2.0
"""The whole explanation: the conflict, the facts that suffice for it, and hints.

Decides which nodes stand for all when changes are tried. Costs several searches, each bounded, so
that it is for those who ask, not for every pod of every round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from berth.engine.outcomes import DEFAULT_BUDGET
from berth.engine.snapshot import Snapshot
from berth.explain.conflict import Conflict
from berth.explain.details import with_details
from berth.explain.question import Question
from berth.explain.reduction import told_facts
from berth.explain.report import MAX_NODES, explain_unplaceable
from berth.explain.shrink import sufficient_facts
from berth.explain.suggest import find_hints
from berth.explain.trials import Judge, Trials
from berth.model.claims import ResourceClaim
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState

MAX_TRIED_NODES = 6
"""Changes are tried on so many nodes, one of each kind of failure."""


def explain_fully(  # noqa: PLR0913 - the arguments of the placement, and its outcome
    snapshot: Snapshot,
    pod: Pod,
    claims: Sequence[ResourceClaim],
    nodes: Iterable[NodeState],
    outcome: Unplaceable,
    *,
    allocated: Sequence[ResourceClaim] = (),
    max_nodes: int = MAX_NODES,
    budget: int = DEFAULT_BUDGET,
    consumers: Mapping[str, Sequence[str]] = MappingProxyType({}),
    fits: Judge | None = None,
) -> Conflict:
    """Return why ``pod`` was not placed, which facts suffice for that, and what would help.

    Args:
        snapshot: The snapshot that the placement saw.
        pod: The pod.
        claims: Its claims without an allocation, as the placement got them.
        nodes: All nodes, in any order.
        outcome: What the placement said.
        allocated: Its claims with an allocation.
        max_nodes: How many of the nodes whose devices do not fit are looked at.
        budget: Steps that the placement had for each node.
        consumers: The pods that use a claim, by ``namespace/name`` of the claim.
        fits: Judges changed claims and usage in place of the engine on some nodes, for callers
            that can place a pod.

    Raises:
        InvalidClaimError: As ``berth.engine.allocate`` does.
        InvalidSelectorError: As ``berth.engine.allocate`` does.
        SelectorRuntimeError: As ``berth.engine.allocate`` does.
    """
    states = tuple(nodes)
    conflict = explain_unplaceable(
        snapshot,
        pod,
        claims,
        states,
        outcome,
        allocated=allocated,
        max_nodes=max_nodes,
        budget=budget,
    )
    node_by_name = {state.node.name: state.node for state in states}
    tried = [node_by_name[name] for name in standing_for_all(conflict)]
    facts = (
        sufficient_facts(conflict, claims, snapshot, tried, Trials(tried))
        if tried and claims and not outcome.undecided
        else ()
    )
    conflict = replace(conflict, facts=facts)
    question = Question(
        conflict, tuple(claims), snapshot, node_by_name, outcome.refused, tuple(allocated)
    )
    told = told_facts(conflict, claims)
    return with_details(
        replace(
            conflict,
            also=tuple(fact for fact in facts if fact not in told),
            hints=find_hints(question, Trials(tried), fits),
        ),
        snapshot.inventory,
        consumers=consumers,
    )


def standing_for_all(conflict: Conflict) -> tuple[str, ...]:
    """Return one node of each kind of failure, the most frequent kind first."""
    kinds: dict[tuple[int, ...], list[str]] = {}
    for node in (*conflict.examined, *conflict.undecided):
        kind = tuple(
            next((n for n, group in enumerate(request.groups) if node in group.nodes), -1)
            for request in conflict.requests
        )
        kinds.setdefault((node in conflict.undecided, *kind), []).append(node)
    most_frequent = sorted(kinds.values(), key=lambda names: -len(names))
    return tuple(names[0] for names in most_frequent[:MAX_TRIED_NODES])
