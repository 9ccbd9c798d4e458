# SPDX-License-Identifier: Apache-2.0
"""What devices take of their node's own resources, as a slice publishes it."""

from __future__ import annotations

from typing import Any

import pytest

from berth.codec.slices import decode_slice
from berth.errors import DecodeError
from berth.model.devices import (
    NodeAllocatableMapping,
    NodeAllocatableOverhead,
    NodeAllocatableResource,
)
from berth.quantity import Quantity


def slice_with(resources: object) -> dict[str, Any]:
    device = {"name": "d", "nodeAllocatableResources": resources}
    return {"metadata": {"name": "s"}, "spec": {"devices": [device]}}


def test_mapping_and_overhead_are_read_by_resource() -> None:
    decoded = decode_slice(
        slice_with(
            {
                "cpu": {"mapping": {"capacityKey": "cores", "capacityMultiplier": "2"}},
                "hugepages-2Mi": {"mapping": {"deviceMultiplier": "4Mi"}},
                "memory": {"overhead": {"perPod": "1Gi", "perContainer": "256Mi"}},
            }
        )
    )

    assert decoded.devices[0].node_allocatable == {
        "cpu": NodeAllocatableResource(NodeAllocatableMapping("cores", Quantity.parse("2"))),
        "hugepages-2Mi": NodeAllocatableResource(
            NodeAllocatableMapping(device_multiplier=Quantity.parse("4Mi"))
        ),
        "memory": NodeAllocatableResource(
            overhead=NodeAllocatableOverhead(Quantity.parse("1Gi"), Quantity.parse("256Mi"))
        ),
    }


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ([], "nodeAllocatableResources: expected an object, found a list"),
        ({"cpu": 1}, "nodeAllocatableResources[cpu]: expected an object, found a number"),
        (
            {"cpu": {"mapping": {"deviceMultiplier": True}}},
            "nodeAllocatableResources[cpu].mapping.deviceMultiplier: "
            "expected a quantity, found a boolean",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_path(resources: object, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_slice(slice_with(resources))

    assert str(caught.value) == f"resourceslice s: spec.devices[0].{message}"
