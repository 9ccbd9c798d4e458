# SPDX-License-Identifier: Apache-2.0
"""What was decided and is not yet seen: allocations of claims, and nodes of pods.

An assumption lives from the decision until an observed object says what became of it. It is
never dropped because time has passed: a write without an answer may still take effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.pods import Pod, PodKey
from berth.model.results import AllocationResult
from berth.state.index import Index


@dataclass(frozen=True, slots=True)
class Assumption:
    """``claim_uid`` shall get ``result``, for ``pod``."""

    pod: PodKey
    claim_uid: str
    result: AllocationResult


class Assumptions:
    """Assumed allocations by claim, and assumed nodes by pod."""

    __slots__ = ("_of_pod", "claims", "nodes")

    def __init__(self) -> None:
        self.claims: dict[ClaimKey, Assumption] = {}
        self.nodes: dict[PodKey, str] = {}
        self._of_pod: Index[PodKey, ClaimKey] = Index()

    def assume(
        self,
        pod: PodKey,
        node: str | None,
        allocations: Mapping[ClaimKey, AllocationResult],
        claims: Mapping[ClaimKey, ResourceClaim],
    ) -> None:
        """Enter one decision about ``claims``; ``node`` is ``None`` where it is left open."""
        for key in allocations:
            claim = claims.get(key)
            if claim is None or claim.allocation is not None or key in self.claims:
                raise AssertionError(
                    f"claim {key} is assumed for pod {pod}, but is "
                    + ("unknown" if claim is None else "allocated, or assumed for another pod")
                )
        for key, result in allocations.items():
            self.claims[key] = Assumption(pod, claims[key].uid, result)
            self._of_pod.add(pod, key)
        if node is not None:
            self.nodes[pod] = node

    def claims_of(self, pod: PodKey) -> tuple[ClaimKey, ...]:
        """Return the claims that are assumed for ``pod``."""
        return self._of_pod.get(pod)

    def end(self, key: ClaimKey) -> Assumption | None:
        """Drop the assumption for a claim; return it."""
        ended = self.claims.pop(key, None)
        if ended is not None:
            self._of_pod.discard(ended.pod, key)
        return ended

    def after_claim(self, claim: ResourceClaim) -> AllocationResult | None:
        """Return what ``claim``, as observed, holds; end the assumption where it is answered.

        It is answered when the claim has an allocation, ours or another, or is a new object.
        """
        assumption = self.claims.get(claim.key)
        if assumption is None:
            return claim.allocation
        if claim.allocation is not None or assumption.claim_uid != claim.uid:
            self.end(claim.key)
            return claim.allocation
        return assumption.result

    def after_pod(self, pod: Pod) -> str:
        """Return the node that ``pod``, as observed, will take its resources of; "" if open."""
        if pod.node_name or pod.is_terminal:
            self.nodes.pop(pod.key, None)
            return "" if pod.is_terminal else pod.node_name
        return self.nodes.get(pod.key, "") or pinned_node(pod)


def pinned_node(pod: Pod) -> str:
    """Return the only node that the pod's required affinity allows by name; "" if it is open.

    That is how Berth pins a pod when it takes the gate off, so a pod that it has sent on its way
    counts on its node also for the Berth that starts in the middle of that.
    """
    if pod.is_gated or pod.required_affinity is None:
        return ""
    names = set()
    for term in pod.required_affinity.terms:
        named = {
            requirement.values[0]
            for requirement in term.match_fields
            if requirement.key == "metadata.name"
            and requirement.operator == "In"
            and len(requirement.values) == 1
        }
        if len(named) != 1:
            return ""
        names |= named
    return names.pop() if len(names) == 1 else ""
