# SPDX-License-Identifier: Apache-2.0
"""Findings about single claims: what they were given, and what their status lacks or keeps.

Decides the words, and which repair is safe.

Source: KEP-4381; the resourceclaim controller of kube-controller-manager; kube-scheduler's
DynamicResources plugin, PreBind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from berth.audit.finding import (
    AddFinalizer,
    DropConsumers,
    Finding,
    ObjectRef,
    Repair,
    Severity,
)
from berth.explain.words import plural, verb
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference
from berth.model.devices import DeviceID


@dataclass(frozen=True, slots=True)
class ClaimFinding(Finding):
    """A finding about one claim."""

    claim: ObjectRef

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claim."""
        return (self.claim,)


@dataclass(frozen=True, slots=True)
class DeviceNotPublished(ClaimFinding):
    """Allocated devices that no current slice publishes; ``devices`` each with the reason."""

    kind: ClassVar[str] = "DeviceNotPublished"

    devices: tuple[tuple[DeviceID, str], ...]

    @property
    def what(self) -> str:
        """Which devices, and why they do not count as published."""
        shown = ", ".join(f"{device} ({why})" for device, why in self.devices)
        return f"allocated but not published: {shown}"

    @property
    def remedy(self) -> str:
        """Bring the driver back, or have the claim allocated anew."""
        return (
            "see why the driver does not publish them; where they are gone for good, delete the "
            "pods that use the claim, so that it is freed and allocated anew"
        )


@dataclass(frozen=True, slots=True)
class AllocatedNodeGone(ClaimFinding):
    """The devices are on a node that does not exist."""

    kind: ClassVar[str] = "AllocatedNodeGone"

    node: str

    @property
    def what(self) -> str:
        """Which node."""
        return f"allocated on a node that does not exist: {self.node}"

    @property
    def remedy(self) -> str:
        """Have the claim allocated anew."""
        return "delete the pods that use the claim, so that it is freed and allocated anew"


@dataclass(frozen=True, slots=True)
class FinalizerMissing(ClaimFinding):
    """An allocated claim that a DELETE would remove under its consumers."""

    kind: ClassVar[str] = "FinalizerMissing"

    deleting: bool = False

    @property
    def what(self) -> str:
        """What could happen."""
        return (
            f"allocated without finalizer {DELETE_PROTECTION_FINALIZER}: kube-controller-manager "
            "does not free it, and a deletion does not wait for its pods"
        )

    @property
    def remedy(self) -> str:
        """Add it."""
        if self.deleting:
            return "nothing can be added to it any more: see what else holds it, and let it go"
        return "add the finalizer; `berth audit --repair` does"

    @property
    def repair(self) -> Repair | None:
        """Adding it takes nothing from anybody; the API server refuses it on a deleted claim."""
        return None if self.deleting else AddFinalizer(self.claim)


@dataclass(frozen=True, slots=True)
class StaleConsumer(ClaimFinding):
    """Consumers in ``status.reservedFor`` that do not use the claim any more.

    ``absent`` are pods that do not exist, or not with that uid; ``finished`` have long ended.
    """

    kind: ClassVar[str] = "StaleConsumer"

    absent: tuple[ConsumerReference, ...]
    finished: tuple[ConsumerReference, ...] = ()

    @property
    def what(self) -> str:
        """Which consumers."""
        parts = []
        if self.absent:
            count = plural(len(self.absent), "pod")
            do = verb(len(self.absent), "does", "do")
            parts.append(f"{count} that {do} not exist: {_pods(self.absent)}")
        if self.finished:
            count = plural(len(self.finished), "pod")
            have = verb(len(self.finished), "has", "have")
            parts.append(f"{count} that {have} finished: {_pods(self.finished)}")
        return f"reserved for {' and for '.join(parts)}"

    @property
    def remedy(self) -> str:
        """Whose work it is."""
        return (
            "see whether kube-controller-manager's resourceclaim controller runs, which removes "
            "such entries"
        )

    @property
    def repair(self) -> Repair | None:
        """Pods that do not exist use nothing; those that have finished may be looked at yet."""
        return DropConsumers(self.claim, self.absent) if self.absent else None


@dataclass(frozen=True, slots=True)
class UnusedAllocation(ClaimFinding):
    """Devices that a claim has held for long while nobody uses or wants it."""

    kind: ClassVar[str] = "UnusedAllocation"

    lasting: str

    @property
    def what(self) -> str:
        """How long, where that is known."""
        return f"allocated without a consumer{self.lasting}: no pod refers to it"

    @property
    def remedy(self) -> str:
        """Delete it, or use it."""
        return (
            "delete the claim if nobody will use it, which frees its devices; an allocator "
            "other than Berth may hold it on purpose"
        )


@dataclass(frozen=True, slots=True)
class AllocationWithoutTimestamp(ClaimFinding):
    """The timestamp trap: kube-scheduler cannot reserve the claim, and its pods never start."""

    kind: ClassVar[str] = "AllocationWithoutTimestamp"
    severity: ClassVar[Severity] = Severity.ERROR

    @property
    def what(self) -> str:
        """What happens."""
        return (
            "allocated without `allocationTimestamp` and reserved for nobody: kube-scheduler "
            "of 1.36 and later fails to reserve it, and its pods never start"
        )

    @property
    def remedy(self) -> str:
        """Only the way back helps."""
        return (
            "clear `status.allocation` and have the claim allocated again: a timestamp cannot be "
            "added to an allocation"
        )


@dataclass(frozen=True, slots=True)
class FinishedPodLoop(ClaimFinding):
    """kube-controller-manager adds a finished pod to the claim and removes it, for ever.

    ``holders`` are consumers that keep the claim allocated; none where the finalizer is missing.
    """

    kind: ClassVar[str] = "FinishedPodLoop"

    pods: tuple[ObjectRef, ...]
    holders: tuple[str, ...]
    can_be_protected: bool

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claim, and the finished pods."""
        return (self.claim, *self.pods)

    @property
    def what(self) -> str:
        """Why it does not end."""
        why = (
            f"it stays allocated for {', '.join(self.holders)}"
            if self.holders
            else "it stays allocated without its finalizer"
        )
        count = plural(len(self.pods), "finished pod")
        refer = verb(len(self.pods), "refers", "refer")
        names = ", ".join(each.full_name for each in self.pods)
        return (
            f"{count} with a node {refer} to it and {why}: kube-controller-manager reserves and "
            f"unreserves it without end: {names}"
        )

    @property
    def remedy(self) -> str:
        """Break the circle."""
        return "delete the finished pods" if self.holders else "add the finalizer"

    @property
    def repair(self) -> Repair | None:
        """With its finalizer the claim is freed at the next turn."""
        return AddFinalizer(self.claim) if self.can_be_protected else None


@dataclass(frozen=True, slots=True)
class ForeignWriter(ClaimFinding):
    """A claim that is Berth's by policy was allocated by somebody unknown."""

    kind: ClassVar[str] = "ForeignWriter"

    manager: str

    @property
    def what(self) -> str:
        """Who it was."""
        return (
            f"covered by an AllocationPolicy, but its allocation was written by field manager "
            f"`{self.manager}` through `status`"
        )

    @property
    def remedy(self) -> str:
        """One allocator for one device."""
        return (
            "keep that writer away from the devices that Berth allocates, or leave its claims out "
            "of the AllocationPolicy: two allocators do not see each other's choices in time"
        )


@dataclass(frozen=True, slots=True)
class FenceBroken(ClaimFinding):
    """kube-scheduler allocated devices that are fenced off for Berth."""

    kind: ClassVar[str] = "FenceBroken"

    devices: tuple[DeviceID, ...]

    @property
    def what(self) -> str:
        """Which devices."""
        return (
            "allocated by kube-scheduler although the devices carry the taint of Berth's fence: "
            + ", ".join(map(str, self.devices))
        )

    @property
    def remedy(self) -> str:
        """How that can be."""
        return (
            "look for a toleration of the fence, or of every taint, in the claim and its class; an "
            "allocation from before the fence ends with its pods"
        )


def _pods(consumers: tuple[ConsumerReference, ...]) -> str:
    return ", ".join(each.name for each in consumers)
