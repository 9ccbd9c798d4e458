# SPDX-License-Identifier: Apache-2.0
"""What every finding of the audit has: kind, severity, objects, evidence, remedy, safe repair.

Decides the common form only. The kinds are in ``findings_devices``, ``findings_claims`` and
``findings_pods``; what makes one of them true is decided beside the ledger's objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple

from berth.audit.words import printable
from berth.model.claims import DELETE_PROTECTION_FINALIZER, ConsumerReference, ResourceClaim
from berth.model.pods import Pod

VERSION = "berth.dev/audit/v1"
CLAIM = "ResourceClaim"
POD = "Pod"
_WORDS = {CLAIM: "claim", POD: "pod"}


class Severity(StrEnum):
    """How bad it is: an error harms workloads, a warning wastes devices or will harm one day."""

    ERROR = "error"
    WARNING = "warning"


class ObjectRef(NamedTuple):
    """An object that a finding is about; text form ``claim ml/train``."""

    kind: str
    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return printable(f"{_WORDS.get(self.kind, self.kind.lower())} {self.full_name}")

    @property
    def full_name(self) -> str:
        """Namespace and name."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def as_json(self) -> dict[str, str]:
        """Return this as plain JSON."""
        return {
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


def claim_ref(claim: ResourceClaim) -> ObjectRef:
    """Return the reference to a claim."""
    return ObjectRef(CLAIM, claim.namespace, claim.name, claim.uid)


def pod_ref(pod: Pod) -> ObjectRef:
    """Return the reference to a pod."""
    return ObjectRef(POD, pod.namespace, pod.name, pod.uid)


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Add the delete protection to an allocated claim."""

    target: ObjectRef

    @property
    def text(self) -> str:
        """What is done, in the imperative."""
        return f"add finalizer {DELETE_PROTECTION_FINALIZER} to {self.target}"


@dataclass(frozen=True, slots=True)
class DropConsumers:
    """Remove entries of ``status.reservedFor`` whose pods do not exist; the allocation stays."""

    target: ObjectRef
    consumers: tuple[ConsumerReference, ...]

    @property
    def text(self) -> str:
        """What is done, in the imperative."""
        names = ", ".join(f"{each.name} (uid {each.uid})" for each in self.consumers)
        return printable(f"remove consumers from {self.target} whose pods do not exist: {names}")


@dataclass(frozen=True, slots=True)
class RemoveGate:
    """Remove Berth's gate from a pod, and pin it to ``node`` unless that is empty.

    ``claims`` are those that must still be allocated to, and reserved for, the pod when it is
    let go; none where no policy covers the pod's claims.
    """

    target: ObjectRef
    claims: tuple[ObjectRef, ...] = ()
    node: str = ""

    @property
    def text(self) -> str:
        """What is done, in the imperative."""
        if self.node:
            where = f" and pin it to node {self.node}"
        elif self.claims:
            where = " without pinning it: its devices do not name one node"
        else:
            where = " without pinning it: kube-scheduler allocates its claims"
        return printable(f"remove Berth's scheduling gate from {self.target}{where}")


Repair = AddFinalizer | DropConsumers | RemoveGate
Key = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``kind`` is a stable name, and the reason of the event. ``settles`` tells that the state may
    be on its way to a sound one, so that it counts only when it lasts. Texts are one line each,
    and printable whatever the objects are called.
    """

    kind: ClassVar[str]
    severity: ClassVar[Severity] = Severity.WARNING
    settles: ClassVar[bool] = True

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The objects concerned, those first that the event is about."""
        raise NotImplementedError

    @property
    def where(self) -> str:
        """What it is about: a device, a counter, or the first object."""
        return str(self.objects[0])

    @property
    def what(self) -> str:
        """What is wrong with it: detail."""
        raise NotImplementedError

    @property
    def remedy(self) -> str:
        """What a person should do."""
        raise NotImplementedError

    @property
    def repair(self) -> Repair | None:
        """What `berth audit --repair` may do, ``None`` where nothing is provably safe."""
        return None

    @property
    def key(self) -> Key:
        """What makes it the same finding the next time: kind, subject and objects."""
        return self.kind, self.where, tuple(each.uid or each.full_name for each in self.objects)

    @property
    def evidence(self) -> str:
        """One line of the form ``where: what is wrong: detail``."""
        return f"{self.where}: {printable(self.what)}"

    def as_json(self) -> dict[str, Any]:
        """Return this as plain JSON; no field is ever left out."""
        repair = self.repair
        return {
            "kind": self.kind,
            "severity": self.severity.value,
            "objects": [each.as_json() for each in self.objects],
            "evidence": self.evidence,
            "remedy": printable(self.remedy),
            "repair": None
            if repair is None
            else {"action": type(repair).__name__, "text": repair.text},
        }
