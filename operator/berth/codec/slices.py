# SPDX-License-Identifier: Apache-2.0
"""ResourceSlices, DeviceClasses and DeviceTaintRules from API JSON.

Never judges what is published: duplicate names, missing counter sets and contradicting pools are
for ``berth.engine.pools``.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceClass, DeviceTaintRule.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from berth.codec.claims import decode_selector
from berth.codec.fields import (
    Json,
    Shared,
    boolean,
    decode_object,
    entries,
    integer,
    optional_boolean,
    optional_part,
    optional_quantity,
    optional_text,
    part,
    parts,
    quantity,
    required_quantity,
    required_text,
    text,
    texts,
    unique_text,
    wrong_type,
)
from berth.codec.node_allocatable import decode_node_allocatable
from berth.codec.node_selectors import decode_node_selector
from berth.codec.results import decode_opaque
from berth.codec.versions import slice_to_v1
from berth.model.devices import (
    AttributeValue,
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CounterConsumption,
    Device,
    DeviceCapacity,
    DeviceTaint,
    TaintEffect,
)
from berth.model.slices import CounterSet, DeviceClass, DeviceTaintRule, OpaqueConfig, ResourceSlice
from berth.quantity import Quantity

_EFFECTS = {effect.value: effect for effect in TaintEffect}


def decode_slice(obj: Mapping[str, Any]) -> ResourceSlice:
    """Return the slice; fields that Berth does not read are ignored, older versions are read.

    Raises:
        DecodeError: If a field does not have the type that the API gives it.
    """
    return decode_object("resourceslice", obj, lambda each: _slice(slice_to_v1(each)))


def decode_class(obj: Mapping[str, Any]) -> DeviceClass:
    """Return the DeviceClass.

    Raises:
        DecodeError: As for slices.
    """
    return decode_object("deviceclass", obj, _class)


def decode_taint_rule(obj: Mapping[str, Any]) -> DeviceTaintRule:
    """Return the DeviceTaintRule.

    Raises:
        DecodeError: As for slices.
    """
    return decode_object("devicetaintrule", obj, _taint_rule)


def _name(metadata: Json) -> str:
    return required_text(metadata, "name")


def _slice(obj: Json) -> ResourceSlice:
    name, uid = part(obj, "metadata", lambda m: (_name(m), unique_text(m, "uid")))
    return part(obj, "spec", lambda spec: _slice_spec(spec, name, uid))


def _slice_spec(obj: Json, name: str, uid: str) -> ResourceSlice:
    pool, generation, count = part(obj, "pool", _pool)
    return ResourceSlice(
        name=name,
        driver=text(obj, "driver"),
        pool=pool,
        generation=generation,
        resource_slice_count=count,
        node_name=text(obj, "nodeName"),
        node_selector=optional_part(obj, "nodeSelector", decode_node_selector),
        all_nodes=boolean(obj, "allNodes"),
        per_device_node_selection=optional_boolean(obj, "perDeviceNodeSelection"),
        devices=parts(obj, "devices", _device),
        shared_counters=parts(obj, "sharedCounters", _counter_set),
        skip_node_operations=texts(obj, "skipNodeOperations"),
        uid=uid,
    )


def _pool(obj: Json) -> tuple[str, int, int]:
    return text(obj, "name"), integer(obj, "generation"), integer(obj, "resourceSliceCount")


def _device(obj: Json) -> Device:
    return Device(
        name=text(obj, "name"),
        attributes=entries(obj, "attributes", _attribute),
        capacity=entries(obj, "capacity", _shared_capacity),
        taints=parts(obj, "taints", _taint),
        consumes_counters=parts(obj, "consumesCounters", _consumption),
        node_name=text(obj, "nodeName"),
        node_selector=optional_part(obj, "nodeSelector", decode_node_selector),
        all_nodes=boolean(obj, "allNodes"),
        binds_to_node=boolean(obj, "bindsToNode"),
        binding_conditions=texts(obj, "bindingConditions"),
        binding_failure_conditions=texts(obj, "bindingFailureConditions"),
        allow_multiple_allocations=boolean(obj, "allowMultipleAllocations"),
        node_allocatable=entries(obj, "nodeAllocatableResources", decode_node_allocatable),
    )


def _attribute(obj: Json) -> AttributeValue:
    # Almost every attribute has one value of one of these types, and the same as thousands more.
    if len(obj) == 1:
        ((key, value),) = obj.items()
        if type(value) is _SINGLE.get(key):
            return _single(key, value)
    return AttributeValue(
        int_value=None if obj.get("int") is None else integer(obj, "int"),
        bool_value=optional_boolean(obj, "bool"),
        string_value=optional_text(obj, "string"),
        version_value=optional_text(obj, "version"),
        ints=_values(obj, "ints", int),
        bools=_values(obj, "bools", bool),
        strings=_values(obj, "strings", str),
        versions=_values(obj, "versions", str),
    )


_SINGLE = {"string": str, "int": int, "bool": bool, "version": str}


@lru_cache(maxsize=65_536, typed=True)
def _single(key: str, value: Any) -> AttributeValue:
    """Return one object for equal values, so that devices that look alike are told quickly."""
    return AttributeValue(
        int_value=value if key == "int" else None,
        bool_value=value if key == "bool" else None,
        string_value=value if key == "string" else None,
        version_value=value if key == "version" else None,
    )


def _values(obj: Json, key: str, kind: type[Any]) -> tuple[Any, ...] | None:
    value = obj.get(key)
    if value is None:
        return None
    if type(value) is not list:
        raise wrong_type(key, "a list", value)
    for index, item in enumerate(value):
        if type(item) is not kind:
            expected = {int: "a whole number", bool: "a boolean", str: "a string"}[kind]
            raise wrong_type(f"{key}[{index}]", expected, item)
    return tuple(value)


def _capacity(obj: Json) -> DeviceCapacity:
    return DeviceCapacity(
        required_quantity(obj, "value"), optional_part(obj, "requestPolicy", _policy)
    )


# As with attributes: equal capacities are one object.
_shared_capacity = Shared(_capacity, size=16_384)


def _policy(obj: Json) -> CapacityRequestPolicy:
    values = obj.get("validValues")
    if values is not None and type(values) is not list:
        raise wrong_type("validValues", "a list", values)
    return CapacityRequestPolicy(
        default=optional_quantity(obj, "default"),
        valid_values=tuple(
            quantity(value, f"validValues[{index}]") for index, value in enumerate(values or ())
        ),
        valid_range=optional_part(obj, "validRange", _range),
    )


def _range(obj: Json) -> CapacityRequestPolicyRange:
    return CapacityRequestPolicyRange(
        min=required_quantity(obj, "min"),
        max=optional_quantity(obj, "max"),
        step=optional_quantity(obj, "step"),
    )


def _taint(obj: Json) -> DeviceTaint:
    return DeviceTaint(
        key=text(obj, "key"),
        value=text(obj, "value"),
        effect=_EFFECTS.get(text(obj, "effect"), TaintEffect.OTHER),
    )


def _counter(obj: Json) -> Quantity:
    return required_quantity(obj, "value")


def _counter_set(obj: Json) -> CounterSet:
    return CounterSet(text(obj, "name"), entries(obj, "counters", _counter))


def _consumption(obj: Json) -> CounterConsumption:
    return CounterConsumption(
        counter_set=text(obj, "counterSet"),
        counters=entries(obj, "counters", _counter),
        compatibility_groups=texts(obj, "compatibilityGroups"),
    )


def _class(obj: Json) -> DeviceClass:
    name, created = part(obj, "metadata", lambda m: (_name(m), unique_text(m, "creationTimestamp")))
    return part(
        obj,
        "spec",
        lambda spec: DeviceClass(
            name=name,
            selectors=parts(spec, "selectors", decode_selector),
            config=parts(spec, "config", _class_config),
            extended_resource_name=optional_text(spec, "extendedResourceName"),
            created=created,
        ),
    )


def _class_config(obj: Json) -> OpaqueConfig | None:
    return optional_part(obj, "opaque", decode_opaque)


def _taint_rule(obj: Json) -> DeviceTaintRule:
    name = part(obj, "metadata", _name)
    return part(obj, "spec", lambda spec: _taint_rule_spec(spec, name))


def _taint_rule_spec(obj: Json, name: str) -> DeviceTaintRule:
    taint = part(obj, "taint", _taint)
    driver, pool, device = part(
        obj,
        "deviceSelector",
        lambda s: tuple(optional_text(s, key) for key in ("driver", "pool", "device")),
    )
    return DeviceTaintRule(
        name=name,
        taint=DeviceTaint(taint.key, taint.value, taint.effect, rule=name),
        has_selector=obj.get("deviceSelector") is not None,
        driver=driver,
        pool=pool,
        device=device,
    )
