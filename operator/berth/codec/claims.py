# SPDX-License-Identifier: Apache-2.0
"""ResourceClaims and ResourceClaimTemplates from API JSON.

Applies the API's defaults, so that files which no API server has seen read the same: mode
ExactCount, count 1, toleration operator Equal.

Source: ``resource.k8s.io/v1`` ResourceClaim, ResourceClaimTemplate and their defaulting.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from berth.codec.fields import (
    NO_TEXTS,
    Json,
    Mistake,
    Shared,
    child,
    decode_object,
    integer,
    optional_boolean,
    optional_part,
    optional_text,
    part,
    parts,
    quantities,
    required_text,
    text,
    text_map,
    texts,
    unique_text,
)
from berth.codec.metadata import decode_owner
from berth.codec.results import decode_opaque, decode_toleration, read_allocation
from berth.codec.versions import claim_to_v1, template_to_v1
from berth.model.claims import (
    EXACT_COUNT,
    ClaimConfig,
    ConsumerReference,
    DerivedAttribute,
    DeviceClaim,
    DeviceConditions,
    DeviceConstraint,
    DeviceRequest,
    ExactRequest,
    ResourceClaim,
    ResourceClaimTemplate,
)
from berth.model.results import AllocationResult
from berth.model.slices import Selector

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def decode_claim(obj: Mapping[str, Any]) -> ResourceClaim:
    """Return the claim; fields that Berth does not read are ignored, older versions are read.

    Raises:
        DecodeError: If a field does not have the type that the API gives it.
    """
    return decode_object("resourceclaim", obj, lambda each: _claim(claim_to_v1(each)))


def decode_template(obj: Mapping[str, Any]) -> ResourceClaimTemplate:
    """Return the template; ``spec_json`` is the decoded JSON in the shape of v1: do not change it.

    Raises:
        DecodeError: As for claims.
    """
    return decode_object("resourceclaimtemplate", obj, lambda each: _template(template_to_v1(each)))


def _claim(obj: Json) -> ResourceClaim:
    status = part(obj, "status", _status)
    spec = part(obj, "spec", _shared_spec)
    return part(obj, "metadata", lambda m: _with_metadata(m, spec, status))


def _with_metadata(
    obj: Json,
    spec: DeviceClaim,
    status: tuple[
        AllocationResult | None, tuple[ConsumerReference, ...], tuple[DeviceConditions, ...]
    ],
) -> ResourceClaim:
    allocation, reserved_for, device_conditions = status
    return ResourceClaim(
        namespace=text(obj, "namespace"),
        name=required_text(obj, "name"),
        spec=spec,
        uid=unique_text(obj, "uid"),
        resource_version=unique_text(obj, "resourceVersion"),
        finalizers=texts(obj, "finalizers"),
        annotations=_annotations(obj),
        owners=parts(obj, "ownerReferences", decode_owner),
        deleting=obj.get("deletionTimestamp") is not None,
        created=unique_text(obj, "creationTimestamp"),
        allocation=allocation,
        reserved_for=reserved_for,
        device_conditions=device_conditions,
        allocated_by="" if allocation is None else _managers_of_allocation(obj),
    )


def _managers_of_allocation(obj: Json) -> str:
    """Return who wrote ``status.allocation``; nearly always one of a handful of names."""
    managers = set()
    for index, entry in enumerate(obj.get("managedFields") or ()):
        try:
            # Read by hand: this is half of the object, and says nothing else that matters.
            fields = entry.get("fieldsV1")
            if fields and "f:allocation" in fields.get("f:status", ()):
                managers.add(text(entry, "manager"))
        except (TypeError, AttributeError):
            raise Mistake(f"managedFields[{index}]", "is not an entry of managedFields") from None
    return sys.intern(", ".join(sorted(managers - {""})))


def _annotations(obj: Json) -> Mapping[str, str]:
    if not obj.get("annotations"):
        return NO_TEXTS
    annotations = text_map(obj, "annotations")
    if _LAST_APPLIED not in annotations:
        return annotations
    # A second copy of the whole object, which would double what every claim costs in memory.
    return MappingProxyType({k: v for k, v in annotations.items() if k != _LAST_APPLIED})


def _status(
    obj: Json,
) -> tuple[AllocationResult | None, tuple[ConsumerReference, ...], tuple[DeviceConditions, ...]]:
    return (
        optional_part(obj, "allocation", read_allocation),
        parts(obj, "reservedFor", _consumer),
        # Drivers write much here; only conditions that hold matter, and few devices have any.
        tuple(each for each in parts(obj, "devices", _device_conditions) if each.true),
    )


def _device_conditions(obj: Json) -> DeviceConditions:
    held = parts(obj, "conditions", lambda c: (text(c, "type"), text(c, "status")))
    return DeviceConditions(
        driver=text(obj, "driver"),
        pool=text(obj, "pool"),
        device=text(obj, "device"),
        share_id=optional_text(obj, "shareID"),
        true=frozenset(name for name, status in held if status == "True"),
    )


def _consumer(obj: Json) -> ConsumerReference:
    return ConsumerReference(
        resource=text(obj, "resource"),
        name=unique_text(obj, "name"),
        uid=unique_text(obj, "uid"),
        api_group=text(obj, "apiGroup"),
    )


def _template(obj: Json) -> ResourceClaimTemplate:
    namespace, name, uid = part(
        obj,
        "metadata",
        lambda m: (text(m, "namespace"), required_text(m, "name"), unique_text(m, "uid")),
    )
    spec, spec_json, labels, annotations = part(obj, "spec", _template_spec)
    return ResourceClaimTemplate(namespace, name, spec, labels, annotations, spec_json, uid)


def _template_spec(
    obj: Json,
) -> tuple[DeviceClaim, Json, Mapping[str, str], Mapping[str, str]]:
    labels, annotations = part(
        obj, "metadata", lambda m: (text_map(m, "labels"), text_map(m, "annotations"))
    )
    return part(obj, "spec", _spec), child(obj, "spec"), labels, annotations


def _spec(obj: Json) -> DeviceClaim:
    return part(obj, "devices", _device_claim)


# The claims of one template have one spec; keeping it once also makes it quick to compare.
_shared_spec = Shared(_spec, size=4096)


def _device_claim(obj: Json) -> DeviceClaim:
    return DeviceClaim(
        requests=parts(obj, "requests", _request),
        constraints=parts(obj, "constraints", _constraint),
        config=parts(obj, "config", _config),
    )


def _request(obj: Json) -> DeviceRequest:
    exactly = optional_part(obj, "exactly", _exact)
    alternatives = parts(obj, "firstAvailable", _exact)
    if exactly is not None and alternatives:
        raise Mistake("", "`exactly` and `firstAvailable` are both set; keep one of them")
    return DeviceRequest(required_text(obj, "name"), exactly, alternatives)


def _exact(obj: Json) -> ExactRequest:
    return ExactRequest(
        device_class_name=text(obj, "deviceClassName"),
        name=text(obj, "name"),
        selectors=parts(obj, "selectors", decode_selector),
        allocation_mode=text(obj, "allocationMode") or EXACT_COUNT,
        # To the API's decoder a count of 0 is an unset one, and gets the default.
        count=integer(obj, "count") or 1,
        admin_access=optional_boolean(obj, "adminAccess"),
        tolerations=parts(obj, "tolerations", decode_toleration),
        capacity_requests=optional_part(
            obj, "capacity", lambda capacity: quantities(capacity, "requests")
        ),
        derived_attributes=parts(obj, "derivedAttributes", _derived),
    )


def decode_selector(obj: Json) -> Selector:
    """Return one entry of ``selectors``, of a request or a class."""
    return Selector(optional_part(obj, "cel", lambda cel: text(cel, "expression")))


def _derived(obj: Json) -> DerivedAttribute:
    return DerivedAttribute(text(obj, "name"), text(obj, "expression"))


def _constraint(obj: Json) -> DeviceConstraint:
    return DeviceConstraint(
        requests=texts(obj, "requests"),
        match_attribute=optional_text(obj, "matchAttribute"),
        distinct_attribute=optional_text(obj, "distinctAttribute"),
    )


def _config(obj: Json) -> ClaimConfig:
    return ClaimConfig(texts(obj, "requests"), optional_part(obj, "opaque", decode_opaque))
