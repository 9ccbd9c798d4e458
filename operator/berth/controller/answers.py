# SPDX-License-Identifier: Apache-2.0
"""How a write of a claim or pod can end, and which answer of the API server means which end.

Decides what a refusal is: somebody was first, the object is gone, or it will never work and
somebody must change something. Also finds what the API server dropped without a word. Sends
nothing.

Source: validation of ``resource.k8s.io/v1`` ResourceClaim status; field dropping by feature gate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from http import HTTPStatus
from typing import Any

from berth.codec.results import decode_allocation, encode_allocation
from berth.controller.apierrors import ApiError
from berth.errors import BerthError
from berth.model.claims import ResourceClaim
from berth.model.results import AllocationResult, DeviceResult

BINDING_RESOURCE = "resourceclaims/binding"
BINDING_REMEDY = (
    "grant Berth's ServiceAccount `patch` on `resourceclaims/binding` of `resource.k8s.io` with a "
    "ClusterRoleBinding; a RoleBinding is not enough"
)


class NotLeader(BerthError):  # noqa: N818 - no error: a write that was rightly not sent
    """A write that was not sent, because this replica may not write now."""


@dataclass(frozen=True, slots=True)
class ClaimWritten:
    """The claim is as asked; ``claim`` is how the API server has it now."""

    claim: ResourceClaim


@dataclass(frozen=True, slots=True)
class ClaimConflict:
    """The claim is not as it was decided upon: decide anew.

    ``claim`` is how it is now, ``None`` where what the API server has cannot be decoded.
    """

    claim: ResourceClaim | None
    detail: str


@dataclass(frozen=True, slots=True)
class ClaimGone:
    """There is no such claim any more; one of the same name may have been created since."""

    detail: str


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """The same write will be refused again until somebody changes what ``detail`` names."""

    detail: str


@dataclass(frozen=True, slots=True)
class Ungated:
    """The gate is off and the pod pinned as asked; ``pod`` is the API object."""

    pod: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Touched:
    """The pod's annotation is as asked; ``pod`` is the API object."""

    pod: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodGone:
    """There is no such pod any more; one of the same name may have been created since."""


@dataclass(frozen=True, slots=True)
class PodConflict:
    """The pod is not as it was decided upon: decide anew; ``pod`` is the API object now."""

    pod: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodRefused:
    """The same write will be refused again until somebody changes what ``detail`` names."""

    detail: str


ClaimOutcome = ClaimWritten | ClaimConflict | ClaimGone | ClaimRefused
PodOutcome = Ungated | PodGone | PodConflict | PodRefused


def is_recreated(error: ApiError) -> bool:
    """Tell whether an answer says that the object has another uid than the patch.

    Patches get 422 for it, only PUT gets 409.
    """
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY and any(
        cause.field == "metadata.uid" for cause in error.causes
    )


def is_taken(error: ApiError) -> bool:
    """Tell whether an answer says that the claim has an allocation already.

    The field alone does not: a missing permission names it too, with another reason.
    """
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY and any(
        cause.reason == "FieldValueInvalid" and cause.field == "status.allocation"
        for cause in error.causes
    )


def is_changed(error: ApiError) -> bool:
    """Tell whether an answer says that the claim's state forbids a new consumer.

    It is not allocated any more, or it is being deleted.
    """
    return error.status == HTTPStatus.UNPROCESSABLE_ENTITY and any(
        cause.reason == "FieldValueForbidden" and cause.field.startswith("status.reservedFor")
        for cause in error.causes
    )


def refusal(what: str, error: ApiError) -> str:
    """Return why ``what`` is refused for good, with the remedy where it is known."""
    if any(BINDING_RESOURCE in cause.message for cause in error.causes):
        return f"{what} is not permitted: {BINDING_REMEDY}"
    text = error.message or f"{error.status} {error.reason}".strip()
    if error.status == HTTPStatus.FORBIDDEN:
        return f"{what} is not permitted: {text}; see the ClusterRole of Berth's chart"
    return f"{what} was refused: {text}"


# API field, and the gate that makes the API server drop it.
_GATED = {
    "admin_access": ("adminAccess", "DRAAdminAccess"),
    "tolerations": ("tolerations", "DRADeviceTaints"),
    "binding_conditions": ("bindingConditions", "DRADeviceBindingConditions"),
    "binding_failure_conditions": ("bindingFailureConditions", "DRADeviceBindingConditions"),
    "share_id": ("shareID", "DRAConsumableCapacity"),
    "consumed_capacity": ("consumedCapacity", "DRAConsumableCapacity"),
    "skip_node_operations": ("skipNodeOperations", "DRAOptionalNodeOperations"),
}


def normalised(allocation: AllocationResult, timestamp: str) -> AllocationResult:
    """Return the allocation as it reads after having been written with ``timestamp``."""
    return decode_allocation(encode_allocation(replace(allocation, timestamp=timestamp)))


def difference(sent: AllocationResult, stored: AllocationResult | None) -> str | None:
    """Return what the API server stored otherwise than it was sent, ``None`` where nothing.

    Both as `normalised` gives them. The first difference is named, with the feature gate that is
    off where one explains it: the API server answers 200 and gives no warning. A timestamp that
    was dropped is none: it belongs to binding conditions (KEP-5007), off before 1.36, and where
    they are off nobody asks for it.
    """
    if stored is not None and not stored.timestamp:
        stored = replace(stored, timestamp=sent.timestamp)
    if stored == sent:
        return None
    if stored is None:
        return "status.allocation: not stored"
    if len(stored.devices) == len(sent.devices):
        for index, (ours, theirs) in enumerate(zip(sent.devices, stored.devices, strict=True)):
            if ours != theirs:
                return f"status.allocation.devices.results[{index}].{_device(ours, theirs)}"
    changed = [
        name
        for field, name in (
            ("devices", "devices.results"),
            ("config", "devices.config"),
            ("node_selector", "nodeSelector"),
            ("timestamp", "allocationTimestamp"),
        )
        if getattr(sent, field) != getattr(stored, field)
    ]
    return f"status.allocation.{changed[0]}: stored otherwise than sent"


def _device(ours: DeviceResult, theirs: DeviceResult) -> str:
    changed = [f.name for f in fields(DeviceResult) if _value(ours, f) != _value(theirs, f)]
    name, gate = _GATED.get(changed[0], (changed[0], ""))
    if not gate:
        return f"{name}: stored otherwise than sent"
    return f"{name}: dropped by the API server: its feature gate `{gate}` is off"


def _value(device: DeviceResult, field: Any) -> object:
    return getattr(device, field.name)
