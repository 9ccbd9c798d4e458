# SPDX-License-Identifier: Apache-2.0
"""Which DeviceClass stands for an extended resource, and the claim that is made of a pod."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from berth.codec.pods import decode_pod
from berth.codec.slices import decode_class
from berth.model.claims import DeviceClaim, DeviceRequest, ExactRequest
from berth.model.extended_resources import (
    backed_requests,
    class_of_resource,
    served_by_plugin,
    synthetic_claim,
    without_resources,
)
from berth.model.nodes import Node
from berth.model.pods import ExtendedRequest
from berth.model.slices import DeviceClass

GPU = "example.com/gpu"
IMPLICIT = "deviceclass.resource.kubernetes.io/nic"


def a_class(name: str, created: str, resource: str | None = GPU) -> DeviceClass:
    return DeviceClass(name, extended_resource_name=resource, created=created)


def by_name(*classes: DeviceClass) -> dict[str, DeviceClass]:
    return {each.name: each for each in classes}


POD = decode_pod(
    {
        "metadata": {"namespace": "team", "name": "train", "uid": "u"},
        "spec": {
            "initContainers": [{"resources": {"requests": {IMPLICIT: "1", "cpu": "1"}}}],
            "containers": [
                {"resources": {"requests": {"memory": "1Gi", GPU: "2", "cpu": "1"}}},
                {"resources": {"limits": {GPU: "3", "example.com/none": "0"}}},
                {"resources": {"requests": {"a.kubernetes.io/b": "1", "requests.x/y": "1"}}},
            ],
        },
    }
)


def test_a_pod_keeps_its_extended_requests_with_the_position_among_all_resources() -> None:
    assert POD.extended_requests == (
        ExtendedRequest(0, 1, IMPLICIT, 1),
        ExtendedRequest(1, 1, GPU, 2),
        ExtendedRequest(2, 0, GPU, 3),
    )


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ((), None),
        ((a_class("a", "2026-01-01T00:00:00Z", None),), None),
        ((a_class("a", "2026-01-01T00:00:00Z"), a_class("b", "2026-01-02T00:00:00Z")), "b"),
        ((a_class("b", "2026-01-02T00:00:00Z"), a_class("c", "2026-01-01T00:00:00Z")), "b"),
        ((a_class("b", "2026-01-02T00:00:00Z"), a_class("a", "2026-01-02T00:00:00Z")), "a"),
    ],
    ids=["no class", "no name", "later second", "later first", "same age"],
)
def test_of_classes_with_one_name_the_later_counts_then_the_smaller_name(
    classes: tuple[DeviceClass, ...], expected: str | None
) -> None:
    assert class_of_resource(GPU, by_name(*classes)) == expected


def test_a_class_also_stands_for_the_resource_that_is_named_after_it() -> None:
    classes = by_name(a_class("nic", "", None))

    assert class_of_resource(IMPLICIT, classes) == "nic"
    assert class_of_resource("deviceclass.resource.kubernetes.io/other", classes) is None


def test_the_claim_has_one_request_for_each_container_and_resource() -> None:
    classes = by_name(a_class("gpu", ""), a_class("nic", "", None))

    claim = synthetic_claim(POD, backed_requests(POD, classes))

    assert claim is not None
    assert str(claim.key) == "team/train-extended-resources"
    assert claim.controller_uid == "u"
    assert claim.annotations == {"resource.kubernetes.io/extended-resource-claim": "true"}
    assert claim.spec == DeviceClaim(
        (
            DeviceRequest("container-0-request-1", ExactRequest("nic")),
            DeviceRequest("container-1-request-1", ExactRequest("gpu", count=2)),
            DeviceRequest("container-2-request-0", ExactRequest("gpu", count=3)),
        )
    )
    assert synthetic_claim(POD, ()) is None


def test_a_resource_without_a_class_is_no_part_of_it() -> None:
    backed = backed_requests(POD, by_name(a_class("nic", "", None)))

    assert backed == ((ExtendedRequest(0, 1, IMPLICIT, 1), "nic"),)


def test_a_device_plugin_serves_what_a_node_advertises_more_than_none_of() -> None:
    node = Node("n", allocatable=MappingProxyType({GPU: 1, IMPLICIT: 0}))

    assert served_by_plugin([GPU, IMPLICIT, "example.com/none"], node) == {GPU}


def test_other_resources_are_still_asked_of_the_node() -> None:
    assert without_resources(POD, [GPU, IMPLICIT]).requests == {
        resource: amount
        for resource, amount in POD.requests.items()
        if resource not in {GPU, IMPLICIT}
    }
    assert POD.requests[GPU] == 5


def test_the_age_and_the_resource_of_a_class_are_read() -> None:
    decoded = decode_class(
        {
            "metadata": {"name": "gpu", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"extendedResourceName": GPU},
        }
    )

    assert decoded == a_class("gpu", "2026-01-01T00:00:00Z")
