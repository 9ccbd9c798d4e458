# SPDX-License-Identifier: Apache-2.0
"""API JSON becomes the model's values, with the API's defaults, or is refused by path."""

from typing import Any

import pytest

from berth.codec.claims import decode_claim, decode_template
from berth.codec.nodes import decode_node
from berth.codec.slices import decode_class, decode_slice, decode_taint_rule
from berth.errors import DecodeError
from berth.model.claims import (
    ClaimConfig,
    ConsumerReference,
    DeviceClaim,
    DeviceConstraint,
    DeviceRequest,
    ExactRequest,
    OwnerReference,
    ResourceClaim,
    ResourceClaimTemplate,
)
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
from berth.model.nodes import (
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeTaint,
)
from berth.model.results import AllocationResult, DeviceResult
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


def test_a_claim_is_read_with_everything_that_berth_uses() -> None:
    claim = decode_claim(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": {
                "name": "train",
                "namespace": "ml",
                "uid": "u-1",
                "resourceVersion": "42",
                "creationTimestamp": "2026-11-24T17:00:00Z",
                "deletionTimestamp": "2026-11-24T18:00:00Z",
                "finalizers": ["resource.kubernetes.io/delete-protection"],
                "annotations": {
                    "resource.kubernetes.io/pod-claim-name": "gpu",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                },
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "name": "p",
                        "uid": "u-2",
                        "controller": True,
                    }
                ],
                "managedFields": [{"manager": "x"}],
            },
            "spec": {
                "devices": {
                    "requests": [
                        {
                            "name": "main",
                            "firstAvailable": [
                                {
                                    "name": "big",
                                    "deviceClassName": "gpu",
                                    "allocationMode": "All",
                                    "selectors": [{"cel": {"expression": "true"}}, {}],
                                    "tolerations": [{"key": "k", "tolerationSeconds": 0}],
                                    "capacity": {"requests": {"memory": "40Gi"}},
                                }
                            ],
                        },
                        {
                            "name": "admin",
                            "exactly": {"deviceClassName": "a", "adminAccess": False},
                        },
                        {"name": "later", "somethingNew": {}},
                    ],
                    "constraints": [{"requests": ["main"], "matchAttribute": "d/numa"}, {}],
                    "config": [{"opaque": {"driver": "d", "parameters": {"a": [1]}}}],
                }
            },
            "status": {
                "allocation": {
                    "devices": {
                        "results": [
                            {"request": "main/big", "driver": "d", "pool": "p", "device": "x"}
                        ]
                    },
                    "allocationTimestamp": "2026-11-24T17:30:00Z",
                },
                "reservedFor": [{"resource": "pods", "name": "p", "uid": "u-2"}],
            },
        }
    )
    assert claim == ResourceClaim(
        namespace="ml",
        name="train",
        spec=DeviceClaim(
            requests=(
                DeviceRequest(
                    "main",
                    first_available=(
                        ExactRequest(
                            "gpu",
                            name="big",
                            allocation_mode="All",
                            selectors=(Selector("true"), Selector(None)),
                            tolerations=(DeviceToleration("k", "Equal", toleration_seconds=0),),
                            capacity_requests={"memory": Quantity.of(40 * 2**30)},
                        ),
                    ),
                ),
                DeviceRequest("admin", exactly=ExactRequest("a", admin_access=False)),
                DeviceRequest("later"),
            ),
            constraints=(DeviceConstraint(("main",), match_attribute="d/numa"), DeviceConstraint()),
            config=(ClaimConfig(opaque=OpaqueConfig("d", {"a": [1]})),),
        ),
        uid="u-1",
        resource_version="42",
        finalizers=("resource.kubernetes.io/delete-protection",),
        annotations={"resource.kubernetes.io/pod-claim-name": "gpu"},
        owners=(OwnerReference("Pod", "p", "u-2", controller=True),),
        deleting=True,
        created="2026-11-24T17:00:00Z",
        allocation=AllocationResult(
            devices=(DeviceResult("main/big", "d", "p", "x"),), timestamp="2026-11-24T17:30:00Z"
        ),
        reserved_for=(ConsumerReference("pods", "p", "u-2"),),
    )


def test_mode_count_and_operator_have_the_defaults_of_the_api() -> None:
    claim = decode_claim(
        {
            "metadata": {"name": "c"},
            "spec": {
                "devices": {
                    "requests": [
                        {
                            "name": "r",
                            "exactly": {"deviceClassName": "gpu", "tolerations": [{"key": "k"}]},
                        }
                    ]
                }
            },
        }
    )
    body = claim.spec.requests[0].exactly
    assert body == ExactRequest(
        "gpu",
        allocation_mode="ExactCount",
        count=1,
        tolerations=(DeviceToleration("k", operator="Equal"),),
    )


def test_a_template_keeps_its_spec_verbatim() -> None:
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
    template = decode_template(
        {
            "metadata": {"name": "t", "namespace": "ml", "uid": "u"},
            "spec": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": spec},
        }
    )
    assert template == ResourceClaimTemplate(
        "ml",
        "t",
        DeviceClaim((DeviceRequest("r", ExactRequest("gpu")),)),
        {"a": "b"},
        {"c": "d"},
        spec,
        "u",
    )


def test_a_slice_is_read_with_every_kind_of_value() -> None:
    published = decode_slice(
        {
            "metadata": {"name": "s", "uid": "u"},
            "spec": {
                "driver": "d",
                "pool": {"name": "p", "generation": 3, "resourceSliceCount": 2},
                "perDeviceNodeSelection": True,
                "skipNodeOperations": ["*"],
                "devices": [
                    {
                        "name": "x",
                        "attributes": {
                            "text": {"string": "a"},
                            "whole": {"int": 7},
                            "flag": {"bool": False},
                            "semver": {"version": "1.2.3"},
                            "many": {"ints": [1, 2]},
                            "nothing": {},
                        },
                        "capacity": {
                            "memory": {
                                "value": "40Gi",
                                "requestPolicy": {
                                    "default": "1Gi",
                                    "validRange": {"min": "1Gi", "step": "1Gi"},
                                },
                            },
                            "cores": {"value": 8, "requestPolicy": {"validValues": ["1", "2"]}},
                        },
                        "taints": [
                            {"key": "k", "effect": "NoExecute", "timeAdded": "x"},
                            {"key": "l", "value": "v", "effect": "Tomorrow"},
                        ],
                        "consumesCounters": [
                            {"counterSet": "c", "counters": {"m": {"value": "1"}}}
                        ],
                        "nodeSelector": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "z", "operator": "In", "values": ["a"]}
                                    ]
                                }
                            ]
                        },
                        "bindingConditions": ["Ready"],
                        "bindingFailureConditions": ["Failed"],
                        "bindsToNode": True,
                        "allowMultipleAllocations": True,
                    }
                ],
                "sharedCounters": [{"name": "c", "counters": {"m": {"value": "8"}}}],
            },
        }
    )
    assert published == ResourceSlice(
        name="s",
        driver="d",
        pool="p",
        generation=3,
        resource_slice_count=2,
        per_device_node_selection=True,
        skip_node_operations=("*",),
        uid="u",
        shared_counters=(CounterSet("c", {"m": Quantity.of(8)}),),
        devices=(
            Device(
                "x",
                attributes={
                    "text": AttributeValue(string_value="a"),
                    "whole": AttributeValue(int_value=7),
                    "flag": AttributeValue(bool_value=False),
                    "semver": AttributeValue(version_value="1.2.3"),
                    "many": AttributeValue(ints=(1, 2)),
                    "nothing": AttributeValue(),
                },
                capacity={
                    "memory": DeviceCapacity(
                        Quantity.parse("40Gi"),
                        CapacityRequestPolicy(
                            default=Quantity.parse("1Gi"),
                            valid_range=CapacityRequestPolicyRange(
                                min=Quantity.parse("1Gi"), step=Quantity.parse("1Gi")
                            ),
                        ),
                    ),
                    "cores": DeviceCapacity(
                        Quantity.of(8),
                        CapacityRequestPolicy(valid_values=(Quantity.of(1), Quantity.of(2))),
                    ),
                },
                taints=(
                    DeviceTaint("k", "", TaintEffect.NO_EXECUTE),
                    DeviceTaint("l", "v", TaintEffect.OTHER),
                ),
                consumes_counters=(CounterConsumption("c", {"m": Quantity.of(1)}),),
                node_selector=NodeSelector(
                    (NodeSelectorTerm((NodeSelectorRequirement("z", "In", ("a",)),)),)
                ),
                binds_to_node=True,
                binding_conditions=("Ready",),
                binding_failure_conditions=("Failed",),
                allow_multiple_allocations=True,
            ),
        ),
    )


def test_a_class_may_have_config_of_a_later_release() -> None:
    assert decode_class(
        {
            "metadata": {"name": "gpu"},
            "spec": {
                "selectors": [{"cel": {"expression": "true"}}],
                "config": [{"opaque": {"driver": "d", "parameters": None}}, {"new": {}}],
                "extendedResourceName": "example.com/gpu",
            },
        }
    ) == DeviceClass("gpu", (Selector("true"),), (OpaqueConfig("d", None), None), "example.com/gpu")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, (False, None, None)),
        ({"deviceSelector": None}, (False, None, None)),
        ({"deviceSelector": {}}, (True, None, None)),
        ({"deviceSelector": {"driver": "d", "pool": "p"}}, (True, "d", "p")),
    ],
)
def test_a_taint_rule_without_selector_is_told_from_one_with_an_empty_selector(
    selector: dict[str, Any], expected: tuple[bool, str | None, str | None]
) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    rule = decode_taint_rule({"metadata": {"name": "r"}, "spec": {"taint": taint, **selector}})
    has_selector, driver, pool = expected
    assert rule == DeviceTaintRule(
        "r", DeviceTaint("k", "v", TaintEffect.NO_SCHEDULE, "r"), has_selector, driver, pool
    )


def test_a_node_is_read_in_the_units_of_the_scheduler() -> None:
    assert decode_node(
        {
            "metadata": {"name": "n", "uid": "u", "labels": {"a": "b"}},
            "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {
                "conditions": [
                    {"type": "MemoryPressure", "status": "False"},
                    {"type": "Ready", "status": "True"},
                ],
                "allocatable": {"cpu": "3920m", "memory": "1.5Ki", "pods": "110", "x/y": "2500m"},
                "declaredFeatures": ["F"],
            },
        }
    ) == Node(
        "n",
        "u",
        {"a": "b"},
        (NodeTaint("k", "", "NoSchedule"),),
        unschedulable=True,
        ready=True,
        allocatable={"cpu": 3920, "memory": 1536, "pods": 110, "x/y": 3},
        declared_features=frozenset({"F"}),
    )


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        ({}, True),
        ({"conditions": [{"type": "Ready", "status": "Unknown"}]}, False),
        ({"conditions": [{"type": "DiskPressure", "status": "False"}]}, False),
    ],
)
def test_a_node_is_ready_by_its_condition(status: dict[str, Any], ready: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert decode_node({"metadata": {"name": "n"}, "status": status}).ready is ready


def slice_with(device: object) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": {"devices": [{"name": "a"}, device]}}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (
            slice_with({"capacity": {"memory": {"value": "lots"}}}),
            "resourceslice x: spec.devices[1].capacity[memory].value: quantity `lots`: expected a "
            "number with an optional suffix such as `m`, `k`, `Mi` or `e3`",
        ),
        (
            slice_with({"capacity": {"memory": {}}}),
            "resourceslice x: spec.devices[1].capacity[memory].value: is required",
        ),
        (
            slice_with({"attributes": {"m": {"int": True}}}),
            "resourceslice x: spec.devices[1].attributes[m].int: "
            "expected a whole number, found a boolean",
        ),
        (
            slice_with({"attributes": {"m": {"ints": [1, "2"]}}}),
            "resourceslice x: spec.devices[1].attributes[m].ints[1]: "
            "expected a whole number, found a string",
        ),
        (
            slice_with("gpu"),
            "resourceslice x: spec.devices[1]: expected an object, found a string",
        ),
        (
            slice_with({"capacity": {"m": {"value": "1", "requestPolicy": {"validRange": {}}}}}),
            "resourceslice x: spec.devices[1].capacity[m].requestPolicy.validRange.min: "
            "is required",
        ),
        (
            {"metadata": {"name": "x"}, "spec": {"devices": {}}},
            "resourceslice x: spec.devices: expected a list, found an object",
        ),
        (
            {"metadata": {"name": "x"}, "spec": []},
            "resourceslice x: spec: expected an object, found a list",
        ),
        ({"spec": {}}, "resourceslice (without a name): metadata.name: is required"),
        ([], "resourceslice: expected an object, found a list"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_path(obj: Any, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_slice(obj)
    assert str(caught.value) == message


def test_a_claim_that_cannot_be_read_is_named_with_its_namespace() -> None:
    requests = [{"name": "r", "exactly": {"deviceClassName": "g", "count": "2"}}]
    with pytest.raises(DecodeError) as caught:
        decode_claim(
            {
                "metadata": {"name": "c", "namespace": "ml"},
                "spec": {"devices": {"requests": requests}},
            }
        )
    error = caught.value
    assert (error.where, error.field, error.detail) == (
        "resourceclaim ml/c",
        "spec.devices.requests[0].exactly.count",
        "expected a whole number, found a string",
    )


def test_a_request_with_both_forms_is_refused() -> None:
    request = {
        "name": "r",
        "exactly": {"deviceClassName": "g"},
        "firstAvailable": [{"name": "s", "deviceClassName": "g"}],
    }
    with pytest.raises(DecodeError, match="`exactly` and `firstAvailable` are both set"):
        decode_claim({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}})
