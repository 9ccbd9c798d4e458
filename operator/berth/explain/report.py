# SPDX-License-Identifier: Apache-2.0
"""The way in: explain why a pod was not placed, and render the conflict.

Decides which nodes are looked at again. Never allocates: the devices are explained by
``berth.engine.explain_node`` on the snapshot that the placement saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from berth.engine.allocator import explain_node
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.engine.snapshot import Snapshot
from berth.explain.build import build_conflict
from berth.explain.conflict import Conflict
from berth.explain.data import as_json
from berth.explain.line import cause_key, one_line
from berth.explain.tree import tree
from berth.model.claims import ResourceClaim
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState

__all__ = ["as_json", "cause_key", "explain_unplaceable", "one_line", "tree"]

MAX_NODES = 50
"""How many nodes are explained; the rest is counted."""
EXPLAIN_BUDGET = 2_000
"""Steps of the search that is repeated to see it fail: the first failures tell what is needed."""


def explain_unplaceable(  # noqa: PLR0913 - the arguments of the placement, and its outcome
    snapshot: Snapshot,
    pod: Pod,
    claims: Sequence[ResourceClaim],
    nodes: Iterable[NodeState],
    outcome: Unplaceable,
    *,
    allocated: Sequence[ResourceClaim] = (),
    max_nodes: int = MAX_NODES,
    budget: int = DEFAULT_BUDGET,
) -> Conflict:
    """Return why ``pod`` was not placed.

    Args:
        snapshot: The snapshot that the placement saw.
        pod: The pod.
        claims: Its claims without an allocation, as the placement got them.
        nodes: All nodes, in any order.
        outcome: What the placement said.
        allocated: Its claims with an allocation; without them it cannot be told that such a claim
            holds the devices which another claim of the same pod needs.
        max_nodes: How many of the nodes whose devices do not fit are looked at, by name. Unusable
            pools come first, because the others may wait for them.
        budget: Steps that the placement had for each node; explaining takes less.

    Raises:
        InvalidClaimError: As ``berth.engine.allocate`` does.
        InvalidSelectorError: As ``berth.engine.allocate`` does.
        SelectorRuntimeError: As ``berth.engine.allocate`` does.
    """
    node_by_name = {state.node.name: state.node for state in nodes}
    with_problems = set(outcome.problems)
    names = sorted(outcome.no_fit, key=lambda name: (name not in with_problems, name))
    explanations = [
        explain_node(snapshot, node_by_name[name], claims, budget=min(budget, EXPLAIN_BUDGET))
        for name in names[:max_nodes]
    ]
    return build_conflict(
        pod,
        claims,
        outcome,
        explanations,
        allocated=allocated,
        drivers=snapshot.inventory.drivers,
        budget=budget,
    )
