# SPDX-License-Identifier: Apache-2.0
"""Allocation results survive the way to the API and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.codec.results import decode_allocation, encode_allocation
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.results import AllocationResult, ConfigResult, DeviceResult
from berth.model.slices import OpaqueConfig
from berth.model.tolerations import DeviceToleration
from berth.quantity import Quantity, QuantityFormat

FULL = {
    "devices": {
        "results": [
            {
                "request": "main/big",
                "driver": "d",
                "pool": "p",
                "device": "x",
                "adminAccess": True,
                "tolerations": [
                    {
                        "key": "k",
                        "operator": "Equal",
                        "value": "v",
                        "effect": "NoExecute",
                        "tolerationSeconds": 0,
                    }
                ],
                "bindingConditions": ["A"],
                "bindingFailureConditions": ["B"],
                "skipNodeOperations": ["*"],
                "shareID": "s",
                "consumedCapacity": {"memory": "40Gi", "cores": "1500m"},
            },
            {"request": "r", "driver": "d", "pool": "p", "device": "y"},
        ],
        "config": [
            {
                "source": "FromClass",
                "requests": ["main/big"],
                "opaque": {"driver": "d", "parameters": {"b": 1, "a": [None, 2.5]}},
            },
            {"source": "FromClaim", "opaque": {"driver": "d"}},
        ],
    },
    "nodeSelector": {
        "nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]},
            {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
        ]
    },
    "allocationTimestamp": "2026-11-24T17:00:00Z",
}


def test_a_full_result_is_written_as_it_was_read() -> None:
    assert encode_allocation(decode_allocation(FULL)) == FULL


def test_an_empty_result_has_devices_and_nothing_else() -> None:
    assert encode_allocation(AllocationResult()) == {"devices": {}}


@pytest.mark.parametrize("written", [{}, {"adminAccess": False}, {"adminAccess": None}])
def test_admin_access_is_written_only_where_it_is_true(written: dict[str, bool | None]) -> None:
    device = {"request": "r", "driver": "d", "pool": "p", "device": "x"}
    result = decode_allocation({"devices": {"results": [{**device, **written}]}})
    assert result == AllocationResult((DeviceResult("r", "d", "p", "x"),))
    assert encode_allocation(result) == {"devices": {"results": [device]}}


names = st.text("ab-/.1", min_size=1, max_size=6)
lists_of_names = st.lists(names, max_size=3).map(tuple)
quantities = st.builds(Quantity, st.integers(0, 2**90), st.sampled_from(QuantityFormat))
tolerations = st.builds(
    DeviceToleration,
    key=st.just("") | names,
    operator=st.sampled_from(["Exists", "Equal", "Lt"]),
    value=st.just("") | names,
    effect=st.sampled_from(["", "NoSchedule", "NoExecute"]),
    toleration_seconds=st.none() | st.integers(0, 10),
)
devices = st.builds(
    DeviceResult,
    request=names,
    driver=names,
    pool=names,
    device=names,
    admin_access=st.booleans(),
    tolerations=st.lists(tolerations, max_size=2).map(tuple),
    binding_conditions=lists_of_names,
    binding_failure_conditions=lists_of_names,
    share_id=st.none() | names,
    consumed_capacity=st.none() | st.dictionaries(names, quantities, min_size=1, max_size=2),
    skip_node_operations=lists_of_names,
)
opaque = st.builds(
    OpaqueConfig, names, st.none() | st.dictionaries(names, st.integers() | names, max_size=2)
)
config = st.builds(
    ConfigResult, st.sampled_from(["FromClass", "FromClaim"]), lists_of_names, st.none() | opaque
)
requirements = st.lists(
    st.builds(NodeSelectorRequirement, names, st.sampled_from(["In", "Exists"]), lists_of_names),
    max_size=2,
).map(tuple)
terms = st.builds(NodeSelectorTerm, requirements, requirements)
selectors = st.builds(NodeSelector, st.lists(terms, max_size=2).map(tuple))
results = st.builds(
    AllocationResult,
    devices=st.lists(devices, max_size=3).map(tuple),
    config=st.lists(config, max_size=2).map(tuple),
    node_selector=st.none() | selectors,
    timestamp=st.sampled_from(["", "2026-11-24T17:00:00Z"]),
)


@pytest.mark.property
@given(results)
def test_every_result_is_read_back_as_it_was_written(result: AllocationResult) -> None:
    assert decode_allocation(encode_allocation(result)) == result
