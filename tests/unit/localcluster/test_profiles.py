# SPDX-License-Identifier: Apache-2.0
"""The nodes and devices of a simulated cluster."""

from __future__ import annotations

from berth.localcluster.profiles import gpu_class, gpu_slices, node, node_names


def test_a_device_has_the_attributes_of_the_example_driver() -> None:
    (made,) = gpu_slices("node-1", 1, 2)
    assert made["spec"]["pool"] == {"name": "node-1", "generation": 1, "resourceSliceCount": 1}
    assert (made["spec"]["driver"], made["spec"]["nodeName"]) == ("gpu.example.com", "node-1")
    assert made["spec"]["devices"][1] == {
        "name": "gpu-1",
        "attributes": {
            "model": {"string": "h100"},
            "index": {"int": 1},
            "uuid": {"string": made["spec"]["devices"][1]["attributes"]["uuid"]["string"]},
            "driverVersion": {"version": "570.86.15"},
            "numa": {"int": 1},
        },
        "capacity": {"memory": {"value": "80Gi"}},
    }


def test_uuids_are_the_same_every_time_and_different_for_every_device() -> None:
    def uuids() -> list[str]:
        return [
            device["attributes"]["uuid"]["string"]
            for index, name in enumerate(node_names(3))
            for each in gpu_slices(name, index, 8)
            for device in each["spec"]["devices"]
        ]

    assert uuids() == uuids()
    assert len(set(uuids())) == 24


def test_a_pool_is_split_where_a_slice_is_full() -> None:
    parts = list(gpu_slices("node-0", 0, 300))
    assert [len(each["spec"]["devices"]) for each in parts] == [128, 128, 44]
    assert {each["spec"]["pool"]["resourceSliceCount"] for each in parts} == {3}
    assert len({each["metadata"]["name"] for each in parts}) == 3
    names = [device["name"] for each in parts for device in each["spec"]["devices"]]
    assert names == [f"gpu-{number}" for number in range(300)]


def test_a_node_without_devices_publishes_no_slice() -> None:
    assert list(gpu_slices("node-0", 0, 0)) == []


def test_a_node_is_made_ready_only_where_nobody_else_does_it() -> None:
    assert "conditions" not in node("node-4", 4, ready=False)["status"]
    made = node("node-4", 4, ready=True)
    assert [(each["type"], each["status"]) for each in made["status"]["conditions"]] == [
        ("Ready", "True")
    ]
    assert made["metadata"]["labels"] == {
        "kubernetes.io/hostname": "node-4",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": "zone-b",
    }


def test_the_class_selects_the_simulated_driver() -> None:
    assert gpu_class()["spec"]["selectors"] == [
        {"cel": {"expression": "device.driver == 'gpu.example.com'"}}
    ]
