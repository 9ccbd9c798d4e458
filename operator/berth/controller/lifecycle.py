# SPDX-License-Identifier: Apache-2.0
"""What the life of its claims asks for before a pod is decided: as a value, without doing it.

Decides whether an allocation is to be undone because the pod could not start with it, and whether
a claim that was deleted under a pod has to be asked for. Never where the pod goes
(``berth.controller.decide``); reads no clock.

Source: KEP-4381; kube-controller-manager's resourceclaim controller, which makes a deleted claim
anew only when its pod changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from berth.controller.decide import Verdict
from berth.decision import NoFit, why_not
from berth.explain.line import one_line
from berth.explain.messages import fit_event
from berth.model.binding import Unready
from berth.model.claims import ResourceClaim
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference, PodKey
from berth.satisfiable import (
    Lost,
    consumer_pod,
    hoarded_claims,
    lost_claims,
    unready_claims,
)
from berth.state.assumed import pinned_node
from berth.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Undo these allocations, and decide the pod anew.

    ``consumers`` are all pods that the claims are reserved for, beside the pod itself.
    """

    lost: tuple[Lost, ...]
    consumers: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The claim of a reference that was recorded in the pod's status and is not there."""

    reference: PodClaimReference
    claim: str


@dataclass(frozen=True, slots=True)
class AskForClaims:
    """Generated claims of the pod are gone; whoever generates them has to be woken."""

    missing: tuple[Missing, ...]


ASK_ATTEMPTS = 3
"""How often a missing claim is asked for: the first time may come too early for who makes it."""
GRACE_SECONDS = 1.0
"""How long a claim may be unknown before it counts as missing."""
ASK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Doomed:
    """Nothing that Berth may do lets the pod start; ``message`` says what its owner can do."""

    message: str


@dataclass(frozen=True, slots=True)
class AwaitBinding:
    """The claims are allocated, and their devices are being made ready for the pod."""

    claims: tuple[tuple[ResourceClaim, tuple[Unready, ...]], ...]

    @property
    def since(self) -> str:
        """When the first of the claims was allocated, as the API has it; empty if none tells."""
        given = (c.allocation.timestamp for c, _ in self.claims if c.allocation is not None)
        return min((each for each in given if each), default="")

    def message(self, pod: Pod) -> str:
        """Say what is waited for."""
        parts = (f"claim {c.key}: {each}" for c, unready in self.claims for each in unready)
        return fit_event(f"pod {pod.key}: waiting for its devices to be ready: {'; '.join(parts)}")

    def overdue(self, seconds: float) -> tuple[Lost, ...]:
        """Return what is to be undone when that has taken too long."""
        return tuple(
            Lost(
                claim,
                f"not ready within {seconds:g} s of the allocation: "
                + "; ".join(str(each) for each in unready),
                tuple(each.device for each in unready),
            )
            for claim, unready in self.claims
        )


LifeVerdict = TakeBack | AskForClaims | Doomed | AwaitBinding


def decide_life(cluster: Cluster, pod: Pod) -> LifeVerdict | None:
    """Return what the claims of ``pod`` need before it is decided; ``None`` where nothing."""
    if pod.deleting or pod.is_terminal or pod.node_name:
        return None
    claims: list[ResourceClaim] = []
    missing: list[Missing] = []
    for reference, name in pod.resolved_claims():
        claim = cluster.claim_of(pod, reference)
        if claim is not None:
            claims.append(claim)
        elif name is not None and _is_asked_for(cluster, pod, reference):
            missing.append(Missing(reference, name))
    if missing:
        return AskForClaims(tuple(missing))
    if not pod.is_gated:
        node = gone_pin(cluster, pod, claims)
        return Doomed(pinned_to_gone_node(pod, node)) if node else None
    if pod.gates != (SCHEDULING_GATE,):
        return None
    lost = lost_claims(cluster, claims)
    if lost:
        return take_back(cluster, pod, lost)
    unready = unready_claims(cluster, claims)
    return AwaitBinding(unready) if unready else None


def gone_pin(cluster: Cluster, pod: Pod, claims: Sequence[ResourceClaim]) -> str:
    """Return the node that Berth has pinned an ungated pod to, if it is gone; empty otherwise."""
    if not claims or any(c.allocation is None or not cluster.is_ours(c) for c in claims):
        return ""
    node = pinned_node(pod)
    return "" if node in cluster.nodes else node


def pinned_to_gone_node(pod: Pod, node: str) -> str:
    """Say that the pod waits for a node that will not come back, and what helps."""
    return fit_event(
        f"pod {pod.key}: it is pinned to node {node}, which is gone, and the pin of a pod without "
        "a scheduling gate cannot be changed: delete the pod, so that a new one is decided anew"
    )


def reconsider(cluster: Cluster, pod: Pod, verdict: Verdict, *, budget: int) -> Verdict | TakeBack:
    """Return ``verdict``, or that claims must be given up first, where they are all it hinges on.

    Args:
        cluster: The ledger; read only.
        pod: The pod that ``verdict`` is about.
        verdict: What ``berth.controller.decide`` says.
        budget: As for ``decide``.
    """
    if not isinstance(verdict, NoFit) or not verdict.allocated:
        return verdict
    claims = hoarded_claims(cluster, verdict)
    if not claims:
        return verdict
    why = one_line(why_not(cluster, pod, verdict, budget=budget))
    return take_back(
        cluster, pod, tuple(Lost(c, f"the pod cannot start with it: {why}") for c in claims)
    )


def take_back(cluster: Cluster, pod: Pod, lost: tuple[Lost, ...]) -> TakeBack:
    """Return the verdict for ``lost``, with the pods that must not be let go meanwhile."""
    others: dict[PodKey, Pod] = {}
    for each in lost:
        for consumer in each.claim.reserved_for:
            other = consumer_pod(cluster, each.claim, consumer)
            if other is not None and other.key != pod.key:
                others[other.key] = other
    return TakeBack(lost, tuple(others[key] for key in sorted(others)))


@dataclass(slots=True)
class _Asking:
    what: object
    due: float
    attempts: int = 0


class Asked:
    """Which missing claims have been asked for, and how often; so that asking ends.

    A claim that has just been made may be seen after the pod that names it: the first time is
    not at once.
    """

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[PodKey, _Asking] = {}

    def pause(self, pod: Pod, verdict: AskForClaims, now: float) -> float | None:
        """Return the seconds until the claims may be asked for, ``None`` when it was enough."""
        what = (pod.uid, tuple(each.claim for each in verdict.missing))
        asking = self._asked.get(pod.key)
        if asking is None or asking.what != what:
            asking = self._asked[pod.key] = _Asking(what, now + GRACE_SECONDS)
        elif asking.attempts >= ASK_ATTEMPTS and now >= asking.due:
            return None
        return max(0.0, asking.due - now)

    def ask(self, key: PodKey, now: float) -> int:
        """Note that the claims of a pod are being asked for; return which attempt this is."""
        asking = self._asked[key]
        asking.attempts += 1
        asking.due = now + ASK_AGAIN_SECONDS
        return asking.attempts

    def forget(self, key: PodKey) -> None:
        """Drop what is known of a pod that is gone, or lacks nothing."""
        self._asked.pop(key, None)


def nobody_generates(pod: Pod, verdict: AskForClaims) -> str:
    """Say that claims are missing and that asking for them has been in vain."""
    names = ", ".join(f"{pod.namespace}/{each.claim}" for each in verdict.missing)
    noun = "claim" if len(verdict.missing) == 1 else "claims"
    return fit_event(
        f"pod {pod.key}: {noun} {names} made for it cannot be found, and asking for new ones was "
        "in vain: is the resourceclaim controller of kube-controller-manager running?"
    )


def _is_asked_for(cluster: Cluster, pod: Pod, reference: PodClaimReference) -> bool:
    """Tell whether the claim of ``reference`` is Berth's to care for, and can be made at all."""
    if reference.template_name is None:
        return False
    template = cluster.templates.get((pod.namespace, reference.template_name))
    if template is None:
        return False
    if pod.is_gated:
        return True
    return cluster.is_ours(ResourceClaim(pod.namespace, template.name, template.spec))
