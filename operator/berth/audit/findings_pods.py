# SPDX-License-Identifier: Apache-2.0
"""Findings about pods: those that Berth's gate holds although nothing is to come.

Decides the words, and which repair is safe.

Source: KEP-3521 (scheduling gates).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from berth.audit.finding import Finding, ObjectRef, RemoveGate, Repair


class GateProblem(Enum):
    """Why nobody will take the gate off."""

    ALLOCATED = "all its claims are allocated, but the gate is still on"
    NOT_RESERVED = "all its claims are allocated, but not reserved for it, and the gate is still on"
    NOT_COVERED = "no AllocationPolicy covers its claims, but the gate is still on"
    NOBODY = "Berth's gate is on, but no replica of Berth allocates here"


@dataclass(frozen=True, slots=True)
class StuckGate(Finding):
    """A pod that waits for Berth in vain.

    ``claims`` are the pod's claims, where the problem is about them; ``node`` is where all their
    devices are, empty where they do not name one node.
    """

    kind: ClassVar[str] = "StuckGate"

    pod: ObjectRef
    problem: GateProblem
    claims: tuple[ObjectRef, ...] = ()
    node: str = ""

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The pod, and its claims."""
        return (self.pod, *self.claims)

    @property
    def what(self) -> str:
        """Why it waits."""
        names = ", ".join(each.full_name for each in self.claims)
        return self.problem.value + (f": claims {names}" if names else "")

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self.problem is GateProblem.NOBODY:
            return (
                f"let Berth allocate (mode `gated`), or let the pod go with "
                f"`berth release {self.pod.full_name}`: kube-scheduler then allocates its claims"
            )
        if self.problem is GateProblem.NOT_RESERVED:
            return (
                "see in Berth's log why it does not go on; the claims may have been allocated "
                "for somebody else"
            )
        return "see in Berth's log why it does not go on, or let the pod go"

    @property
    def repair(self) -> Repair | None:
        """Letting a pod go is safe where its devices are its own, or where Berth gives none."""
        if self.problem is GateProblem.ALLOCATED:
            return RemoveGate(self.pod, self.claims, self.node)
        if self.problem is GateProblem.NOT_COVERED:
            return RemoveGate(self.pod)
        return None
