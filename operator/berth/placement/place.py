# SPDX-License-Identifier: Apache-2.0
"""Which node takes a pod with its claims.

Decides the order in which nodes are tried and which of those that fit is taken. Never chooses
devices (``berth.engine``), and never says in words why a node is refused (``berth.explain``).

Source: KEP-4381 for "all claims of a pod on one node"; KEP-4816 for the score of prioritized
lists across nodes; KEP-5517 for devices that take resources of the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from berth.engine.allocator import allocate
from berth.engine.outcomes import DEFAULT_BUDGET, Allocated, Undecided, Unsatisfiable
from berth.engine.results import BEST_ALTERNATIVE
from berth.engine.snapshot import Snapshot
from berth.model.claims import ResourceClaim
from berth.model.placement import NodeReason, NodeRefusal, Placed, Unplaceable
from berth.model.pods import Pod
from berth.model.policy import Placement
from berth.model.usage import NodeState
from berth.placement.node_allocatable import check_not_shared, shortages
from berth.placement.nodes import refusals
from berth.placement.order import in_order

FULL_SEARCHES = 8
"""So many times the budget may be spent at full depth; after that nodes get the short search."""
SHORT_SEARCH = 100
"""A short search has the budget divided by this: enough for every claim that is not hard."""


def place(  # noqa: PLR0913 - what is placed, where, and how
    snapshot: Snapshot,
    pod: Pod,
    claims: Sequence[ResourceClaim],
    nodes: Iterable[NodeState],
    *,
    allocated: Sequence[ResourceClaim] = (),
    policy: str = "FirstFit",
    budget: int = DEFAULT_BUDGET,
) -> Placed | Unplaceable:
    """Return the node for ``pod`` with devices for ``claims``, or what is in the way on each node.

    Nodes are tried in the order of ``policy``; the first that fits is taken. With prioritized
    lists the node with the best score is taken, and trying ends where no node can be better.

    Args:
        snapshot: What is published and what is in use.
        pod: The pod to be placed.
        claims: Its claims without an allocation, in the order of the pod's references.
        nodes: All nodes, in any order.
        allocated: Its claims with an allocation; they restrict the nodes.
        policy: ``FirstFit`` (by name), ``Pack`` (fewest free devices first) or ``Spread`` (most).
        budget: Search steps on one node. Where hard searches have used up several budgets,
            the nodes that are left get a part of it each, so that one pod cannot stop the operator.

    Raises:
        InvalidClaimError: If a claim cannot be honoured as written, on any node that was tried.
        InvalidSelectorError: If a selector does not compile.
        SelectorRuntimeError: If a selector fails on a device of a node that was tried.
        ValueError: If ``policy`` is none of the three.
    """
    refused: list[NodeRefusal] = []
    if snapshot.features.node_allocatable_resources:
        check_not_shared(snapshot.inventory, pod, allocated)
    possible = _possible(pod, nodes, allocated, refused)
    if Placement(policy) is Placement.FIRST_FIT:
        # Node by node: what comes after the first that fits need not be looked at.
        candidates: Iterable[NodeState] = possible
    else:
        candidates = in_order(snapshot, claims, tuple(possible), policy)
    return _first_or_best(
        snapshot,
        pod,
        claims,
        candidates,
        refused,
        allocated=allocated,
        budget=budget,
    )


def _possible(
    pod: Pod,
    nodes: Iterable[NodeState],
    allocated: Sequence[ResourceClaim],
    refused: list[NodeRefusal],
) -> Iterator[NodeState]:
    """Yield the nodes that the pod may go to, by name; note the others in ``refused``."""
    for state in sorted(nodes, key=lambda each: each.node.name):
        reasons = refusals(pod, state, allocated)
        if reasons:
            refused.append(NodeRefusal(state.node.name, reasons))
        else:
            yield state


def best_score(claims: Iterable[ResourceClaim]) -> int:
    """Return the score of an allocation in which every prioritized list gets its first choice."""
    return sum(
        BEST_ALTERNATIVE
        for claim in claims
        for request in claim.spec.requests
        if request.exactly is None and request.first_available
    )


def _first_or_best(  # noqa: PLR0913 - private; the state of one attempt, each named
    snapshot: Snapshot,
    pod: Pod,
    claims: Sequence[ResourceClaim],
    candidates: Iterable[NodeState],
    refused: list[NodeRefusal],
    *,
    allocated: Sequence[ResourceClaim],
    budget: int,
) -> Placed | Unplaceable:
    enough = best_score(claims)
    best: tuple[str, Allocated] | None = None
    no_fit: list[str] = []
    undecided: list[str] = []
    problems: list[str] = []
    steps = 0
    for state in candidates:
        node = state.node
        share = budget if steps < FULL_SEARCHES * budget else max(1, budget // SHORT_SEARCH)
        outcome = allocate(snapshot, node, claims, budget=share) if claims else Allocated((), 0)
        steps += outcome.steps
        match outcome:
            case Allocated():
                short = _device_shortages(snapshot, pod, state, (claims, outcome), allocated)
                if short:
                    refused.append(NodeRefusal(node.name, short))
                    continue
                if best is None or outcome.score > best[1].score:
                    best = (node.name, outcome)
                if outcome.score >= enough:
                    break
            case Unsatisfiable():
                no_fit.append(node.name)
                if outcome.problems:
                    problems.append(node.name)
            case Undecided():
                undecided.append(node.name)
    if best is not None:
        return Placed(node=best[0], results=best[1].results, steps=steps, pin=not pod.unmodelled)
    return Unplaceable(
        refused=tuple(sorted(refused, key=lambda refusal: refusal.node)),
        no_fit=tuple(sorted(no_fit)),
        undecided=tuple(sorted(undecided)),
        problems=tuple(sorted(problems)),
    )


def _device_shortages(
    snapshot: Snapshot,
    pod: Pod,
    state: NodeState,
    chosen: tuple[Sequence[ResourceClaim], Allocated],
    allocated: Sequence[ResourceClaim],
) -> tuple[NodeReason, ...]:
    if not snapshot.features.node_allocatable_resources:
        return ()
    claims, outcome = chosen
    allocations = [
        *zip(claims, outcome.results, strict=True),
        *((claim, claim.allocation) for claim in allocated if claim.allocation is not None),
    ]
    return shortages(snapshot.inventory, pod, state, allocations)
