# SPDX-License-Identifier: Apache-2.0
"""Nodes from API JSON.

A node whose status has no conditions counts as ready: files describe nodes without a status. On a
cluster such a node has no allocatable resources either, so that no pod is placed on it.

Source: core/v1 Node.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from berth.codec.fields import (
    Json,
    boolean,
    decode_object,
    part,
    parts,
    quantities,
    required_text,
    text,
    text_map,
    texts,
    unique_text,
)
from berth.model.nodes import Node, NodeTaint
from berth.quantity import Quantity


def decode_node(obj: Mapping[str, Any]) -> Node:
    """Return the node; fields that Berth does not read are ignored.

    Raises:
        DecodeError: If a field does not have the type that the API gives it.
    """
    return decode_object("node", obj, _node)


def whole_amount(resource: str, amount: Quantity) -> int:
    """Return an amount as kube-scheduler counts it: milli-units of cpu, else whole units."""
    return amount.millis_rounded_up if resource == "cpu" else amount.units_rounded_up


def _node(obj: Json) -> Node:
    name, uid, labels = part(
        obj,
        "metadata",
        lambda m: (required_text(m, "name"), unique_text(m, "uid"), text_map(m, "labels")),
    )
    taints, unschedulable = part(
        obj, "spec", lambda s: (parts(s, "taints", _taint), boolean(s, "unschedulable"))
    )
    ready, allocatable, features = part(obj, "status", _status)
    return Node(name, uid, labels, taints, unschedulable, ready, allocatable, features)


def _taint(obj: Json) -> NodeTaint:
    return NodeTaint(text(obj, "key"), text(obj, "value"), text(obj, "effect"))


def _status(obj: Json) -> tuple[bool, Mapping[str, int], frozenset[str]]:
    conditions = dict(parts(obj, "conditions", lambda c: (text(c, "type"), text(c, "status"))))
    allocatable = {
        resource: whole_amount(resource, amount)
        for resource, amount in quantities(obj, "allocatable").items()
    }
    return (
        not conditions or conditions.get("Ready") == "True",
        MappingProxyType(allocatable),
        frozenset(texts(obj, "declaredFeatures")),
    )
