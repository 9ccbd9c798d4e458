# SPDX-License-Identifier: Apache-2.0
"""Plain factories for the model: every argument has a harmless default.

The defaults fit each other: ``a_claim()`` asks for one device of class ``gpu``, ``a_class()`` is
that class, and ``a_slice([a_device()])`` publishes such devices on node ``node-1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from berth.model.claims import (
    EXACT_COUNT,
    ClaimConfig,
    DeviceClaim,
    DeviceConstraint,
    DeviceRequest,
    ExactRequest,
    ResourceClaim,
)
from berth.model.devices import (
    AttributeValue,
    CounterConsumption,
    Device,
    DeviceCapacity,
    DeviceTaint,
    TaintEffect,
)
from berth.model.nodes import Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.slices import (
    CounterSet,
    DeviceClass,
    DeviceTaintRule,
    OpaqueConfig,
    ResourceSlice,
    Selector,
)
from berth.model.tolerations import DeviceToleration
from berth.quantity import Quantity

DRIVER = "gpu.example.com"
NODE = "node-1"
Plain = str | int | bool | AttributeValue | Sequence[str] | Sequence[int] | Sequence[bool]


def a_version(text: str) -> AttributeValue:
    return AttributeValue(version_value=text)


def an_attribute(value: Plain) -> AttributeValue:
    if isinstance(value, AttributeValue):
        return value
    if isinstance(value, bool):
        return AttributeValue(bool_value=value)
    if isinstance(value, int):
        return AttributeValue(int_value=value)
    if isinstance(value, str):
        return AttributeValue(string_value=value)
    bools = tuple(item for item in value if isinstance(item, bool))
    ints = tuple(item for item in value if isinstance(item, int) and not isinstance(item, bool))
    strings = tuple(item for item in value if isinstance(item, str))
    if bools:
        return AttributeValue(bools=bools)
    return AttributeValue(ints=ints) if ints else AttributeValue(strings=strings)


def a_taint(
    key: str = "maintenance", value: str = "", effect: TaintEffect = TaintEffect.NO_SCHEDULE
) -> DeviceTaint:
    return DeviceTaint(key, value, effect)


def a_taint_rule(
    name: str = "rule",
    taint: DeviceTaint | None = None,
    *,
    driver: str | None = None,
    pool: str | None = None,
    device: str | None = None,
    has_selector: bool = True,
) -> DeviceTaintRule:
    return DeviceTaintRule(name, taint or a_taint(), has_selector, driver, pool, device)


def a_device(
    name: str = "gpu-0",
    *,
    attributes: Mapping[str, Plain] = MappingProxyType({}),
    capacity: Mapping[str, str | DeviceCapacity] = MappingProxyType({}),
    taints: Iterable[DeviceTaint] = (),
    consumes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    node_name: str = "",
    node_selector: NodeSelector | None = None,
    all_nodes: bool = False,
    allow_multiple_allocations: bool = False,
    binds_to_node: bool = False,
    binding_conditions: Iterable[str] = (),
    binding_failure_conditions: Iterable[str] = (),
) -> Device:
    """Values are plain Python; ``consumes`` is counter set → counter → quantity."""
    return Device(
        name=name,
        attributes=MappingProxyType({k: an_attribute(v) for k, v in attributes.items()}),
        capacity=MappingProxyType(
            {
                k: v if isinstance(v, DeviceCapacity) else DeviceCapacity(Quantity.parse(v))
                for k, v in capacity.items()
            }
        ),
        taints=tuple(taints),
        consumes_counters=tuple(
            CounterConsumption(
                name, MappingProxyType({k: Quantity.parse(v) for k, v in counters.items()})
            )
            for name, counters in consumes.items()
        ),
        node_name=node_name,
        node_selector=node_selector,
        all_nodes=all_nodes,
        allow_multiple_allocations=allow_multiple_allocations,
        binds_to_node=binds_to_node,
        binding_conditions=tuple(binding_conditions),
        binding_failure_conditions=tuple(binding_failure_conditions),
    )


def devices(count: int, *, prefix: str = "gpu-", **fields: Plain) -> tuple[Device, ...]:
    """``count`` devices ``gpu-0`` …, with ``fields`` as attributes and their ``index``."""
    return tuple(
        a_device(f"{prefix}{index}", attributes={"index": index, **fields})
        for index in range(count)
    )


def a_slice(
    published: Sequence[Device] = (),
    *,
    name: str = "",
    driver: str = DRIVER,
    pool: str = "",
    generation: int = 1,
    count: int = 1,
    node_name: str | None = None,
    node_selector: NodeSelector | None = None,
    all_nodes: bool = False,
    per_device: bool | None = None,
    counter_sets: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> ResourceSlice:
    """A slice of ``NODE`` unless another reach is given; the pool is named after the node."""
    elsewhere = node_selector is not None or all_nodes or per_device is not None
    if node_name is None:
        node_name = "" if elsewhere else NODE
    pool = pool or node_name or "shared"
    return ResourceSlice(
        name=name or f"{pool}-{driver}".replace("/", "-"),
        driver=driver,
        pool=pool,
        generation=generation,
        resource_slice_count=count,
        node_name=node_name,
        node_selector=node_selector,
        all_nodes=all_nodes,
        per_device_node_selection=per_device,
        devices=tuple(published),
        shared_counters=tuple(
            CounterSet(set_name, MappingProxyType({k: Quantity.parse(v) for k, v in each.items()}))
            for set_name, each in counter_sets.items()
        ),
    )


def a_class(
    name: str = "gpu",
    *selectors: str,
    config: Iterable[OpaqueConfig | None] = (),
    driver: str | None = DRIVER,
) -> DeviceClass:
    """A class of one driver's devices, and of whatever ``selectors`` say beside that."""
    texts = [] if driver is None else [f'device.driver == "{driver}"']
    return DeviceClass(
        name=name,
        selectors=tuple(Selector(text) for text in (*texts, *selectors)),
        config=tuple(config),
    )


def a_body(
    *selectors: str,
    name: str = "",
    device_class: str = "gpu",
    mode: str = EXACT_COUNT,
    count: int = 1,
    admin_access: bool | None = None,
    tolerations: Iterable[DeviceToleration] = (),
    capacity: Mapping[str, str] | None = None,
) -> ExactRequest:
    return ExactRequest(
        device_class_name=device_class,
        name=name,
        selectors=tuple(Selector(text) for text in selectors),
        allocation_mode=mode,
        count=count,
        admin_access=admin_access,
        tolerations=tuple(tolerations),
        capacity_requests=None
        if capacity is None
        else MappingProxyType({k: Quantity.parse(v) for k, v in capacity.items()}),
    )


def a_request(
    name: str = "gpu",
    *selectors: str,
    device_class: str = "gpu",
    mode: str = EXACT_COUNT,
    count: int = 1,
    admin_access: bool | None = None,
    tolerations: Iterable[DeviceToleration] = (),
    capacity: Mapping[str, str] | None = None,
) -> DeviceRequest:
    body = a_body(
        *selectors,
        device_class=device_class,
        mode=mode,
        count=count,
        admin_access=admin_access,
        tolerations=tolerations,
        capacity=capacity,
    )
    return DeviceRequest(name, exactly=body)


def first_available(name: str, *alternatives: ExactRequest) -> DeviceRequest:
    """A prioritized list; the alternatives need names, see ``a_body(name=…)``."""
    return DeviceRequest(name, first_available=alternatives)


def matching(attribute: str, *requests: str) -> DeviceConstraint:
    return DeviceConstraint(requests, match_attribute=attribute)


def distinct(attribute: str, *requests: str) -> DeviceConstraint:
    return DeviceConstraint(requests, distinct_attribute=attribute)


def a_config(driver: str = DRIVER, **parameters: object) -> OpaqueConfig:
    return OpaqueConfig(driver, parameters)


def a_claim(
    *requests: DeviceRequest,
    name: str = "claim",
    namespace: str = "default",
    constraints: Iterable[DeviceConstraint] = (),
    config: Iterable[ClaimConfig] = (),
    uid: str = "",
) -> ResourceClaim:
    """A claim for one device of class ``gpu`` unless requests are given."""
    spec = DeviceClaim(requests or (a_request(),), tuple(constraints), tuple(config))
    return ResourceClaim(namespace, name, spec, uid=uid or f"uid-of-{name}")


def a_node(name: str = NODE, **labels: str) -> Node:
    """Labels whose name is no identifier: ``a_node("n", **{"example.com/zone": "a"})``."""
    return Node(name, uid=f"uid-of-{name}", labels=MappingProxyType(dict(labels)))


def label_in(key: str, *values: str) -> NodeSelector:
    """A node selector of one term with one requirement on labels."""
    requirement = NodeSelectorRequirement(key, "In", values)
    return NodeSelector((NodeSelectorTerm(match_expressions=(requirement,)),))
