# SPDX-License-Identifier: Apache-2.0
"""ResourceClaims and ResourceClaimTemplates: what a workload asks for, and what it has got.

Decides nothing.

Source: ``resource.k8s.io/v1`` ResourceClaim, ResourceClaimTemplate; KEP-4381, KEP-4816
(firstAvailable), KEP-5018 (adminAccess), KEP-5055 (tolerations), KEP-5075 (capacity).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from berth.model.results import AllocationResult
from berth.model.slices import OpaqueConfig, Selector
from berth.model.tolerations import DeviceToleration

if TYPE_CHECKING:
    from berth.quantity import Quantity

DELETE_PROTECTION_FINALIZER = "resource.kubernetes.io/delete-protection"
POD_CLAIM_NAME_ANNOTATION = "resource.kubernetes.io/pod-claim-name"
ADMIN_ACCESS_LABEL = "resource.kubernetes.io/admin-access"
MAX_DEVICES_PER_CLAIM = 32
"""``AllocationResultsMaxSize`` of the API."""
MAX_CONSUMERS = 256
"""``ResourceClaimReservedForMaxSize`` of the API."""

EXACT_COUNT = "ExactCount"
ALL = "All"


class ClaimKey(NamedTuple):
    """Namespace and name of a claim; text form ``namespace/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class DerivedAttribute:
    """A named CEL expression that constraints may refer to (KEP-6080)."""

    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class ExactRequest:
    """The body of a request: ``exactly``, or one entry of ``firstAvailable``.

    ``allocation_mode`` keeps the API's text, so that an unknown mode can be named. ``count`` is
    meaningful with ``ExactCount`` only. ``admin_access`` is ``None`` where the field is unset.
    ``name`` is set for a subrequest, empty for ``exactly``.
    """

    device_class_name: str
    name: str = ""
    selectors: tuple[Selector, ...] = ()
    allocation_mode: str = EXACT_COUNT
    count: int = 1
    admin_access: bool | None = None
    tolerations: tuple[DeviceToleration, ...] = ()
    capacity_requests: Mapping[str, Quantity] | None = None
    derived_attributes: tuple[DerivedAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """One entry of ``spec.devices.requests``: exactly one of the two is set.

    ``first_available`` is empty where ``exactly`` is set. Both unset stands for a request type of
    a later release.
    """

    name: str
    exactly: ExactRequest | None = None
    first_available: tuple[ExactRequest, ...] = ()

    @property
    def alternatives(self) -> tuple[ExactRequest, ...]:
        """The bodies that may be chosen, in order of preference."""
        return self.first_available if self.exactly is None else (self.exactly,)


class RequestRef(NamedTuple):
    """A request, or one of its subrequests; text form ``main`` or ``main/sub``."""

    request: str
    subrequest: str = ""

    def __str__(self) -> str:
        return f"{self.request}/{self.subrequest}" if self.subrequest else self.request

    def is_named_by(self, references: tuple[str, ...]) -> bool:
        """Tell whether a list of request references covers this one; an empty list covers all."""
        return (
            not references
            or self.request in references
            or (bool(self.subrequest) and str(self) in references)
        )


@dataclass(frozen=True, slots=True)
class DeviceConstraint:
    """A relation between devices of one claim; at most one attribute is set.

    Neither set stands for a constraint type of a later release.
    """

    requests: tuple[str, ...] = ()
    match_attribute: str | None = None
    distinct_attribute: str | None = None


@dataclass(frozen=True, slots=True)
class ClaimConfig:
    """One entry of ``spec.devices.config``; ``requests`` empty means all."""

    requests: tuple[str, ...] = ()
    opaque: OpaqueConfig | None = None


@dataclass(frozen=True, slots=True)
class DeviceClaim:
    """``spec.devices`` of a claim or template."""

    requests: tuple[DeviceRequest, ...] = ()
    constraints: tuple[DeviceConstraint, ...] = ()
    config: tuple[ClaimConfig, ...] = ()

    @property
    def class_names(self) -> frozenset[str]:
        """Every DeviceClass that the requests, or one of their alternatives, name."""
        return frozenset(
            body.device_class_name for request in self.requests for body in request.alternatives
        )


@dataclass(frozen=True, slots=True)
class ConsumerReference:
    """An entry of ``status.reservedFor``; pods have ``api_group`` "" and ``resource`` "pods"."""

    resource: str
    name: str
    uid: str
    api_group: str = ""


@dataclass(frozen=True, slots=True)
class OwnerReference:
    """The controller owner of an object, or another owner where ``controller`` is false."""

    kind: str
    name: str
    uid: str
    controller: bool = False


@dataclass(frozen=True, slots=True)
class DeviceConditions:
    """The conditions of one allocated device that are True, as its driver reports them."""

    driver: str
    pool: str
    device: str
    share_id: str | None
    true: frozenset[str]


@dataclass(frozen=True, slots=True)
class ResourceClaim:
    """A claim with its status.

    ``allocation`` is ``None`` while the claim is not allocated. ``deleting`` tells that a
    deletion timestamp is set. ``resource_version`` is opaque text, as the API has it.
    ``allocated_by`` is the field manager that wrote the allocation, or several joined by commas;
    empty where there is none, or where the object does not tell. ``device_conditions`` has the
    devices of ``status.devices`` of which any condition is True.
    """

    namespace: str
    name: str
    spec: DeviceClaim = field(default_factory=DeviceClaim)
    uid: str = ""
    resource_version: str = ""
    finalizers: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    owners: tuple[OwnerReference, ...] = ()
    deleting: bool = False
    created: str = ""
    allocation: AllocationResult | None = None
    reserved_for: tuple[ConsumerReference, ...] = ()
    allocated_by: str = ""
    device_conditions: tuple[DeviceConditions, ...] = ()

    @property
    def key(self) -> ClaimKey:
        """Namespace and name."""
        return ClaimKey(self.namespace, self.name)

    @property
    def controller_uid(self) -> str:
        """The uid of the controller owner, or empty."""
        return next((owner.uid for owner in self.owners if owner.controller), "")


@dataclass(frozen=True, slots=True)
class ResourceClaimTemplate:
    """The stencil of per-pod claims; ``spec_json`` is ``spec.spec`` verbatim, to be copied."""

    namespace: str
    name: str
    spec: DeviceClaim
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    annotations: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    spec_json: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    uid: str = ""
