# SPDX-License-Identifier: Apache-2.0
"""The short forms of scenario files, written out as API objects.

Decides names and defaults of what is described in few words: many equal nodes with equal devices,
pods by the names of their claims. Never decides what a field of the API means.

Source: ``docs/reference/scenario-format.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from berth.errors import DecodeError
from berth.scenario.documents import Json
from berth.scenario.workloads import MAX_PODS

RESOURCE_API = "resource.k8s.io/v1"
DEFAULT_DRIVER = "gpu.example.com"
DEFAULT_ALLOCATABLE: Mapping[str, str] = MappingProxyType(
    {"cpu": "64", "memory": "256Gi", "pods": "110"}
)
HOSTNAME = "kubernetes.io/hostname"
MAX_NODES = 20_000
DEVICES_PER_SLICE = 128
MISSING = object()


class Fields:
    """A mapping of a scenario file that is read field by field; what is left over is a mistake."""

    def __init__(self, where: str, path: str, data: object) -> None:
        if not isinstance(data, dict):
            raise DecodeError(where, path, "expected an object")
        self.where = where
        self.path = path
        self._rest = dict(data)

    def take(self, key: str, kind: type | tuple[type, ...], default: Any = MISSING) -> Any:
        """Return the value of ``key``, which must be of ``kind``; ``default`` if absent."""
        value = self._rest.pop(key, None)
        if value is None:
            if default is MISSING:
                raise self.mistake(key, "is required")
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise self.mistake(key, f"expected {_NAMES.get(kind, 'another type')}")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of strings; empty if absent."""
        values = self.take(key, list, [])
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise self.mistake(f"{key}[{index}]", "expected a string")
        return list(values)

    def children(self, key: str) -> Iterator[Fields]:
        """Yield the objects of the list at ``key``."""
        for index, value in enumerate(self.take(key, list, [])):
            yield Fields(self.where, self.at(f"{key}[{index}]"), value)

    def rest(self) -> Json:
        """Return, and thereby accept, everything that was not taken."""
        rest, self._rest = self._rest, {}
        return rest

    def done(self) -> None:
        """Check that nothing is left over."""
        for key in self._rest:
            raise self.mistake(str(key), "is no field of the scenario format")

    def at(self, key: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{key}" if self.path else key

    def mistake(self, key: str, detail: str) -> DecodeError:
        """Return the error about a field."""
        return DecodeError(self.where, self.at(key), detail)


_NAMES: Mapping[Any, str] = {
    str: "a string",
    int: "a whole number",
    bool: "a boolean",
    dict: "an object",
    list: "a list",
}


def fleet(fields: Fields, first: int) -> Iterator[Json]:
    """Yield Nodes and ResourceSlices of one entry of ``cluster.fleets``.

    Args:
        fields: The entry.
        first: How many nodes without names of their own earlier entries have.

    Raises:
        DecodeError: If the entry is not as the format says.
    """
    names = _node_names(fields, first)
    labels = fields.take("labels", dict, {})
    taints = fields.take("taints", list, [])
    allocatable = {**DEFAULT_ALLOCATABLE, **fields.take("allocatable", dict, {})}
    ready = fields.take("ready", bool, True)  # noqa: FBT003 - the default of a field
    groups = [_device_group(group) for group in fields.children("devices")]
    fields.done()
    for name in names:
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {HOSTNAME: name, **labels}},
            "spec": {"taints": taints} if taints else {},
            "status": {
                "allocatable": {key: str(value) for key, value in allocatable.items()},
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        }
        yield from _slices(name, groups)


def _node_names(fields: Fields, first: int) -> list[str]:
    names = fields.texts("names")
    prefix = fields.take("prefix", str, "node")
    count = fields.take("nodes", int, 0 if names else 1)
    if names and count:
        raise fields.mistake("nodes", "give either the number of nodes, or their `names`")
    if not 0 <= count <= MAX_NODES:
        raise fields.mistake("nodes", f"{count} is not within 0 to {MAX_NODES}")
    # Of one width, because nodes are tried in order of name.
    width = len(str(max(first + count - 1, 0)))
    return names or [f"{prefix}-{first + index:0{width}}" for index in range(count)]


def _device_group(fields: Fields) -> tuple[str, str, int, Json]:
    driver = fields.take("driver", str, DEFAULT_DRIVER)
    name = fields.take("name", str, "gpu")
    count = fields.take("count", int, 1)
    if not 0 <= count <= DEVICES_PER_SLICE**2:
        raise fields.mistake("count", f"{count} is not within 0 to {DEVICES_PER_SLICE**2}")
    attributes = fields.take("attributes", dict, {})
    capacity = fields.take("capacity", dict, {})
    device: Json = {
        "attributes": {key: _attribute(fields, key, each) for key, each in attributes.items()},
        "capacity": {
            key: each if isinstance(each, dict) else {"value": str(each)}
            for key, each in capacity.items()
        },
        **fields.rest(),
    }
    return driver, name, count, device


def _attribute(fields: Fields, key: str, value: object) -> Json:
    if isinstance(value, dict):
        return value
    for kind, name in ((bool, "bool"), (int, "int"), (str, "string")):
        if isinstance(value, kind):
            return {name: value}
    raise fields.mistake(
        f"attributes.{key}", "expected a string, a whole number, a boolean or an API value"
    )


def _slices(node: str, groups: list[tuple[str, str, int, Json]]) -> Iterator[Json]:
    by_driver: dict[str, list[Json]] = {}
    numbers: dict[tuple[str, str], int] = {}
    for driver, name, count, device in groups:
        made = by_driver.setdefault(driver, [])
        for _ in range(count):
            number = numbers.get((driver, name), 0)
            numbers[driver, name] = number + 1
            made.append({"name": f"{name}-{number}", **device})
    for driver, devices in by_driver.items():
        parts = [
            devices[start : start + DEVICES_PER_SLICE]
            for start in range(0, len(devices), DEVICES_PER_SLICE)
        ]
        for number, part in enumerate(parts):
            yield {
                "apiVersion": RESOURCE_API,
                "kind": "ResourceSlice",
                "metadata": {"name": f"{node}-{driver}-{number}"},
                "spec": {
                    "driver": driver,
                    "nodeName": node,
                    "pool": {
                        "name": node,
                        "generation": 1,
                        "resourceSliceCount": len(parts),
                    },
                    "devices": part,
                },
            }


def driver_class(driver: str) -> Json:
    """Return the DeviceClass, named like the driver, of all its devices."""
    return {
        "apiVersion": RESOURCE_API,
        "kind": "DeviceClass",
        "metadata": {"name": driver},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{driver}"'}}]},
    }


def pods(fields: Fields) -> Iterator[Json]:
    """Yield the pods of one short entry of ``pods``.

    Raises:
        DecodeError: If the entry is not as the format says.
    """
    name = fields.take("name", str)
    namespace = fields.take("namespace", str, None)
    count = fields.take("count", int, None)
    if count is not None and not 0 <= count <= MAX_PODS:
        raise fields.mistake("count", f"{count} is not within 0 to {MAX_PODS}")
    references = [
        *({"name": each, "resourceClaimName": each} for each in fields.texts("claims")),
        *({"name": each, "resourceClaimTemplateName": each} for each in fields.texts("templates")),
    ]
    requests = fields.take("requests", dict, {})
    # Everything else is a field of the pod's spec, spelled as the API spells it.
    spec = {
        "containers": [{"name": "main", "resources": {"requests": requests}}],
        "resourceClaims": references,
        **fields.rest(),
    }
    for pod_name in [name] if count is None else [f"{name}-{index}" for index in range(count)]:
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod_name, "namespace": namespace},
            "spec": spec,
        }


def claim(fields: Fields) -> Json:
    """Return the ResourceClaim, or with ``template: true`` the template, of one short entry.

    Raises:
        DecodeError: If the entry is not as the format says.
    """
    name = fields.take("name", str)
    namespace = fields.take("namespace", str, None)
    is_template = fields.take("template", bool, False)  # noqa: FBT003 - the default of a field
    spec = {
        "devices": {
            key: fields.take(key, list, []) for key in ("requests", "constraints", "config")
        }
    }
    fields.done()
    return {
        "apiVersion": RESOURCE_API,
        "kind": "ResourceClaimTemplate" if is_template else "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"spec": spec} if is_template else spec,
    }
