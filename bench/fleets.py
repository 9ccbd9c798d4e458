# SPDX-License-Identifier: Apache-2.0
"""Clusters to ask, as API JSON: what they publish and what of it is in use.

Decides what a fleet looks like. Both sides of a comparison read this JSON and nothing else.

Source: ``resource.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

DRIVER = "gpu.example.com"
CLASS = "gpu"
PER_NODE = 8
WHOLE = "80Gi"

Json = dict[str, Any]
Taken = Callable[[int, int], str | None]
"""Of the number of a node, and of a device there: nothing, or how much of it is in use."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices on ``nodes`` nodes; ``held`` are the claims that hold some of them."""

    name: str
    nodes: tuple[str, ...]
    slices: tuple[Json, ...]
    held: tuple[Json, ...] = ()
    classes: tuple[Json, ...] = field(default_factory=lambda: (device_class(),))

    def as_json(self) -> Json:
        """Return the fleet as the Go program reads it."""
        return {
            "classes": list(self.classes),
            "slices": list(self.slices),
            "held": list(self.held),
            "nodes": list(self.nodes),
        }


def device_class() -> Json:
    """Return the class of all devices of the driver."""
    return {
        "metadata": {"name": CLASS},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]},
    }


def node_name(number: int) -> str:
    """Return a name; names and numbers have the same order."""
    return f"node-{number:05}"


# --- what is published


def _attributes(node: int, device: int) -> Json:
    return {
        "model": {"string": "a100" if node % 2 else "h100"},
        "numa": {"int": device * 2 // PER_NODE},
        "driverVersion": {"version": "1.2.3"},
        "uuid": {"string": f"gpu-{node:05}-{device}"},
    }


def gpus(nodes: int) -> Fleet:
    """Return nodes with eight whole devices, four on each NUMA node, two models in turn."""
    return _fleet(
        "gpus",
        nodes,
        lambda node: [
            {
                "name": f"gpu-{number}",
                "attributes": _attributes(node, number),
                "capacity": {"memory": {"value": WHOLE}},
            }
            for number in range(PER_NODE)
        ],
    )


def shareable(nodes: int) -> Fleet:
    """Return nodes with eight devices of which shares are given, in steps of 5 Gi."""
    policy = {"default": "10Gi", "validRange": {"min": "5Gi", "max": WHOLE, "step": "5Gi"}}
    return _fleet(
        "shareable",
        nodes,
        lambda node: [
            {
                "name": f"gpu-{number}",
                "attributes": _attributes(node, number),
                "allowMultipleAllocations": True,
                "capacity": {"memory": {"value": WHOLE, "requestPolicy": policy}},
            }
            for number in range(PER_NODE)
        ],
    )


def partitions(nodes: int) -> Fleet:
    """Return nodes with two devices, each a whole, two halves or a quarter, by counters."""
    sizes = (("whole", "80Gi"), ("half-0", "40Gi"), ("half-1", "40Gi"), ("quarter", "20Gi"))

    def devices(node: int) -> list[Json]:
        return [
            {
                "name": f"gpu-{gpu}-{name}",
                "attributes": {
                    **_attributes(node, gpu * 4),
                    "profile": {"string": name.split("-", maxsplit=1)[0]},
                },
                "consumesCounters": [
                    {"counterSet": f"gpu-{gpu}", "counters": {"memory": {"value": size}}}
                ],
            }
            for gpu in range(2)
            for name, size in sizes
        ]

    counters = [
        {"name": f"gpu-{gpu}", "counters": {"memory": {"value": WHOLE}}} for gpu in range(2)
    ]
    return _fleet("partitions", nodes, devices, counters)


def _fleet(
    name: str,
    nodes: int,
    devices: Callable[[int], list[Json]],
    counters: list[Json] | None = None,
) -> Fleet:
    slices = []
    for number in range(nodes):
        node = node_name(number)
        spec = {
            "driver": DRIVER,
            "nodeName": node,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 2 if counters else 1},
        }
        if counters:
            slices.append(slice_of(f"counters-{node}", {**spec, "sharedCounters": counters}))
        slices.append(slice_of(f"devices-{node}", {**spec, "devices": devices(number)}))
    slices.sort(key=lambda each: each["metadata"]["name"])
    return Fleet(name, tuple(map(node_name, range(nodes))), tuple(slices))


def slice_of(name: str, spec: Json) -> Json:
    """Return a ResourceSlice."""
    return {"metadata": {"name": name, "uid": name}, "spec": spec}


# --- what is in use


def hold(fleet: Fleet, taken: Taken) -> Fleet:
    """Return the fleet with claims that hold devices: one claim for each."""
    held = list(_held(fleet, taken))
    return Fleet(fleet.name, fleet.nodes, fleet.slices, tuple(held), fleet.classes)


def _held(fleet: Fleet, taken: Taken) -> Iterable[Json]:
    published = (each for each in fleet.slices if each["spec"].get("devices"))
    for node, each in enumerate(published):
        for number, device in enumerate(each["spec"]["devices"]):
            amount = taken(node, number)
            if amount is not None:
                yield held_claim(f"held-{node:05}-{number}", node_name(node), device, amount)


def held_claim(name: str, pool: str, device: Mapping[str, Any], amount: str) -> Json:
    """Return a claim that holds ``device``; of one that is shared, ``amount``."""
    result: Json = {"request": "r", "driver": DRIVER, "pool": pool, "device": device["name"]}
    if device.get("allowMultipleAllocations"):
        result |= {"shareID": name, "consumedCapacity": {"memory": amount}}
    return {
        "metadata": {"name": name, "namespace": "held", "uid": name, "resourceVersion": "1"},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": CLASS}}]}},
        "status": {"allocation": {"devices": {"results": [result]}}},
    }
