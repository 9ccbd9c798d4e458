# SPDX-License-Identifier: Apache-2.0
"""The ``device`` variable: one published device as values of CEL.

Source: ResourceSlice ``spec.devices[]``; ``k8s.io/dynamic-resource-allocation/cel`` (which domain
a bare name is filed under, and that a value that cannot be converted fails every evaluation).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from berth.cel.library_semver import parse_semver
from berth.cel.quantities import CelQuantity, from_published
from berth.cel.values import DomainMap
from berth.model.devices import AttributeValue
from berth.quantity import Quantity


@dataclass(frozen=True, slots=True, eq=False)
class CelDevice:
    """One device, ready for evaluation; built once, not to be changed.

    ``problem`` tells why no expression can be evaluated on the device, or is empty.
    """

    driver: str
    attributes: DomainMap
    capacity: DomainMap
    allow_multiple: bool
    problem: str
    fields: dict[str, Any]
    """All of ``device`` as a map, for an expression that uses it as a whole."""

    @classmethod
    def build(
        cls,
        driver: str,
        attributes: Mapping[str, AttributeValue],
        capacity: Mapping[str, Quantity],
        allow_multiple_allocations: bool,  # noqa: FBT001 - the field of the API
    ) -> CelDevice:
        """Convert a device as published.

        Args:
            driver: The driver of the slice; bare names are filed under it.
            attributes: By ``id`` or ``domain/id``; the qualified one wins if both name the same.
            capacity: By ``id`` or ``domain/id``, in the same way.
            allow_multiple_allocations: The flag of the device, false where it is not set.
        """
        problems: list[str] = []
        values: dict[str, Any] = {}
        for name, attribute in attributes.items():
            try:
                values[name] = attribute_value(attribute)
            except ValueError as error:
                problems.append(f"attribute `{name}`: {error}")
        by_domain = _by_domain(driver, values)
        amounts: dict[str, CelQuantity] = {
            name: from_published(amount) for name, amount in capacity.items()
        }
        capacities = _by_domain(driver, amounts)
        return cls(
            driver,
            by_domain,
            capacities,
            allow_multiple_allocations,
            "; ".join(problems),
            {
                "driver": driver,
                "attributes": by_domain,
                "capacity": capacities,
                "allowMultipleAllocations": allow_multiple_allocations,
            },
        )


def attribute_value(attribute: AttributeValue) -> Any:
    """Return a published attribute as a value of CEL.

    Raises:
        ValueError: If the attribute has no value, or a version that is none.
    """
    for value in (attribute.int_value, attribute.bool_value, attribute.string_value):
        if value is not None:
            return value
    if attribute.version_value is not None:
        return parse_semver(attribute.version_value)
    for values in (attribute.ints, attribute.bools, attribute.strings):
        if values is not None:
            return tuple(values)
    if attribute.versions is not None:
        return tuple(parse_semver(version) for version in attribute.versions)
    raise ValueError("the attribute has no value")


def _by_domain(driver: str, values: Mapping[str, Any]) -> DomainMap:
    result = DomainMap()
    for name, value in values.items():
        domain, slash, identifier = name.partition("/")
        if slash:
            result.setdefault(domain, {})[identifier] = value
    for name, value in values.items():
        if "/" not in name:
            result.setdefault(driver, {}).setdefault(name, value)
    return result
