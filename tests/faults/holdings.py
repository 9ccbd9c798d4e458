# SPDX-License-Identifier: Apache-2.0
"""Which claim holds which device at one moment of a history, and who gave it.

Decides when two claims are on one device against the rules: exclusive with anything else, or a
share twice. Admin access takes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Json = dict[str, Any]
FOREIGN = frozenset({"kube-scheduler", "kube-controller-manager", "hostile-writer"})
"""Field managers that are not Berth; whoever else writes an allocation is taken for Berth."""
UNKNOWN = "(nobody)"


class Device(NamedTuple):
    """A device by its three names."""

    driver: str
    pool: str
    name: str

    def __str__(self) -> str:
        return "/".join(self)


@dataclass(frozen=True, slots=True)
class Holding:
    """One claim on one device; ``share`` is the share's identity, empty for the whole device."""

    claim: str
    uid: str
    share: str
    writer: str
    version: int
    at: float

    @property
    def by_berth(self) -> bool:
        return self.writer not in FOREIGN


def allocation_of(claim: Json) -> Json | None:
    found = (claim.get("status") or {}).get("allocation")
    return dict(found) if found is not None else None


def results_of(claim: Json) -> list[Json]:
    allocation = allocation_of(claim) or {}
    return list((allocation.get("devices") or {}).get("results") or ())


def taken_by(claim: Json) -> dict[Device, frozenset[str]]:
    """Return the devices that a claim takes something of, with its shares of each."""
    found: dict[Device, set[str]] = {}
    for result in results_of(claim):
        if not result.get("adminAccess"):
            device = Device(result["driver"], result["pool"], result["device"])
            found.setdefault(device, set()).add(result.get("shareID") or "")
    return {device: frozenset(shares) for device, shares in found.items()}


def writer_of_allocation(claim: Json) -> str:
    """Return the field manager that owns ``status.allocation``, the last one of several."""
    owners = [
        (entry.get("time") or "", entry["manager"])
        for entry in claim["metadata"].get("managedFields") or ()
        if entry.get("subresource") == "status"
        and "f:allocation" in (entry.get("fieldsV1") or {}).get("f:status", {})
    ]
    return max(owners)[1] if owners else UNKNOWN


class Holdings:
    """Who holds what now; fed with claims in the order of their versions."""

    def __init__(self) -> None:
        self._of_device: dict[Device, dict[tuple[str, str], Holding]] = {}
        self._of_claim: dict[str, dict[Device, frozenset[str]]] = {}

    def put(
        self, claim: Json, uid: str, name: str, version: int, at: float
    ) -> list[tuple[Device, Holding, Holding]]:
        """Take note of a claim; return the pairs, former holder first, that it makes unlawful."""
        before, now = self._of_claim.get(uid, {}), taken_by(claim)
        for device, shares in before.items():
            for share in shares - now.get(device, frozenset()):
                del self._of_device[device][uid, share]
        pairs = []
        for device, shares in now.items():
            holders = self._of_device.setdefault(device, {})
            for share in shares - before.get(device, frozenset()):
                new = Holding(name, uid, share, writer_of_allocation(claim), version, at)
                pairs += [
                    (device, old, new)
                    for old in holders.values()
                    if old.uid != uid and (not old.share or not share or old.share == share)
                ]
                holders[uid, share] = new
        self._of_claim[uid] = now
        return pairs

    def drop(self, uid: str) -> None:
        for device, shares in self._of_claim.pop(uid, {}).items():
            for share in shares:
                del self._of_device[device][uid, share]

    def devices(self) -> dict[Device, tuple[Holding, ...]]:
        return {device: tuple(held.values()) for device, held in self._of_device.items() if held}
