# SPDX-License-Identifier: Apache-2.0
"""Berth's side of a comparison: a ledger with a fleet in it, and turns of its decisions.

Decides what belongs to a turn: the decision, entering it as assumed, and giving it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from bench.fleets import Fleet, Json
from bench.questions import Question
from berth.codec.claims import decode_claim
from berth.codec.slices import decode_class, decode_slice
from berth.decision import Allocate, NotFound, decide_claims_quickly
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.errors import BerthError
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node
from berth.model.pods import Pod
from berth.state.cluster import Cluster

ALLOCATABLE = MappingProxyType({"cpu": 64_000, "memory": 2**38, "pods": 110})
REQUESTS = MappingProxyType({"cpu": 100, "memory": 2**27})


class WrongAnswerError(BerthError):
    """A verdict that the case does not allow; its figure would mean nothing."""


def ledger_of(fleet: Fleet) -> Cluster:
    """Return a ledger that has seen the fleet."""
    cluster = Cluster()
    for each in fleet.classes:
        cluster.apply_class(decode_class(each))
    for name in fleet.nodes:
        cluster.apply_node(Node(name, allocatable=ALLOCATABLE))
    for each in fleet.slices:
        cluster.apply_slice(decode_slice(each))
    for each in fleet.held:
        cluster.apply_claim(decode_claim(each))
    return cluster


class Turn:
    """Claims of one pod, decided again and again; every call is a whole turn."""

    def __init__(self, cluster: Cluster, claims: Sequence[Json], *, name: str, fits: bool) -> None:
        self._cluster = cluster
        self._name = name
        self._fits = fits
        self.pod = Pod("asked", "pod", uid="pod", requests=REQUESTS)
        self.claims: tuple[ResourceClaim, ...] = tuple(map(decode_claim, claims))
        cluster.apply_pod(self.pod)
        for claim in self.claims:
            cluster.apply_claim(claim)
        self.verdict: Allocate | NotFound | None = None

    def __call__(self) -> None:
        """Decide, take, give back.

        Raises:
            WrongAnswerError: If the verdict is not what the case says.
        """
        verdict = decide_claims_quickly(self._cluster, self.pod, self.claims, budget=DEFAULT_BUDGET)
        if isinstance(verdict, Allocate):
            results = {
                claim.key: result
                for claim, result in zip(verdict.claims, verdict.placed.results, strict=True)
            }
            self._cluster.assume(self.pod.key, verdict.placed.node, results)
            self._cluster.forget(self.pod.key)
        if not isinstance(verdict, Allocate if self._fits else NotFound):
            raise WrongAnswerError(f"{self._name}: not expected: {verdict}")
        self.verdict = verdict

    def withdraw(self) -> None:
        """Remove pod and claims from the ledger."""
        self._cluster.remove_pod(self.pod.key)
        for claim in self.claims:
            self._cluster.remove_claim(claim.key)

    @property
    def answer(self) -> Json:
        """Return node and devices as the Go program tells them."""
        if not isinstance(self.verdict, Allocate):
            return {"node": "", "devices": None}
        return {
            "node": self.verdict.placed.node,
            "devices": [
                [
                    {"request": each.request, "pool": each.pool, "device": each.device}
                    for each in result.devices
                ]
                for result in self.verdict.placed.results
            ],
        }


def differing(question: Question, number: int) -> tuple[Json, ...]:
    """Return claims that mean the same but have selectors that nobody has seen before."""
    return tuple(_differing(each, number) for each in question.claims)


def _differing(value: Any, number: int) -> Any:
    if isinstance(value, dict):
        return {
            key: f"({each}) && {number} == {number}"
            if key == "expression"
            else _differing(each, number)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_differing(each, number) for each in value]
    return value
