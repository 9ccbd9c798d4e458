# SPDX-License-Identifier: Apache-2.0
"""Pods from API JSON.

Names the scheduling features of a pod that Berth does not weigh; never weighs them.

Source: core/v1 Pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from berth.codec.fields import (
    Json,
    child,
    decode_object,
    integer,
    optional_part,
    optional_text,
    part,
    parts,
    required_text,
    text,
    text_map,
    unique_text,
)
from berth.codec.metadata import decode_owner
from berth.codec.node_allocatable import containers_by_reference, decode_pod_level_room
from berth.codec.node_selectors import decode_node_selector
from berth.codec.resources import decode_extended_requests, decode_host_ports, decode_requests
from berth.model.nodes import NodeSelector
from berth.model.pods import TERMINAL_PHASES, Pod, PodClaimReference, PodToleration

POD_AFFINITY = "podAffinity"
POD_ANTI_AFFINITY = "podAntiAffinity"
TOPOLOGY_SPREAD = "topologySpreadConstraints"
VOLUMES = "volumes"
"""Entries of ``Pod.unmodelled``, in their order."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_NO_NAMES: Mapping[str, str | None] = MappingProxyType({})


def decode_pod(obj: Mapping[str, Any]) -> Pod:
    """Return the pod; fields that Berth does not read are ignored.

    Raises:
        DecodeError: If a field does not have the type that the API gives it.
    """
    return decode_object("pod", obj, _pod)


def _pod(obj: Json) -> Pod:
    fields = part(obj, "metadata", _metadata)
    fields |= part(obj, "spec", _spec)
    fields |= part(obj, "status", _status)
    return Pod(**fields)


def _metadata(obj: Json) -> dict[str, Any]:
    owners = parts(obj, "ownerReferences", decode_owner)
    return {
        "namespace": text(obj, "namespace"),
        "name": required_text(obj, "name"),
        "uid": unique_text(obj, "uid"),
        "resource_version": unique_text(obj, "resourceVersion"),
        "created": unique_text(obj, "creationTimestamp"),
        "deleting": obj.get("deletionTimestamp") is not None,
        "owner_kind": next((owner.kind for owner in owners if owner.controller), ""),
    }


def _spec(obj: Json) -> dict[str, Any]:
    affinity, unmodelled = part(obj, "affinity", _affinity)
    if obj.get("topologySpreadConstraints") and "DoNotSchedule" in parts(
        obj, "topologySpreadConstraints", lambda c: text(c, "whenUnsatisfiable")
    ):
        unmodelled = (*unmodelled, TOPOLOGY_SPREAD)
    if any(parts(obj, "volumes", _needs_scheduling)):
        unmodelled = (*unmodelled, VOLUMES)
    containers = containers_by_reference(obj)
    return {
        "priority": integer(obj, "priority"),
        "node_name": text(obj, "nodeName"),
        "scheduler_name": text(obj, "schedulerName") or "default-scheduler",
        "gates": parts(obj, "schedulingGates", lambda gate: text(gate, "name")),
        "claims": parts(obj, "resourceClaims", lambda each: _claim_reference(each, containers)),
        "node_selector": text_map(obj, "nodeSelector"),
        "required_affinity": affinity,
        "tolerations": parts(obj, "tolerations", _toleration),
        "requests": decode_requests(obj),
        "pod_level_room": decode_pod_level_room(obj),
        "extended_requests": decode_extended_requests(obj),
        "host_ports": decode_host_ports(obj),
        "unmodelled": unmodelled,
        "pod_group": part(obj, "schedulingGroup", lambda group: text(group, "podGroupName")),
    }


def _status(obj: Json) -> dict[str, Any]:
    messages = parts(obj, "conditions", _unschedulable) if obj.get("conditions") else ()
    names = parts(obj, "resourceClaimStatuses", _claim_name)
    phase = text(obj, "phase") or "Pending"
    return {
        "phase": phase,
        "finished": _last_change(obj) if phase in TERMINAL_PHASES else "",
        "claim_names": MappingProxyType(dict(names)) if names else _NO_NAMES,
        "unschedulable_message": "".join(messages),
    }


def _last_change(obj: Json) -> str:
    # The text of UTC times in whole seconds, which is what the API stores, sorts as the times do.
    changes = parts(obj, "conditions", lambda each: unique_text(each, "lastTransitionTime"))
    return max(changes, default="")


def _affinity(obj: Json) -> tuple[NodeSelector | None, tuple[str, ...]]:
    node = part(obj, "nodeAffinity", lambda a: optional_part(a, _REQUIRED, decode_node_selector))
    unmodelled = tuple(
        kind for kind in (POD_AFFINITY, POD_ANTI_AFFINITY) if child(obj, kind).get(_REQUIRED)
    )
    return node, unmodelled


def _needs_scheduling(volume: Json) -> bool:
    return volume.get("persistentVolumeClaim") is not None or volume.get("ephemeral") is not None


def _claim_reference(obj: Json, containers: Mapping[str, int]) -> PodClaimReference:
    name = text(obj, "name")
    return PodClaimReference(
        name,
        optional_text(obj, "resourceClaimName"),
        optional_text(obj, "resourceClaimTemplateName"),
        containers.get(name, 0),
    )


def _claim_name(obj: Json) -> tuple[str, str | None]:
    return text(obj, "name"), optional_text(obj, "resourceClaimName")


def _toleration(obj: Json) -> PodToleration:
    return PodToleration(
        key=text(obj, "key"),
        operator=text(obj, "operator") or "Equal",
        value=text(obj, "value"),
        effect=text(obj, "effect"),
    )


def _unschedulable(condition: Json) -> str:
    if (
        text(condition, "type") == "PodScheduled"
        and text(condition, "status") == "False"
        and text(condition, "reason") == "Unschedulable"
    ):
        return unique_text(condition, "message") or "(no message)"
    return ""
