# SPDX-License-Identifier: Apache-2.0
"""The conflict of a pod, put together from what placement and engine said.

Decides nothing itself; each part of the conflict is found by a module of its own. Needs no
snapshot and runs no search.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from berth.engine.outcomes import DEFAULT_BUDGET
from berth.engine.rejections import NodeExplanation
from berth.explain.conflict import Conflict
from berth.explain.merge import failure_of, merge_problems, merge_refusals, merge_requests
from berth.explain.rivalry import find_rivalries
from berth.model.claims import ResourceClaim
from berth.model.placement import Unplaceable
from berth.model.pods import Pod


def build_conflict(  # noqa: PLR0913 - the facts that a conflict is made of
    pod: Pod,
    claims: Sequence[ResourceClaim],
    outcome: Unplaceable,
    explanations: Sequence[NodeExplanation],
    *,
    allocated: Sequence[ResourceClaim] = (),
    drivers: Iterable[str] = (),
    budget: int = DEFAULT_BUDGET,
) -> Conflict:
    """Return the conflict for facts that are known already; needs no engine.

    Args:
        pod: The pod.
        claims: Its claims without an allocation; ``explanations`` count them from zero.
        outcome: What the placement said.
        explanations: One for each node that is to be described, a part of ``outcome.no_fit``.
        allocated: Its claims with an allocation.
        drivers: The drivers that publish devices.
        budget: The steps after which the search on one node gave up.
    """
    explanations = sorted(explanations, key=lambda explanation: explanation.node)
    failures = [failure_of(explanation) for explanation in explanations]
    nodes = len(outcome.refused) + len(outcome.no_fit) + len(outcome.undecided)
    return Conflict(
        pod=str(pod.key),
        claims=tuple(claim.key for claim in claims),
        nodes=nodes,
        refused_nodes=len(outcome.refused),
        refused=merge_refusals(outcome.refused),
        examined=tuple(explanation.node for explanation in explanations),
        unexamined=len(outcome.no_fit) - len(explanations),
        undecided=outcome.undecided,
        budget=budget,
        requests=merge_requests(failures, claims),
        together=tuple(f.node for f in failures if f.is_joint and not f.summaries),
        rivalries=find_rivalries(failures, claims, allocated),
        problems=merge_problems(explanations),
        pools_to_blame=bool(outcome.problems),
        drivers=tuple(sorted(set(drivers))),
    )
