# SPDX-License-Identifier: Apache-2.0
"""A conflict as JSON data, with a stable schema.

Decides field names: camel case as in the API, lists in the order of the tree, no field is ever
left out. ``version`` changes when a field changes its meaning or goes away; new ones may come.
Documented in ``docs/reference/rejection-reasons.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum

from berth.explain.conflict import (
    Conflict,
    DeviceGroup,
    NodeGroup,
    NodeReasonGroup,
    ProblemGroup,
    RequestConflict,
    Rivalry,
)
from berth.explain.hints import hint_sentence
from berth.explain.line import one_line
from berth.explain.sentences import device_sentence, node_sentence, problem_sentence
from berth.model.placement import NodeReason
from berth.quantity import Quantity

VERSION = "berth.dev/conflict/v1"

Json = Mapping[str, object]


def as_json(conflict: Conflict) -> dict[str, object]:
    """Return the conflict as mappings, lists, strings, integers, booleans and ``None``."""
    return {
        "version": VERSION,
        "pod": conflict.pod,
        "claims": [str(key) for key in conflict.claims],
        "message": one_line(conflict),
        "nodes": {
            "total": conflict.nodes,
            "refused": conflict.refused_nodes,
            "examined": list(conflict.examined),
            "unexamined": conflict.unexamined,
            "undecided": list(conflict.undecided),
            "together": list(conflict.together),
        },
        "budget": conflict.budget,
        "drivers": list(conflict.drivers),
        "requests": [_request(request) for request in conflict.requests],
        "rivalries": [_rivalry(rivalry) for rivalry in conflict.rivalries],
        "problems": [_problem(group) for group in conflict.problems],
        "poolsToBlame": conflict.pools_to_blame,
        "refused": [_refused(group) for group in conflict.refused],
        "facts": [reason(fact) for fact in conflict.facts],
        "also": [reason(fact) for fact in conflict.also],
        "hints": [{**reason(hint), "message": hint_sentence(hint)} for hint in conflict.hints],
    }


def _request(request: RequestConflict) -> Json:
    return {
        "claim": str(request.claim),
        "request": str(request.request),
        "deviceClass": request.device_class,
        "allocationMode": request.mode,
        "alternatives": request.alternatives,
        "nodeGroups": [_node_group(group) for group in request.groups],
    }


def _node_group(group: NodeGroup) -> Json:
    return {
        "nodes": list(group.nodes),
        "wanted": group.wanted,
        "candidates": group.candidates,
        "matching": group.matching,
        "eligible": group.eligible,
        "limit": None if group.limit is None else group.limit.limit,
        "deviceGroups": [_device_group(devices) for devices in group.devices],
    }


def _device_group(group: DeviceGroup) -> Json:
    return {
        "reason": reason(group.rejection),
        "message": device_sentence(group),
        "devices": [str(device) for device in group.devices],
        "false": [
            {
                "span": list(part.span),
                "text": part.text,
                "values": [{"of": of, "are": list(are)} for of, are in part.values],
            }
            for part in group.false
        ],
        "failed": None if group.failed is None else _plain(group.failed),
        "holders": [{"claim": each.claim, "pods": list(each.pods)} for each in group.holders],
    }


def _rivalry(rivalry: Rivalry) -> Json:
    return {
        "allClaim": str(rivalry.all_claim),
        "allRequest": str(rivalry.all_request),
        "allDevices": rivalry.all_devices,
        "claim": str(rivalry.claim),
        "request": str(rivalry.request),
        "more": rivalry.more,
        "nodes": list(rivalry.nodes),
    }


def _problem(group: ProblemGroup) -> Json:
    return {
        "reason": reason(group.problem),
        "message": problem_sentence(group),
        "nodes": list(group.nodes),
        "published": list(group.published),
        "stale": list(group.stale),
    }


def _refused(group: NodeReasonGroup) -> Json:
    return {
        "reason": reason(group.reason),
        "message": node_sentence(group),
        "nodes": list(group.nodes),
    }


def reason(value: object) -> Json:
    """Return a typed reason: ``type`` is its class, the other fields are its data."""
    if not is_dataclass(value):
        raise AssertionError(f"{value!r} is no reason")
    data: dict[str, object] = {"type": type(value).__name__}
    for each in fields(value):
        data[_camel(each.name)] = _plain(getattr(value, each.name))
    return data


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Quantity):
        return str(value)
    if isinstance(value, NodeReason):
        return reason(value)
    if is_dataclass(value):
        return {_camel(each.name): _plain(getattr(value, each.name)) for each in fields(value)}
    # Identities (devices, pools, claims) are named tuples whose text is their usual spelling.
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [_plain(each) for each in value]
    return str(value)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
