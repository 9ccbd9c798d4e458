# SPDX-License-Identifier: Apache-2.0
"""The second, explaining pass: why the claims of a pod do not fit on a node.

Decides nothing anew. Every device of the node is asked why each request cannot have it, given
what is allocated; then the search is run again and tells what it refused because of what it had
taken. Errors that end an attempt end this pass as well.

Source: none; upstream says only that claims cannot be allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

from berth.engine.eligibility import Eligibility
from berth.engine.plan import NodeFailureError, Plan, PlannedBody, plan_claims
from berth.engine.pools import NodeView
from berth.engine.records import DeviceRecord
from berth.engine.rejections import (
    LimitReached,
    NodeExplanation,
    NodeProblem,
    RejectedDevice,
    Rejection,
    RequestSummary,
)
from berth.engine.search import Search
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import MAX_DEVICES_PER_CLAIM, ResourceClaim
from berth.model.nodes import Node


def explain(
    snapshot: Snapshot, node: Node, claims: Sequence[ResourceClaim], *, budget: int
) -> NodeExplanation:
    """See ``berth.engine.allocator.explain_node``."""
    view = snapshot.inventory.view(node)
    claim = str(claims[0].key) if claims else ""
    if view.fatal:
        raise InvalidClaimError(claim, "", view.fatal, reason="InvalidNodeSelector")
    eligibility = Eligibility(snapshot, view, claim)
    problems: tuple[NodeProblem, ...] = view.problems
    try:
        plan = plan_claims(snapshot, view, claims, eligibility)
    except NodeFailureError:
        return NodeExplanation(node.name, (), (), problems)
    met = _Met()
    search = Search(plan, view, eligibility, snapshot.features, budget=budget, record=met)
    search.run()
    summaries: list[RequestSummary] = []
    rejected: list[RejectedDevice] = []
    for body in _bodies(plan):
        found = _explain_body(body, view, eligibility, met)
        summaries.append(found[0])
        rejected.extend(found[1])
    return NodeExplanation(node.name, tuple(summaries), tuple(rejected), problems)


def _bodies(plan: Plan) -> Sequence[PlannedBody]:
    return [body for claim in plan for request in claim.requests for body in request.bodies]


class _Met:
    """What the search met for each request until it could not go on there for the first time.

    Later attempts start elsewhere and refuse other devices: together they would name every device
    and say nothing of how far the request had come.
    """

    def __init__(self) -> None:
        self.by_body: dict[PlannedBody, dict[DeviceRecord, Rejection]] = {}
        self._closed: set[PlannedBody] = set()

    def refused(self, body: PlannedBody, record: DeviceRecord, rejection: Rejection) -> None:
        if body not in self._closed:
            self.by_body.setdefault(body, {}).setdefault(record, rejection)

    def exhausted(self, body: PlannedBody) -> None:
        self._closed.add(body)


def _explain_body(
    body: PlannedBody, view: NodeView, eligibility: Eligibility, met: _Met
) -> tuple[RequestSummary, list[RejectedDevice]]:
    rejected: list[RejectedDevice] = []
    eligible = 0
    met_here = met.by_body.get(body, {})
    candidates = [
        record
        for record in view.devices
        if record not in view.unreachable and record not in view.mistakes
    ]
    for record in candidates:
        rejection = eligibility.explanation(body, record)
        rejection = rejection or met_here.get(record)
        if rejection is None:
            eligible += 1
        else:
            rejected.append(RejectedDevice(body.claim, body.ref, record.id, rejection))
    return (
        RequestSummary(
            claim=body.claim,
            request=body.ref,
            device_class=body.device_class.name,
            mode=body.body.allocation_mode,
            wanted=body.wanted,
            candidates=len(candidates),
            eligible=eligible,
            limit=LimitReached(MAX_DEVICES_PER_CLAIM)
            if body.wanted > MAX_DEVICES_PER_CLAIM
            else None,
        ),
        rejected,
    )
