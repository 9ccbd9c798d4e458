# SPDX-License-Identifier: Apache-2.0
"""Scenario files: a cluster, what is to be placed there, and what is expected.

Decides what a scenario file means, and whether it is one. Whether the expectation holds is for
``berth.simulate``.

Source: ``docs/reference/scenario-format.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from berth.errors import DecodeError
from berth.model.features import Features
from berth.scenario.documents import ApiObject, Json, ScenarioText, objects_in
from berth.scenario.load import DEFAULT_NAMESPACE
from berth.scenario.shorthand import Fields, claim, driver_class, fleet, pods

GATES: Mapping[str, str] = MappingProxyType(
    {
        "DRAAdminAccess": "admin_access",
        "DRAPrioritizedList": "prioritized_list",
        "DRAPartitionableDevices": "partitionable_devices",
        "DRADeviceTaints": "device_taints",
        "DRADeviceBindingConditions": "device_binding_and_status",
        "DRAConsumableCapacity": "consumable_capacity",
        "DRAFractionalCapacityRange": "fractional_capacity_range",
        "DRAListTypeAttributes": "list_type_attributes",
        "DRAOptionalNodeOperations": "optional_node_operations",
        "DRADerivedAttributes": "derived_attributes",
        "DRADeviceCompatibilityGroups": "compatibility_groups",
        "DRANodeAllocatableResources": "node_allocatable_resources",
    }
)
"""Feature gates as Kubernetes spells them → fields of ``Features``."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of one pod, or of one claim that no pod of the file refers to.

    ``devices`` is by claim, each device as ``driver/pool/device``, in the order of the result;
    ``None`` where anything will do. ``says`` are texts that the explanation contains.
    """

    name: str
    fits: bool
    node: str = ""
    devices: Mapping[str, tuple[str, ...]] | None = None
    says: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario file.

    ``cluster`` is what there is, ``wanted`` the pods, claims and templates to be placed; both as
    API objects, ``wanted`` in the order of the file. ``expect`` is by ``pods`` or ``claims``, then
    by ``namespace/name``.
    """

    source: str
    name: str
    description: str
    features: Features
    cluster: tuple[ApiObject, ...]
    wanted: tuple[ApiObject, ...]
    expect_pods: tuple[Expected, ...] = ()
    expect_claims: tuple[Expected, ...] = ()


def parse_scenario(text: ScenarioText) -> Scenario:
    """Return the scenario that a document is.

    Raises:
        DecodeError: If it is none; file and field are named.
    """
    fields = Fields(text.source, "", text.data)
    name = fields.take("name", str, "")
    description = fields.take("description", str, "")
    features = _features(fields)
    cluster = _cluster(Fields(text.source, "cluster", fields.take("cluster", dict, {})))
    # Claims first: it is the order in which one would apply them.
    wanted = (*_wanted(fields, "claims"), *_wanted(fields, "pods"))
    expect = Fields(text.source, "expect", fields.take("expect", dict, {}))
    expect_pods, expect_claims = _expected(expect, "pods"), _expected(expect, "claims")
    expect.done()
    fields.done()
    return Scenario(
        text.source,
        name or text.source,
        description.strip(),
        features,
        tuple(ApiObject(text.source, obj) for obj in cluster),
        tuple(ApiObject(text.source, obj) for obj in wanted),
        expect_pods,
        expect_claims,
    )


def _features(fields: Fields) -> Features:
    gates = fields.take("features", dict, {})
    features = Features()
    for gate, value in gates.items():
        if gate not in GATES:
            known = ", ".join(sorted(GATES))
            raise fields.mistake(f"features.{gate}", f"is no known gate: known ones: {known}")
        if not isinstance(value, bool):
            raise fields.mistake(f"features.{gate}", "expected a boolean")
        features = replace(features, **{GATES[gate]: value})
    return features


def _cluster(fields: Fields) -> tuple[Json, ...]:
    objects: list[Json] = []
    numbered = 0
    for entry in fields.children("fleets"):
        made = list(fleet(entry, numbered))
        numbered += sum(obj["kind"] == "Node" for obj in made)
        objects += made
    given: list[Json] = []
    for index, item in enumerate(fields.take("objects", list, [])):
        where = f"{fields.where}: {fields.at(f'objects[{index}]')}"
        given += [each.obj for each in objects_in(where, fields.where, item)]
    fields.done()
    drivers = dict.fromkeys(
        obj["spec"]["driver"] for obj in objects if obj["kind"] == "ResourceSlice"
    )
    classes = {_name(obj) for obj in given if obj["kind"] == "DeviceClass"}
    objects += [driver_class(driver) for driver in drivers if driver not in classes]
    return (*objects, *given)


def _wanted(fields: Fields, key: str) -> Iterator[Json]:
    for index, item in enumerate(fields.take(key, list, [])):
        path = f"{key}[{index}]"
        if isinstance(item, dict) and "kind" not in item:
            short = Fields(fields.where, path, item)
            if key == "pods":
                yield from pods(short)
            else:
                yield claim(short)
        else:
            found = objects_in(f"{fields.where}: {path}", fields.where, item)
            yield from (each.obj for each in found)


def _expected(fields: Fields, key: str) -> tuple[Expected, ...]:
    found = []
    for name, data in fields.take(key, dict, {}).items():
        entry = Fields(fields.where, fields.at(f"{key}.{name}"), data)
        node = entry.take("node", str, "")
        devices = entry.take("devices", dict, None)
        says = tuple(entry.texts("says"))
        fits = entry.take("fits", bool, True if node or devices is not None else MISSING_FITS)
        if fits is MISSING_FITS:
            raise entry.mistake("fits", "is required where no node and no devices are expected")
        if devices is not None:
            held = Fields(fields.where, entry.at("devices"), devices)
            devices = {str(claim_name): tuple(held.texts(claim_name)) for claim_name in devices}
        entry.done()
        full_name = name if "/" in name else f"{DEFAULT_NAMESPACE}/{name}"
        found.append(Expected(full_name, fits, node, devices, says))
    return tuple(found)


MISSING_FITS = object()


def _name(obj: Json) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise DecodeError(str(obj.get("kind")).lower(), "metadata", "expected an object")
    return str(metadata.get("name", ""))
