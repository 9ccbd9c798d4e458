# SPDX-License-Identifier: Apache-2.0
"""Allocation results from and to API JSON.

What is written has exactly the API's shape: unset fields are left out, ``adminAccess`` appears
only where it is true. Never invents a timestamp or a share ID; the caller sets them.

Source: ``resource.k8s.io/v1`` AllocationResult.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from berth.codec.fields import (
    Json,
    Shared,
    boolean,
    decode_object,
    optional_integer,
    optional_part,
    optional_text,
    part,
    parts,
    quantities,
    text,
    texts,
    unique_text,
)
from berth.codec.node_selectors import decode_node_selector, encode_node_selector
from berth.model.results import AllocationResult, ConfigResult, DeviceResult
from berth.model.slices import OpaqueConfig
from berth.model.tolerations import DeviceToleration

# One a node, for all of its claims.
_shared_node_selector = Shared(decode_node_selector, size=16_384)


def decode_allocation(obj: Mapping[str, Any]) -> AllocationResult:
    """Return the value of ``status.allocation``.

    Raises:
        DecodeError: If a field does not have the type that the API gives it.
    """
    return decode_object("allocation", obj, read_allocation)


def read_allocation(obj: Json) -> AllocationResult:
    """Return the same for a codec that reads the object around it; raises Mistake."""
    devices, config = part(obj, "devices", _devices)
    return AllocationResult(
        devices=devices,
        config=config,
        node_selector=optional_part(obj, "nodeSelector", _shared_node_selector),
        timestamp=unique_text(obj, "allocationTimestamp"),
    )


def decode_toleration(obj: Json) -> DeviceToleration:
    """Return a device toleration, with the API's default for ``operator``."""
    return DeviceToleration(
        key=text(obj, "key"),
        operator=text(obj, "operator") or "Equal",
        value=text(obj, "value"),
        effect=text(obj, "effect"),
        toleration_seconds=optional_integer(obj, "tolerationSeconds"),
    )


def decode_opaque(obj: Json) -> OpaqueConfig:
    """Return opaque configuration; the parameters are the decoded JSON itself."""
    return OpaqueConfig(text(obj, "driver"), obj.get("parameters"))


def encode_allocation(result: AllocationResult) -> Json:
    """Return the value for ``status.allocation``."""
    devices: Json = {}
    if result.devices:
        devices["results"] = [_encode_device(device) for device in result.devices]
    if result.config:
        devices["config"] = [_encode_config(config) for config in result.config]
    encoded: Json = {"devices": devices}
    if result.node_selector is not None:
        encoded["nodeSelector"] = encode_node_selector(result.node_selector)
    if result.timestamp:
        encoded["allocationTimestamp"] = result.timestamp
    return encoded


def _devices(obj: Json) -> tuple[tuple[DeviceResult, ...], tuple[ConfigResult, ...]]:
    return parts(obj, "results", _device), parts(obj, "config", _config)


def _device(obj: Json) -> DeviceResult:
    return DeviceResult(
        request=text(obj, "request"),
        driver=text(obj, "driver"),
        pool=text(obj, "pool"),
        device=text(obj, "device"),
        admin_access=boolean(obj, "adminAccess"),
        tolerations=parts(obj, "tolerations", decode_toleration),
        binding_conditions=texts(obj, "bindingConditions"),
        binding_failure_conditions=texts(obj, "bindingFailureConditions"),
        share_id=optional_text(obj, "shareID"),
        consumed_capacity=quantities(obj, "consumedCapacity") or None,
        skip_node_operations=texts(obj, "skipNodeOperations"),
    )


def _config(obj: Json) -> ConfigResult:
    return ConfigResult(
        text(obj, "source"), texts(obj, "requests"), optional_part(obj, "opaque", decode_opaque)
    )


def _encode_device(device: DeviceResult) -> Json:
    encoded: Json = {
        "request": device.request,
        "driver": device.driver,
        "pool": device.pool,
        "device": device.device,
    }
    if device.admin_access:
        encoded["adminAccess"] = True
    if device.tolerations:
        encoded["tolerations"] = [_encode_toleration(t) for t in device.tolerations]
    for key, names in (
        ("bindingConditions", device.binding_conditions),
        ("bindingFailureConditions", device.binding_failure_conditions),
        ("skipNodeOperations", device.skip_node_operations),
    ):
        if names:
            encoded[key] = list(names)
    if device.share_id is not None:
        encoded["shareID"] = device.share_id
    if device.consumed_capacity:
        encoded["consumedCapacity"] = {
            name: str(amount) for name, amount in device.consumed_capacity.items()
        }
    return encoded


def _encode_toleration(toleration: DeviceToleration) -> Json:
    encoded: Json = {}
    if toleration.key:
        encoded["key"] = toleration.key
    encoded["operator"] = toleration.operator
    if toleration.value:
        encoded["value"] = toleration.value
    if toleration.effect:
        encoded["effect"] = toleration.effect
    if toleration.toleration_seconds is not None:
        encoded["tolerationSeconds"] = toleration.toleration_seconds
    return encoded


def _encode_config(config: ConfigResult) -> Json:
    encoded: Json = {"source": config.source}
    if config.requests:
        encoded["requests"] = list(config.requests)
    if config.opaque is not None:
        opaque: Json = {"driver": config.opaque.driver}
        if config.opaque.parameters is not None:
            opaque["parameters"] = config.opaque.parameters
        encoded["opaque"] = opaque
    return encoded
