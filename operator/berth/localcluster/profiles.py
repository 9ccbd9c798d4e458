# SPDX-License-Identifier: Apache-2.0
"""Which nodes and devices a simulated cluster has: pure functions that return API objects.

The attributes are those that the example GPU driver publishes. Same input, same objects, names
and uuids.

Source: ``resource.k8s.io/v1`` ResourceSlice, DeviceClass; at most 128 devices per slice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

DEVICES_PER_SLICE = 128
DRIVER = "gpu.example.com"
ZONES = ("zone-a", "zone-b", "zone-c")
MODELS = ("a100", "h100")
_UUIDS = uuid.UUID("6f9c1a52-8d0b-4f5e-9a37-2f1d6c0be7a4")


def node_names(count: int) -> Iterator[str]:
    """Yield ``node-0``, ``node-1`` and so on."""
    return (f"node-{index}" for index in range(count))


def node(name: str, index: int, *, ready: bool) -> dict[str, Any]:
    """Return a Node; ``ready`` for clusters in which nobody else makes it so."""
    amounts = {"cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "1Ti"}
    status: dict[str, Any] = {"capacity": amounts, "allocatable": amounts}
    if ready:
        status["conditions"] = [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Simulated",
                "message": "nobody runs this node",
            }
        ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": ZONES[index % len(ZONES)],
            },
        },
        "spec": {},
        "status": status,
    }


def gpu_slices(node_name: str, index: int, devices: int) -> Iterator[dict[str, Any]]:
    """Yield the ResourceSlices of one node: one pool, split where a slice is full."""
    made = [_gpu(node_name, index, number, devices) for number in range(devices)]
    parts = [
        made[start : start + DEVICES_PER_SLICE] for start in range(0, devices, DEVICES_PER_SLICE)
    ]
    for part, content in enumerate(parts):
        yield {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{node_name}-{DRIVER}-{part}"},
            "spec": {
                "driver": DRIVER,
                "nodeName": node_name,
                "pool": {"name": node_name, "generation": 1, "resourceSliceCount": len(parts)},
                "devices": content,
            },
        }


def gpu_class() -> dict[str, Any]:
    """Return the DeviceClass that selects every simulated GPU."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": DRIVER},
        "spec": {"selectors": [{"cel": {"expression": f"device.driver == '{DRIVER}'"}}]},
    }


def _gpu(node_name: str, index: int, number: int, devices: int) -> dict[str, Any]:
    return {
        "name": f"gpu-{number}",
        "attributes": {
            "model": {"string": MODELS[index % len(MODELS)]},
            "index": {"int": number},
            "uuid": {"string": f"gpu-{uuid.uuid5(_UUIDS, f'{node_name}/{number}')}"},
            "driverVersion": {"version": "570.86.15"},
            "numa": {"int": 0 if number * 2 < devices else 1},
        },
        "capacity": {"memory": {"value": "80Gi"}},
    }


PROFILES: Mapping[
    str,
    tuple[
        Callable[[], dict[str, Any]],
        Callable[[str, int, int], Iterator[dict[str, Any]]],
    ],
] = {"gpu": (gpu_class, gpu_slices)}
"""Name → function of the DeviceClass, function of a node's slices (name, index, devices)."""
