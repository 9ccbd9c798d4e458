# SPDX-License-Identifier: Apache-2.0
"""Older versions of ``resource.k8s.io``, brought to the shape of v1 before anything is read.

The one place that knows how versions differ. v1beta2 has the shape of v1. v1beta1 has the fields
of a request beside its name where v1 has ``exactly``, and those of a device within ``basic``; all
else, the allocation in ``status`` included, is as in v1. An object that says no version, such as
an item of a list, is told by its shape: no object of v1 looks like that. One that says v1 is left
alone, so that its mistakes are found.

Never changes its argument: what differs is copied, the rest is shared. Judges no types; whatever
is not of the shape that v1beta1 has goes through as it is, and the reader of v1 complains.

Source: ``resource.k8s.io/v1beta1``, ``v1beta2`` and ``v1``: ResourceClaim, ResourceClaimTemplate,
ResourceSlice. DeviceClass is the same in all three, DeviceTaintRule in v1alpha3, v1beta2 and v1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from berth.codec.fields import Json

GROUP = "resource.k8s.io"
V1 = "v1"
FLAT = "v1beta1"
"""The version with the other shape."""
VERSIONS = (V1, "v1beta2", FLAT)
"""In which claims, templates, classes and slices are read and written, the preferred one first."""

_OF_EXACTLY = (
    "deviceClassName",
    "selectors",
    "allocationMode",
    "count",
    "adminAccess",
    "tolerations",
    "capacity",
    "derivedAttributes",
)


def claim_to_v1(obj: Json) -> Json:
    """Return a ResourceClaim in the shape of v1; ``obj`` itself where it has that already."""
    return _changed_within(obj, ("spec", "devices"), _requests_to_v1) if _may_be_flat(obj) else obj


def template_to_v1(obj: Json) -> Json:
    """Return a ResourceClaimTemplate likewise."""
    if not _may_be_flat(obj):
        return obj
    return _changed_within(obj, ("spec", "spec", "devices"), _requests_to_v1)


def slice_to_v1(obj: Json) -> Json:
    """Return a ResourceSlice likewise."""
    return _changed_within(obj, ("spec",), _devices_to_v1) if _may_be_flat(obj) else obj


def spec_from_v1(spec: Mapping[str, Any], version: str) -> Json:
    """Return the spec of a claim as ``version`` wants it; a request has one shape or the other."""
    if version != FLAT:
        return dict(spec)
    return _changed_within(dict(spec), ("devices",), _requests_from_v1)


def from_v1(obj: Mapping[str, Any], version: str) -> Json:
    """Return a whole object of the group as ``version`` wants it; others as they are."""
    if obj.get("apiVersion") != f"{GROUP}/{V1}" or version == V1:
        return dict(obj)
    made = {**obj, "apiVersion": f"{GROUP}/{version}"}
    if version != FLAT:
        return made
    kind = obj.get("kind")
    if kind == "ResourceSlice":
        return _changed_within(made, ("spec",), _devices_from_v1)
    if kind == "ResourceClaim":
        return _changed_within(made, ("spec", "devices"), _requests_from_v1)
    if kind == "ResourceClaimTemplate":
        return _changed_within(made, ("spec", "spec", "devices"), _requests_from_v1)
    return made


def _may_be_flat(obj: Json) -> bool:
    version = obj.get("apiVersion")
    return version is None or version == f"{GROUP}/{FLAT}"


def _changed_within(obj: Json, path: tuple[str, ...], change: Callable[[Json], Json]) -> Json:
    """Return ``obj`` with ``change`` made at ``path``; ``obj`` itself where it changes nothing."""
    if not path:
        return change(obj)
    inner = obj.get(path[0])
    if type(inner) is not dict:
        return obj
    changed = _changed_within(inner, path[1:], change)
    return obj if changed is inner else {**obj, path[0]: changed}


def _each(obj: Json, key: str, change: Callable[[Json], Json]) -> Json:
    """Return ``obj`` with ``change`` made to the objects of a list; itself where none changes."""
    items = obj.get(key)
    if type(items) is not list:
        return obj
    changed = [change(item) if type(item) is dict else item for item in items]
    if all(new is old for new, old in zip(changed, items, strict=True)):
        return obj
    return {**obj, key: changed}


def _requests_to_v1(devices: Json) -> Json:
    return _each(devices, "requests", _request_to_v1)


def _requests_from_v1(devices: Json) -> Json:
    return _each(devices, "requests", _request_from_v1)


def _devices_to_v1(spec: Json) -> Json:
    return _each(spec, "devices", _device_to_v1)


def _devices_from_v1(spec: Json) -> Json:
    return _each(spec, "devices", _device_from_v1)


def _request_to_v1(request: Json) -> Json:
    if "exactly" in request or not any(key in request for key in _OF_EXACTLY):
        return request
    rest = {key: value for key, value in request.items() if key not in _OF_EXACTLY}
    # Beside a list of alternatives the API server of v1beta1 returns the class as an empty text.
    if not any(request.get(key) for key in _OF_EXACTLY):
        return rest
    exactly = {key: request[key] for key in _OF_EXACTLY if key in request}
    return {**rest, "exactly": exactly}


def _request_from_v1(request: Json) -> Json:
    exactly = request.get("exactly")
    if type(exactly) is not dict:
        return request
    return {**{key: value for key, value in request.items() if key != "exactly"}, **exactly}


def _device_to_v1(device: Json) -> Json:
    basic = device.get("basic")
    if type(basic) is not dict:
        return device
    return {**{key: value for key, value in device.items() if key != "basic"}, **basic}


def _device_from_v1(device: Json) -> Json:
    return {
        "name": device.get("name"),
        "basic": {key: value for key, value in device.items() if key != "name"},
    }
