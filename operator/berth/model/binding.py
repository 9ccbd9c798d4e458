# SPDX-License-Identifier: Apache-2.0
"""Binding conditions: whether the devices of a claim are ready for a pod to be bound.

Decides from the claim alone, as kube-scheduler does; reads no clock, so it knows no timeout.

Source: KEP-5007; ``resource.k8s.io/v1`` DeviceRequestAllocationResult (bindingConditions,
bindingFailureConditions) and ``status.devices``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from berth.model.claims import ResourceClaim
from berth.model.devices import DeviceID
from berth.model.results import DeviceResult


@dataclass(frozen=True, slots=True)
class Unready:
    """A device that cannot be bound yet: ``conditions`` are those that are not True."""

    device: DeviceID
    conditions: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(f"`{name}`" for name in self.conditions)
        verb = "is" if len(self.conditions) == 1 else "are"
        return f"{names} of device {self.device} {verb} not True"


@dataclass(frozen=True, slots=True)
class Broken:
    """A device that will not be bound: ``condition`` says that preparing it has failed."""

    device: DeviceID
    condition: str

    def __str__(self) -> str:
        return f"binding device {self.device} failed: `{self.condition}` is True"


def unready_devices(claim: ResourceClaim) -> tuple[Unready, ...]:
    """Return the devices of ``claim`` that a pod has to wait for."""
    return tuple(
        Unready(result.device_id, lacking)
        for result, true in _with_conditions(claim)
        if (lacking := tuple(c for c in result.binding_conditions if c not in true))
    )


def broken_devices(claim: ResourceClaim) -> tuple[Broken, ...]:
    """Return the devices of ``claim`` that have failed."""
    return tuple(
        Broken(result.device_id, failed)
        for result, true in _with_conditions(claim)
        if (failed := next((c for c in result.binding_failure_conditions if c in true), ""))
    )


def _with_conditions(claim: ResourceClaim) -> Iterator[tuple[DeviceResult, frozenset[str]]]:
    """Yield the devices with binding conditions, each with those of its conditions that hold."""
    for result in () if claim.allocation is None else claim.allocation.devices:
        if result.binding_conditions:
            yield (
                result,
                frozenset[str]().union(
                    *(
                        each.true
                        for each in claim.device_conditions
                        if (each.driver, each.pool, each.device) == result.device_id
                        and each.share_id == result.share_id
                    )
                ),
            )
