# SPDX-License-Identifier: Apache-2.0
"""Judges a recorded history: what must hold at every moment, whatever was killed or delayed.

Decides from the API server's history alone, and knows nothing of Berth's state:

- ``overlap``: no device is in the allocations of two claims. Whose fault it is follows from the
  field manager of the later allocation.
- ``gate``: no pod loses Berth's gate before all its claims are allocated.
- ``in-use``: no allocation changes, and no claim goes, while a bound and living pod uses it.
- ``finalizer``: a claim that Berth allocates carries the delete protection at that moment.
- ``fence``: a replica's write is carried out only while the Lease names that replica.
- ``unserved``: once faults have ended and a while has passed, no pod waits for Berth.
- ``amount``: no more of a device's capacity or of a counter set is taken than is published.
- ``gap``: the history itself is whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.faults.amounts import Amounts
from tests.faults.history import Entry, History, Write
from tests.faults.holdings import (
    FOREIGN,
    Device,
    Holding,
    Holdings,
    allocation_of,
    taken_by,
    writer_of_allocation,
)

Json = dict[str, Any]
GATE = "berth.dev/dra"
PROTECTION = "resource.kubernetes.io/delete-protection"
TERMINAL = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was broken, when, and by whom; only those of Berth fail a run."""

    rule: str
    text: str
    version: int = 0
    at: float = 0.0
    by_berth: bool = True

    def __str__(self) -> str:
        whose = "" if self.by_berth else " (not by Berth)"
        return f"{self.rule} at version {self.version}{whose}: {self.text}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two claims on one device; ``earlier`` had it when ``later`` got it."""

    device: Device
    earlier: Holding
    later: Holding


class Checker:
    """Takes the entries of a history in the order of their versions.

    Where somebody else gave a device first, and Berth gave it again, it is Berth's fault if the
    replica had been told of the former, which ``writes`` say; nobody can rule out the rest.
    """

    def __init__(self, writes: Iterable[Write] = ()) -> None:
        self.findings: list[Finding] = []
        self.overlaps: list[Overlap] = []
        self.events: dict[str, int] = {}
        self._writes = {each.version: each for each in writes}
        self._holdings = Holdings()
        self._amounts = Amounts()
        self._claims: dict[str, tuple[str, Json]] = {}
        self._pods: dict[str, Json] = {}
        self._pods_by_uid: dict[str, Json] = {}
        self._holders: list[tuple[int, str]] = []

    # --- feeding

    def feed(self, entry: Entry) -> None:
        self.events[entry.kind] = self.events.get(entry.kind, 0) + 1
        match entry.kind:
            case "resourceclaims":
                self._claim(entry)
            case "pods":
                self._pod(entry)
            case "resourceslices":
                self._amounts.put_slice(entry.object, deleted=entry.deleted)
            case "leases":
                spec = {} if entry.deleted else entry.object.get("spec") or {}
                self._holders.append((entry.version, spec.get("holderIdentity") or ""))

    def _find(self, entry: Entry, rule: str, text: str, *, by_berth: bool = True) -> None:
        self.findings.append(Finding(rule, text, entry.version, entry.at, by_berth))

    # --- claims

    def _claim(self, entry: Entry) -> None:
        known = self._claims.get(entry.name)
        if known is not None and known[0] != entry.uid:
            self._holdings.drop(known[0])
            known = None
        before = allocation_of(known[1]) if known is not None else None
        now = None if entry.deleted else allocation_of(entry.object)
        if before is not None and known is not None and before != now:
            self._changed(entry, known[1])
        if entry.deleted:
            self._claims.pop(entry.name, None)
            self._holdings.drop(entry.uid)
            return
        self._claims[entry.name] = (entry.uid, entry.object)
        if now is not None and before is None:
            self._allocated(entry)
        self._overlapping(entry)
        if now is not None and before != now:
            held = self._holdings.devices()
            claims = dict(self._claims.values())
            for text in self._amounts.exceeded(taken_by(entry.object), held, claims):
                by_berth = writer_of_allocation(entry.object) not in FOREIGN
                self._find(entry, "amount", f"claim {entry.name}: {text}", by_berth=by_berth)

    def _allocated(self, entry: Entry) -> None:
        writer = writer_of_allocation(entry.object)
        finalizers = entry.object["metadata"].get("finalizers") or ()
        if entry.type == "LISTED" or writer in FOREIGN or PROTECTION in finalizers:
            return
        self._find(entry, "finalizer", f"claim {entry.name} is allocated without {PROTECTION}")

    def _overlapping(self, entry: Entry) -> None:
        pairs = self._holdings.put(entry.object, entry.uid, entry.name, entry.version, entry.at)
        for device, old, new in pairs:
            self.overlaps.append(Overlap(device, old, new))
            write = self._writes.get(new.version)
            unseen = not old.by_berth and write is not None and old.version > write.knew
            self._find(
                entry,
                "overlap",
                f"device {device}: claim {old.claim} (by {old.writer}, version {old.version}) and "
                f"claim {new.claim} (by {new.writer}), {new.at - old.at:.3f} s later",
                by_berth=new.by_berth and not unseen,
            )

    def _changed(self, entry: Entry, known: Json) -> None:
        for consumer in (known.get("status") or {}).get("reservedFor") or ():
            pod = self._pods_by_uid.get(consumer["uid"])
            if pod is not None and _is_using(pod):
                what = "deleted" if entry.deleted else "given other devices or none"
                self._find(
                    entry,
                    "in-use",
                    f"claim {entry.name} is {what} while pod {consumer['name']} uses it on node "
                    f"{pod['spec']['nodeName']}",
                )

    # --- pods

    def _pod(self, entry: Entry) -> None:
        known = self._pods.get(entry.name)
        if known is not None and (entry.deleted or known["metadata"]["uid"] != entry.uid):
            self._pods_by_uid.pop(known["metadata"]["uid"], None)
        if entry.deleted:
            self._pods.pop(entry.name, None)
            return
        self._pods[entry.name] = self._pods_by_uid[entry.uid] = entry.object
        same = known is not None and known["metadata"]["uid"] == entry.uid
        if same and known is not None and is_gated(known) and not is_gated(entry.object):
            self._ungated(entry)

    def _ungated(self, entry: Entry) -> None:
        namespace = entry.object["metadata"]["namespace"]
        for reference, name in claim_names(entry.object):
            found = self._claims.get(f"{namespace}/{name}")
            if found is None or allocation_of(found[1]) is None:
                what = "does not exist" if found is None else "is not allocated"
                text = f"pod {entry.name} lost the gate, but its claim `{reference}` {what}"
                self._find(entry, "gate", f"{text} ({name or 'no name'})")

    # --- the whole

    def check_writes(self) -> None:
        """Compare what replicas wrote with whom the Lease named at those versions."""
        place, holder = 0, ""
        for write in sorted(self._writes.values(), key=lambda each: each.version):
            while place < len(self._holders) and self._holders[place][0] <= write.version:
                holder = self._holders[place][1]
                place += 1
            if holder != write.replica:
                text = (
                    f"{write.what} of {write.path} by {write.replica}, "
                    f"while the Lease named {holder or 'nobody'}"
                )
                self.findings.append(Finding("fence", text, write.version, write.at))

    @property
    def taken_over(self) -> int:
        """How often another replica became the Lease's holder."""
        named = [holder for _, holder in self._holders if holder]
        return sum(one != other for one, other in itertools.pairwise(named))

    def check_served(self, version: int) -> None:
        """Find the pods that are still gated, or have a claim without an allocation."""
        found: list[str] = []
        for name, pod in self._pods.items():
            if (pod.get("status") or {}).get("phase") in TERMINAL:
                continue
            namespace = pod["metadata"]["namespace"]
            claims = [self._claims.get(f"{namespace}/{claim}") for _, claim in claim_names(pod)]
            if is_gated(pod):
                found.append(f"pod {name} still has the gate")
            elif any(claim is None or allocation_of(claim[1]) is None for claim in claims):
                found.append(f"pod {name} has a claim without an allocation")
        self.findings += [Finding("unserved", text, version) for text in found]


def check(history: History, writes: Iterable[Write], *, settled: int = 0) -> Checker:
    """Judge a whole history; at the version ``settled`` every pod must have been served."""
    checker = Checker(writes)
    waiting = settled > 0
    for entry in history:
        if waiting and entry.version > settled:
            checker.check_served(settled)
            waiting = False
        checker.feed(entry)
    if waiting:
        checker.check_served(settled)
    checker.check_writes()
    checker.findings += [Finding("gap", text) for text in history.gaps]
    if not history.complete:
        text = "the recorder ended before the history did"
        checker.findings.append(Finding("gap", text))
    return checker


def is_gated(pod: Json) -> bool:
    return any(gate["name"] == GATE for gate in pod["spec"].get("schedulingGates") or ())


def claim_names(pod: Json) -> list[tuple[str, str]]:
    """Return reference and claim of each claim of a pod; an unknown claim's name is empty.

    A reference for which no claim is needed is left out.
    """
    recorded = {
        each["name"]: each.get("resourceClaimName")
        for each in (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    }
    names = []
    for reference in pod["spec"].get("resourceClaims") or ():
        name = reference.get("resourceClaimName") or recorded.get(reference["name"], "")
        if name is not None:
            names.append((reference["name"], name))
    return names


def _is_using(pod: Json) -> bool:
    return bool(pod["spec"].get("nodeName")) and (
        (pod.get("status") or {}).get("phase") not in TERMINAL
    )
