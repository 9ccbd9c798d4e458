# SPDX-License-Identifier: Apache-2.0
"""Findings about devices of which more is given away than there is.

Decides the words. None of them has a safe repair: which of two holders gives way is for the
people who run them to say.

Source: KEP-4381, KEP-4815 (counters), KEP-5075 (shares and capacity), KEP-5018 (admin access takes
nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from berth.audit.finding import Finding, Key, ObjectRef, Severity
from berth.audit.words import printable
from berth.explain.words import plural
from berth.model.devices import DeviceID, PoolID
from berth.quantity import Quantity

_GIVE_WAY = (
    "delete the pods of all but one of the claims, best of those that do not run yet, so that "
    "their claims are freed and allocated anew"
)


@dataclass(frozen=True, slots=True)
class DeviceHeldTwice(Finding):
    """Two or more claims hold one device, or one share of it, that only one may have.

    ``share_id`` is empty where the device as a whole is held, ``sharers`` are claims with shares
    of a device that ``claims`` hold as a whole.
    """

    kind: ClassVar[str] = "DeviceHeldTwice"
    severity: ClassVar[Severity] = Severity.ERROR
    settles: ClassVar[bool] = False

    device: DeviceID
    claims: tuple[ObjectRef, ...]
    sharers: tuple[ObjectRef, ...] = ()
    share_id: str = ""

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claims that hold it."""
        return (*self.claims, *self.sharers)

    @property
    def where(self) -> str:
        """The device."""
        share = f", share {self.share_id}" if self.share_id else ""
        return printable(f"device {self.device}{share}")

    @property
    def what(self) -> str:
        """Who holds it."""
        if self.sharers:
            return (
                f"held as a whole and in shares by different claims: whole {_names(self.claims)}, "
                f"shares {_names(self.sharers)}"
            )
        return f"held by {plural(len(self.claims), 'claim')}: {_names(self.claims)}"

    @property
    def remedy(self) -> str:
        """Somebody gives way."""
        return _GIVE_WAY


@dataclass(frozen=True, slots=True)
class DeviceNotShareable(Finding):
    """Several claims have shares of a device that is not published as one to be shared."""

    kind: ClassVar[str] = "DeviceNotShareable"
    severity: ClassVar[Severity] = Severity.ERROR
    settles: ClassVar[bool] = False

    device: DeviceID
    claims: tuple[ObjectRef, ...]

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claims that have shares."""
        return self.claims

    @property
    def where(self) -> str:
        """The device."""
        return printable(f"device {self.device}")

    @property
    def what(self) -> str:
        """Who shares it."""
        return (
            f"shared by {plural(len(self.claims), 'claim')}, but published without "
            f"`allowMultipleAllocations`: {_names(self.claims)}"
        )

    @property
    def remedy(self) -> str:
        """Somebody gives way."""
        return _GIVE_WAY


@dataclass(frozen=True, slots=True)
class CountersOverCommitted(Finding):
    """The devices in use consume more of a counter than their pool has."""

    kind: ClassVar[str] = "CountersOverCommitted"
    severity: ClassVar[Severity] = Severity.ERROR
    settles: ClassVar[bool] = False

    pool: PoolID
    counter_set: str
    counter: str
    consumed: Quantity
    published: Quantity
    devices: tuple[DeviceID, ...]
    claims: tuple[ObjectRef, ...]

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claims that hold the devices."""
        return self.claims

    @property
    def where(self) -> str:
        """The counter."""
        return printable(f"pool {self.pool}, counter {self.counter_set}/{self.counter}")

    @property
    def what(self) -> str:
        """How much too much."""
        devices = ", ".join(each.device for each in self.devices)
        return (
            f"over-committed: {self.consumed} consumed, {self.published} published: "
            f"devices {devices} (claims {_names(self.claims)})"
        )

    @property
    def remedy(self) -> str:
        """Free enough of them."""
        return _ENOUGH

    @property
    def key(self) -> Key:
        """The counter alone: who else consumes of it comes and goes."""
        return self.kind, self.where, ()


@dataclass(frozen=True, slots=True)
class CapacityOverCommitted(Finding):
    """The shares of a device consume more of a capacity than it has."""

    kind: ClassVar[str] = "CapacityOverCommitted"
    severity: ClassVar[Severity] = Severity.ERROR
    settles: ClassVar[bool] = False

    device: DeviceID
    capacity: str
    consumed: Quantity
    published: Quantity
    claims: tuple[ObjectRef, ...]

    @property
    def objects(self) -> tuple[ObjectRef, ...]:
        """The claims that have shares of it."""
        return self.claims

    @property
    def where(self) -> str:
        """The capacity."""
        return printable(f"device {self.device}, capacity {self.capacity}")

    @property
    def what(self) -> str:
        """How much too much."""
        return (
            f"over-committed: {self.consumed} consumed, {self.published} published: "
            f"claims {_names(self.claims)}"
        )

    @property
    def remedy(self) -> str:
        """Free enough of them."""
        return _ENOUGH

    @property
    def key(self) -> Key:
        """The capacity alone: who else has a share of it comes and goes."""
        return self.kind, self.where, ()


_ENOUGH = (
    "delete pods of these claims until what is left fits, best of those that do not run yet, so "
    "that their claims are freed and allocated anew"
)


def _names(claims: tuple[ObjectRef, ...]) -> str:
    return ", ".join(each.full_name for each in claims)
