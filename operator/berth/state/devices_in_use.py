# SPDX-License-Identifier: Apache-2.0
"""Which devices are taken, by which claims, and how much of the shared ones.

Decides nothing: one allocation per claim goes in, the allocator's view of them comes out and is
kept up to date in place. Every claim of the cluster counts, whoever allocated it.

Source: KEP-4381; KEP-5018 (results with admin access take nothing); KEP-5075 (shares).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from types import MappingProxyType

from berth.engine.allocated import AllocatedState
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID
from berth.model.results import AllocationResult, DeviceResult
from berth.quantity import Quantity


class DevicesInUse:
    """Devices in use, by the allocations of the claims that hold them."""

    __slots__ = (
        "_capacity",
        "_consumed",
        "_held",
        "_holders",
        "_shared",
        "contended",
        "on_change",
        "view",
    )

    def __init__(self) -> None:
        self.on_change: Callable[[Iterable[DeviceID], Iterable[DeviceID]], None] = _nobody
        """Is told, after each change, of the devices that were taken and that became free."""
        self._held: dict[ClaimKey, tuple[DeviceResult, ...]] = {}
        self._holders: dict[DeviceID, tuple[str, ...]] = {}
        self._shared: dict[DeviceID, tuple[str, ...]] = {}
        # Per device and capacity: the sum, and how many shares it is of. A sum without the number
        # could not tell "consumed with 0" from "not consumed".
        self._consumed: dict[DeviceID, dict[str, tuple[Quantity, int]]] = {}
        self._capacity: dict[DeviceID, Mapping[str, Quantity]] = {}
        self.contended: set[DeviceID] = set()
        """Devices that more than one claim holds exclusively; nobody should have done that."""
        self.view = AllocatedState(
            holders=MappingProxyType(self._holders),
            shared=MappingProxyType(self._shared),
            capacity=MappingProxyType(self._capacity),
        )

    def hold(self, claim: ClaimKey, allocation: AllocationResult | None) -> bool:
        """Let ``claim`` hold the devices of ``allocation``, and no others.

        Returns:
            Whether anything became free.
        """
        before = self._held.get(claim, ())
        after = () if allocation is None else allocation.devices
        if before == after:
            return False
        for result in before:
            self._release(str(claim), result)
        for result in after:
            self._take(str(claim), result)
        if after:
            self._held[claim] = after
        else:
            del self._held[claim]
        self.on_change([each.device_id for each in after], [each.device_id for each in before])
        return bool(before)

    def overlaps(
        self, assumed: Container[ClaimKey]
    ) -> tuple[tuple[DeviceID, tuple[ClaimKey, ...]], ...]:
        """Return the devices that two or more claims hold, beside those of ``assumed``."""
        found = []
        for device in sorted(self.contended):
            holders = (_key(text) for text in self._holders[device])
            observed = sorted({key for key in holders if key not in assumed})
            if len(observed) > 1:
                found.append((device, tuple(observed)))
        return tuple(found)

    def contents(self) -> tuple[object, ...]:
        """Return everything, for comparison."""
        return self._held, self._holders, self._shared, self._consumed, self._capacity

    def _take(self, claim: str, result: DeviceResult) -> None:
        device = result.device_id
        if result.admin_access:
            return
        if result.share_id is not None:
            _enter(self._shared, device, claim)
            self._consume(device, result.consumed_capacity or {}, 1)
        else:
            _enter(self._holders, device, claim)
            if len(set(self._holders[device])) > 1:
                self.contended.add(device)

    def _release(self, claim: str, result: DeviceResult) -> None:
        device = result.device_id
        if result.admin_access:
            return
        if result.share_id is not None:
            _leave(self._shared, device, claim)
            self._consume(device, result.consumed_capacity or {}, -1)
        else:
            _leave(self._holders, device, claim)
            if len(set(self._holders.get(device, ()))) <= 1:
                self.contended.discard(device)

    def _consume(self, device: DeviceID, amounts: Mapping[str, Quantity], sign: int) -> None:
        if not amounts:
            return
        sums = self._consumed.setdefault(device, {})
        for name, amount in amounts.items():
            total, shares = sums.get(name, (Quantity(0), 0))
            if shares + sign == 0:
                del sums[name]
            else:
                total = total + amount if sign > 0 else total - amount
                sums[name] = (total, shares + sign)
        if sums:
            # A new mapping, so that whoever holds the old one sees it unchanged.
            self._capacity[device] = MappingProxyType({n: total for n, (total, _) in sums.items()})
        else:
            del self._consumed[device], self._capacity[device]


def _nobody(taken: Iterable[DeviceID], freed: Iterable[DeviceID]) -> None:
    """Stand for whoever wants to be told."""


def _enter(users: dict[DeviceID, tuple[str, ...]], device: DeviceID, claim: str) -> None:
    known = users.get(device)
    users[device] = (claim,) if known is None else tuple(sorted((*known, claim)))


def _leave(users: dict[DeviceID, tuple[str, ...]], device: DeviceID, claim: str) -> None:
    left = list(users[device])
    left.remove(claim)
    if left:
        users[device] = tuple(left)
    else:
        del users[device]


def _key(text: str) -> ClaimKey:
    namespace, _, name = text.rpartition("/")
    return ClaimKey(namespace, name)
