# SPDX-License-Identifier: Apache-2.0
"""AllocationPolicies: which claims are Berth's to allocate.

Decides whether a label selector matches, and which policy, if any, makes a claim ours. Never
decides which devices a claim gets (``berth.engine``), and never judges whether a policy is written
correctly (``berth.codec.policies``): every value here is usable.

Source: ``berth.dev/v1alpha1`` AllocationPolicy; ``meta/v1`` LabelSelector.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class LabelOperator(StrEnum):
    """How a label requirement compares; spelled as the API spells it."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Placement(StrEnum):
    """Which of the nodes and device sets that fit is taken."""

    FIRST_FIT = "FirstFit"
    PACK = "Pack"
    SPREAD = "Spread"


@dataclass(frozen=True, slots=True)
class LabelRequirement:
    """One requirement on one label.

    ``values`` is not empty for ``In`` and ``NotIn``, and empty for the other operators.
    """

    key: str
    operator: LabelOperator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether ``labels`` meet this requirement; ``NotIn`` holds for an absent label."""
        match self.operator:
            case LabelOperator.IN:
                return self.key in labels and labels[self.key] in self.values
            case LabelOperator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case LabelOperator.EXISTS:
                return self.key in labels
            case LabelOperator.DOES_NOT_EXIST:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Labels and requirements that must all hold; without any it matches everything."""

    match_labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    match_expressions: tuple[LabelRequirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with ``labels`` is selected."""
        return all(
            key in labels and labels[key] == value for key, value in self.match_labels.items()
        ) and all(requirement.matches(labels) for requirement in self.match_expressions)


@dataclass(frozen=True, slots=True)
class AllocationPolicy:
    """Which namespaces, DeviceClasses and drivers Berth allocates.

    ``None`` means that the policy does not restrict: every namespace, every class, every driver.
    The two sets are never empty. All restrictions must hold together.
    """

    name: str
    generation: int = 0
    namespace_selector: LabelSelector | None = None
    device_classes: frozenset[str] | None = None
    drivers: frozenset[str] | None = None
    placement: Placement = Placement.FIRST_FIT

    def selects_namespace(self, labels: Mapping[str, str]) -> bool:
        """Tell whether this policy covers a namespace with ``labels``."""
        return self.namespace_selector is None or self.namespace_selector.matches(labels)

    def selects_class(self, name: str, class_drivers: Collection[str]) -> bool:
        """Tell whether this policy covers the DeviceClass ``name``.

        Args:
            name: The DeviceClass.
            class_drivers: The drivers of all published devices that the class's selectors match.
                Empty while no such device is published: nobody could allocate it, so the class
                is then judged by its name alone.
        """
        if self.device_classes is not None and name not in self.device_classes:
            return False
        return self.drivers is None or self.drivers.issuperset(class_drivers)


def claims_policy(
    policies: Iterable[AllocationPolicy],
    namespace_labels: Mapping[str, str],
    class_names: Collection[str],
    drivers_by_class: Mapping[str, Collection[str]],
) -> AllocationPolicy | None:
    """Return the policy that makes a claim Berth's, or ``None`` where the claim is not ours.

    A claim is ours when a single policy covers its namespace and *every* class that it names. Two
    policies that each cover half of a claim do not add up: the half that one of them leaves out
    was left out on purpose. Where several policies cover the claim, the first by name counts
    (it matters for ``placement``). Without any policy nothing is ours.

    Args:
        policies: The usable policies, in any order.
        namespace_labels: The labels of the claim's namespace.
        class_names: The DeviceClass of every request, and of every alternative of every
            ``firstAvailable`` request. Empty for a claim that asks for nothing.
        drivers_by_class: Class name → drivers of the published devices that the class's selectors
            match. Only read for policies with ``drivers``; a class may be missing while it
            matches no device.
    """
    covering = (
        policy
        for policy in policies
        if policy.selects_namespace(namespace_labels)
        and all(policy.selects_class(name, drivers_by_class.get(name, ())) for name in class_names)
    )
    return min(covering, key=lambda policy: policy.name, default=None)


def needs_class_drivers(policies: Iterable[AllocationPolicy]) -> bool:
    """Tell whether any policy restricts drivers, so that ``drivers_by_class`` must be known."""
    return any(policy.drivers is not None for policy in policies)
