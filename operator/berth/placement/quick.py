# SPDX-License-Identifier: Apache-2.0
"""Which node takes a pod with its claims, without looking at nodes that cannot.

Decides as ``berth.placement.place`` does: same node, same devices, same errors. It does not tell
what is in the way on each node; who wants to know asks ``place``.

Source: as ``berth.placement.place``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

from berth.engine.allocator import allocate
from berth.engine.outcomes import Allocated, Undecided, Unsatisfiable
from berth.engine.prospects import Outlook, Prospects, Refuted
from berth.engine.snapshot import Snapshot
from berth.engine.supply import Supply
from berth.model.claims import ResourceClaim
from berth.model.nodes import NodeSelector
from berth.model.placement import Placed
from berth.model.pods import Pod
from berth.model.policy import Placement
from berth.model.usage import NodeState
from berth.placement.nodes import refusals
from berth.placement.place import FULL_SEARCHES, SHORT_SEARCH, best_score

IN = "In"
NAME = "metadata.name"


@dataclass(frozen=True, slots=True)
class Ranked:
    """The nodes of the cluster by rank: ``at`` leaves out what the pod itself takes.

    ``own`` is the rank of the node that the pod counts on already, if it does.
    """

    at: Callable[[int], NodeState]
    rank: Callable[[str], int | None]
    own: int | None = None


class NotQuickError(Exception):
    """The question has to be asked node by node."""


def place_quickly(  # noqa: PLR0913 - what is placed, where, and how
    snapshot: Snapshot,
    prospects: Prospects,
    pod: Pod,
    claims: Sequence[ResourceClaim],
    nodes: Ranked,
    *,
    allocated: Sequence[ResourceClaim],
    policy: Placement,
    budget: int,
) -> Placed | None:
    """Return the node for ``pod`` with devices for ``claims``, ``None`` where no node fits.

    Args:
        snapshot: What is published and what is in use.
        prospects: What is known of its nodes.
        pod: The pod to be placed.
        claims: Its claims without an allocation, in the order of the pod's references.
        nodes: All nodes.
        allocated: Its claims with an allocation; they restrict the nodes.
        policy: As for ``place``.
        budget: As for ``place``.

    Raises:
        NotQuickError: If only ``place`` can tell.
        InvalidClaimError, InvalidSelectorError, SelectorRuntimeError: As ``place`` does.
    """
    if snapshot.features.node_allocatable_resources:
        raise NotQuickError
    outlook = prospects.of_claims(claims)
    if outlook.may_fail and best_score(claims):
        raise NotQuickError  # How far nodes are tried for a better score decides who is reached.
    # Claims that are allocated are not part of the key.
    refused = Refuted() if allocated else prospects.of_pod(demands_of(pod))
    visit = _Visit(
        snapshot,
        pod,
        claims,
        nodes,
        allocated=allocated,
        refuted=outlook.refuted,
        refused=refused,
        budget=budget,
    )
    possible = prospects.fleet.all_nodes & ~visit.refused_nodes()
    for selector in (pod.required_affinity, *(_selector_of(claim) for claim in allocated)):
        possible &= _only(selector, nodes)
    found = _best(outlook, possible, _order(prospects, claims, policy), visit)
    if found is None:
        if claims and not outlook.refuted.nodes:
            # What is wrong with the claims themselves is said by whichever node is asked.
            visit.first_of(possible)
        return None
    rank, outcome = found
    name = nodes.at(rank).node.name
    return Placed(name, outcome.results, steps=visit.steps, pin=not pod.unmodelled)


class _Visit:
    """Asks single nodes, and notes every "no"."""

    def __init__(  # noqa: PLR0913 - the question
        self,
        snapshot: Snapshot,
        pod: Pod,
        claims: Sequence[ResourceClaim],
        nodes: Ranked,
        *,
        allocated: Sequence[ResourceClaim],
        refuted: Refuted,
        refused: Refuted,
        budget: int,
    ) -> None:
        self.steps = 0
        self._snapshot = snapshot
        self._pod = pod
        self._claims = claims
        self._allocated = allocated
        self._nodes = nodes
        self._refuted = refuted
        self._refused = refused
        self._budget = budget

    def refused_nodes(self) -> int:
        """Return the nodes that refuse the pod; not the one on which it may refuse itself."""
        own = self._nodes.own
        return self._refused.nodes & ~(0 if own is None else 1 << own)

    def __call__(self, rank: int) -> Allocated | None:
        state = self._nodes.at(rank)
        if refusals(self._pod, state, self._allocated):
            if rank != self._nodes.own:
                self._refused.add(rank)
            return None
        if not self._claims:
            return Allocated((), 0)
        is_early = self.steps < FULL_SEARCHES * self._budget
        share = self._budget if is_early else max(1, self._budget // SHORT_SEARCH)
        outcome = allocate(self._snapshot, state.node, self._claims, budget=share)
        self.steps += outcome.steps
        match outcome:
            case Allocated():
                return outcome
            case Unsatisfiable():
                self._refuted.add(rank)
            case Undecided():
                pass
        return None

    def first_of(self, possible: int) -> None:
        """Ask the first of ``possible`` that does not refuse the pod."""
        for rank in _ranks(possible):
            if not refusals(self._pod, self._nodes.at(rank), self._allocated):
                self(rank)
                return


def _best(
    outlook: Outlook, possible: int, order: _Order, visit: _Visit
) -> tuple[int, Allocated] | None:
    """Return the first node in order among those with the best score."""
    best: tuple[int, Allocated] | None = None
    for bound, level in outlook.levels:
        if best is not None and best[1].score > bound:
            break
        for rank in order.of(level & possible):
            if best is not None and best[1].score == bound and order.is_before(best[0], rank):
                break
            outcome = visit(rank)
            if outcome is None:
                continue
            if (
                best is None
                or outcome.score > best[1].score
                or (outcome.score == best[1].score and order.is_before(rank, best[0]))
            ):
                best = rank, outcome
            if outcome.score >= bound:
                break
    return best


class _Order:
    """The order in which nodes are tried: by name, or by free devices and name."""

    def __init__(self, supply: Supply | None, sign: int) -> None:
        self._supply = supply
        self._sign = sign

    def of(self, nodes: int) -> Iterator[int]:
        """Yield the ranks of ``nodes`` in order."""
        if self._supply is None:
            yield from _ranks(nodes)
            return
        for level in self._supply.by_count(nodes, ascending=self._sign > 0):
            yield from _ranks(level)

    def is_before(self, rank: int, other: int) -> bool:
        """Tell whether one node is tried before another."""
        return self._key(rank) < self._key(other)

    def _key(self, rank: int) -> tuple[int, int]:
        return (0 if self._supply is None else self._sign * self._supply.count_on(rank)), rank


def _order(prospects: Prospects, claims: Sequence[ResourceClaim], policy: Placement) -> _Order:
    if policy is Placement.FIRST_FIT:
        return _Order(None, 1)
    supply = prospects.free_of_classes({n for claim in claims for n in claim.spec.class_names})
    if supply is None:
        raise NotQuickError
    return _Order(supply, 1 if policy is Placement.PACK else -1)


def _ranks(nodes: int) -> Iterator[int]:
    """Yield the places of the bits, lowest first."""
    while nodes:
        lowest = nodes & -nodes
        yield lowest.bit_length() - 1
        nodes ^= lowest


def demands_of(pod: Pod) -> Hashable:
    """Return all of the pod that its node must do justice to, beside claims."""
    return (
        tuple(sorted(pod.requests.items())),
        tuple(sorted(pod.node_selector.items())),
        pod.required_affinity,
        pod.tolerations,
        pod.host_ports,
    )


def _selector_of(claim: ResourceClaim) -> NodeSelector | None:
    return None if claim.allocation is None else claim.allocation.node_selector


def _only(selector: NodeSelector | None, nodes: Ranked) -> int:
    """Return the nodes that a selector names by their own names; every bit where it does not."""
    if selector is None:
        return -1
    named = 0
    for term in selector.terms:
        fields = term.match_fields
        if len(fields) != 1 or fields[0].key != NAME or fields[0].operator != IN:
            return -1
        for name in fields[0].values:
            rank = nodes.rank(name)
            named |= 0 if rank is None else 1 << rank
    return named
