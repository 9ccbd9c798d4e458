# SPDX-License-Identifier: Apache-2.0
"""Is more given away than is published: of the capacity of shared devices, and of counters?

Decides by adding up exact numbers over all holders, from the slices as they were at that moment.
A device that no slice publishes any more is not judged: it was there when it was given.

Source: KEP-5075 consumable capacity; KEP-4815 partitionable devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from tests.faults.holdings import Device, Holding, results_of

Json = dict[str, Any]
_SUFFIXES = {
    **{f"{letter}i": Fraction(2 ** (10 * power)) for power, letter in enumerate("KMGTPE", 1)},
    **{letter: Fraction(10 ** (3 * power)) for power, letter in enumerate("kMGTPE", 1)},
    **{letter: Fraction(1, 10 ** (3 * power)) for power, letter in enumerate("mun", 1)},
}


def amount(text: str) -> Fraction:
    """Return the number that a quantity stands for."""
    for suffix, factor in _SUFFIXES.items():
        if text.endswith(suffix):
            return Fraction(text.removesuffix(suffix)) * factor
    return Fraction(text)


class Amounts:
    """The slices as they are now, and what they allow."""

    def __init__(self) -> None:
        self._slices: dict[str, Json] = {}

    def put_slice(self, published: Json, *, deleted: bool) -> None:
        if deleted:
            self._slices.pop(published["metadata"]["name"], None)
        else:
            self._slices[published["metadata"]["name"]] = published

    def exceeded(
        self,
        changed: Iterable[Device],
        held: Mapping[Device, tuple[Holding, ...]],
        claims: Mapping[str, Json],
    ) -> list[str]:
        """Return what is over-committed of the devices that changed hands, and of their pools."""
        found = []
        for pool in sorted({(device.driver, device.pool) for device in changed}):
            specs = self._specs(*pool)
            devices = {each["name"]: each for spec in specs for each in spec.get("devices") or ()}
            mine = {device: h for device, h in held.items() if (device.driver, device.pool) == pool}
            for device in mine:
                if device.name in devices:
                    found += _capacity(device, devices[device.name], claims.values())
            found += _counters(specs, [devices[d.name] for d in mine if d.name in devices])
        return found

    def _specs(self, driver: str, pool: str) -> list[Json]:
        specs = [
            each["spec"]
            for each in self._slices.values()
            if each["spec"]["driver"] == driver and each["spec"]["pool"]["name"] == pool
        ]
        newest = max((spec["pool"]["generation"] for spec in specs), default=0)
        return [spec for spec in specs if spec["pool"]["generation"] == newest]


def _capacity(device: Device, published: Json, claims: Iterable[Json]) -> list[str]:
    if not published.get("allowMultipleAllocations"):
        return []
    taken: dict[str, Fraction] = {}
    for claim in claims:
        for result in results_of(claim):
            if (result["driver"], result["pool"], result["device"]) == tuple(device):
                for name, text in (result.get("consumedCapacity") or {}).items():
                    taken[name] = taken.get(name, Fraction(0)) + amount(text)
    capacity = published.get("capacity") or {}
    return [
        f"device {device}: {float(used):g} of {name} is taken of {capacity[name]['value']}"
        for name, used in taken.items()
        if name in capacity and used > amount(capacity[name]["value"])
    ]


def _counters(specs: Iterable[Json], devices: Iterable[Json]) -> list[str]:
    available = {
        (counters["name"], name): amount(counter["value"])
        for spec in specs
        for counters in spec.get("sharedCounters") or ()
        for name, counter in counters["counters"].items()
    }
    taken: dict[tuple[str, str], Fraction] = {}
    for device in devices:
        for consumed in device.get("consumesCounters") or ():
            for name, counter in consumed["counters"].items():
                key = (consumed["counterSet"], name)
                taken[key] = taken.get(key, Fraction(0)) + amount(counter["value"])
    return [
        f"counter {name} of {counters}: {float(used):g} is taken of {float(available[key]):g}"
        for key, used in taken.items()
        for counters, name in [key]
        if key in available and used > available[key]
    ]
