# SPDX-License-Identifier: Apache-2.0
"""The entry to the engine: which devices, or why not, for the claims of one pod on one node.

Decides what kind of answer there is; how it is found is in ``plan`` and ``search``. Pure: the
same arguments always give the same answer.

Source: KEP-4381; ``k8s.io/dynamic-resource-allocation`` structured allocator.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from berth.engine.attempt import Attempt
from berth.engine.eligibility import Eligibility
from berth.engine.explanation import explain
from berth.engine.outcomes import DEFAULT_BUDGET, Allocated, Outcome, Undecided, Unsatisfiable
from berth.engine.plan import NodeFailureError, plan_claims
from berth.engine.rejections import NodeExplanation, PoolInvalid
from berth.engine.results import TakenDevice, assemble_result, preference_score
from berth.engine.search import Answer, Search
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node

SHARE_PLACEHOLDER = "share-"
"""What the names of shares begin with until they have an identity."""


def allocate(
    snapshot: Snapshot,
    node: Node,
    claims: Sequence[ResourceClaim],
    *,
    budget: int = DEFAULT_BUDGET,
) -> Outcome:
    """Choose devices on ``node`` for all of ``claims``, all or nothing.

    Args:
        snapshot: What is published and what is in use; not changed.
        node: The node to be tried.
        claims: The claims of one pod that have no allocation, in the order of the pod.
        budget: Steps after which the search gives up.

    Returns:
        ``Allocated`` with the first solution in upstream's order, ``Unsatisfiable`` where there
        is none, ``Undecided`` where the budget ran out. Shares of devices are named ``share-1``,
        ``share-2`` and so on over all claims: whoever writes the results names them anew.

    Raises:
        InvalidClaimError: If a claim cannot be honoured as written, on whatever node.
        InvalidSelectorError: If a selector that the search reached does not compile
            (``ClaimSelectorError``, which says whose selector it is).
        SelectorRuntimeError: If a selector fails on a device that the search reached.
    """
    if not claims:
        return Allocated((), steps=0)
    view = snapshot.inventory.view(node)
    claim = str(claims[0].key)
    if view.fatal:
        raise InvalidClaimError(claim, "", view.fatal, reason="InvalidNodeSelector")
    eligibility = Eligibility(snapshot, view, claim)
    try:
        plan = plan_claims(snapshot, view, claims, eligibility)
    except NodeFailureError as failure:
        return Unsatisfiable(0, (failure.problem,))
    search = Search(plan, view, eligibility, snapshot.features, budget=budget)
    answer = search.run()
    if answer is Answer.GAVE_UP:
        return Undecided(search.steps)
    if answer is Answer.NONE:
        # Devices of an invalid pool might have been the ones: upstream blames the pool.
        invalid = tuple(p for p in view.problems if isinstance(p, PoolInvalid))
        return Unsatisfiable(search.steps, invalid)
    chosen = search.chosen()
    taken = _with_shares(search.attempt)
    results = tuple(
        assemble_result(
            planned,
            [chosen[index, position] for position in range(len(planned.requests))],
            taken[index],
            node,
            snapshot.features,
        )
        for index, planned in enumerate(plan)
    )
    return Allocated(results, search.steps, preference_score(plan, chosen))


def _with_shares(attempt: Attempt) -> list[list[TakenDevice]]:
    """Number the shares over all claims: identities are drawn by whoever writes the results."""
    numbers = itertools.count(1)
    return [
        [
            TakenDevice(body, record)
            if consumed is None
            else TakenDevice(body, record, f"{SHARE_PLACEHOLDER}{next(numbers)}", consumed)
            for body, record in taken
            for consumed in [attempt.consumed(body, record)]
        ]
        for taken in attempt.taken
    ]


def explain_node(
    snapshot: Snapshot,
    node: Node,
    claims: Sequence[ResourceClaim],
    *,
    budget: int = DEFAULT_BUDGET,
) -> NodeExplanation:
    """Say why ``claims`` do not fit on ``node``: for each request and device the first rejection.

    A rejection is one that holds for the request alone, given what is allocated; or else one that
    the search met before it could not go on with the request for the first time: taken by another
    request of the same pod, or refused by a constraint beside the devices chosen before.
    ``RequestSummary.eligible`` counts the devices that have neither.

    Raises:
        InvalidClaimError, InvalidSelectorError, SelectorRuntimeError: As ``allocate`` does.
    """
    return explain(snapshot, node, claims, budget=budget)
