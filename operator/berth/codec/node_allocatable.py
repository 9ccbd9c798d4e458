# SPDX-License-Identifier: Apache-2.0
"""What devices take of a node's own resources, from API JSON, and what a pod says about that.

Never judges: that a mapping has one of its two forms is for ``berth.placement``.

Source: KEP-5517; KEP-2837 for pod-level resources.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from berth.codec.fields import (
    Json,
    optional_part,
    optional_quantity,
    optional_text,
    part,
    parts,
    text,
)
from berth.codec.resources import decode_requests
from berth.model.devices import (
    NodeAllocatableMapping,
    NodeAllocatableOverhead,
    NodeAllocatableResource,
)

_NO_ROOM: Mapping[str, int] = MappingProxyType({})
_NO_CONTAINERS: Mapping[str, int] = MappingProxyType({})


def decode_node_allocatable(obj: Json) -> NodeAllocatableResource:
    """Return one entry of ``nodeAllocatableResources`` of a device."""
    return NodeAllocatableResource(
        optional_part(obj, "mapping", _mapping), optional_part(obj, "overhead", _overhead)
    )


def containers_by_reference(spec: Json) -> Mapping[str, int]:
    """Return how many containers use each entry of ``resourceClaims``, init containers included."""
    if not spec.get("resourceClaims"):
        return _NO_CONTAINERS
    used = parts(spec, "initContainers", _used) + parts(spec, "containers", _used)
    return Counter(name for names in used for name in names)


def decode_pod_level_room(spec: Json) -> Mapping[str, int]:
    """Return what pod-level requests leave beside the containers, in units of the requests.

    Empty for a pod without claims, whose devices can take nothing.
    """
    if not spec.get("resources") or not spec.get("resourceClaims"):
        return _NO_ROOM
    pod_level = decode_requests({"resources": spec["resources"]})
    containers = decode_requests(
        {key: spec[key] for key in ("containers", "initContainers") if key in spec}
    )
    return MappingProxyType({r: most - containers.get(r, 0) for r, most in pod_level.items()})


def _mapping(obj: Json) -> NodeAllocatableMapping:
    return NodeAllocatableMapping(
        capacity_key=optional_text(obj, "capacityKey"),
        capacity_multiplier=optional_quantity(obj, "capacityMultiplier"),
        device_multiplier=optional_quantity(obj, "deviceMultiplier"),
    )


def _overhead(obj: Json) -> NodeAllocatableOverhead:
    return NodeAllocatableOverhead(
        per_pod=optional_quantity(obj, "perPod"),
        per_container=optional_quantity(obj, "perContainer"),
    )


def _used(container: Json) -> frozenset[str]:
    # A container may name several requests of one claim.
    claims = part(container, "resources", lambda r: parts(r, "claims", lambda c: text(c, "name")))
    return frozenset(claims)
