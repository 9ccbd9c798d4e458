# SPDX-License-Identifier: Apache-2.0
"""Relations between the devices of one claim: matchAttribute and distinctAttribute.

Decides whether one more device can join those that were chosen. What ``try_`` adds, ``undo_``
takes back exactly. Scope is one claim, never several.

Source: ``resource.k8s.io/v1`` DeviceConstraint; KEP-4381, KEP-5075 (distinctAttribute), KEP-5491
(list values).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from berth.cel.library_semver import parse_semver
from berth.engine.derived import NO_DERIVED, DerivedAttributes
from berth.engine.records import DeviceRecord
from berth.engine.rejections import AttributeMissing, ConstraintRefused
from berth.model.claims import DeviceConstraint
from berth.model.devices import AttributeValue
from berth.model.features import Features


class ValueSet(NamedTuple):
    """The values of an attribute as a constraint sees them: a type, and a set of that type."""

    kind: str
    values: frozenset[Hashable]

    def meet(self, other: ValueSet) -> frozenset[Hashable]:
        """Return the values in common; values of different types are never equal."""
        return self.values & other.values if self.kind == other.kind else frozenset()


def value_set(attribute: AttributeValue, *, lists: bool) -> ValueSet | None:
    """Return the values of an attribute, or ``None`` where a constraint cannot use it.

    With ``lists`` (feature DRAListTypeAttributes) a scalar is a set of one, and versions are
    compared by their text. Without it lists are of no use, and versions are equal whatever their
    build metadata.
    """
    scalars: tuple[tuple[str, Hashable], ...] = (
        ("int", attribute.int_value),
        ("bool", attribute.bool_value),
        ("string", attribute.string_value),
    )
    for kind, value in scalars:
        if value is not None:
            return ValueSet(kind, frozenset((value,)))
    if attribute.version_value is not None:
        version = _version(attribute.version_value, lists=lists)
        return None if version is None else ValueSet("version", frozenset((version,)))
    if not lists:
        return None
    several: tuple[tuple[str, Sequence[Hashable] | None], ...] = (
        ("int", attribute.ints),
        ("bool", attribute.bools),
        ("string", attribute.strings),
        ("version", attribute.versions),
    )
    for kind, values in several:
        if values is not None:
            return ValueSet(kind, frozenset(values))
    return None


def _is_list(attribute: AttributeValue) -> bool:
    values = (attribute.ints, attribute.bools, attribute.strings, attribute.versions)
    return any(each is not None for each in values)


def _version(text: str, *, lists: bool) -> Hashable:
    if lists:
        return text
    try:
        return parse_semver(text).key
    except ValueError:
        return None


UNUSABLE = ValueSet("list", frozenset(("unusable",)))
"""A list while lists are off, as release 1.37 sees it: nothing can stand beside it."""


class Constraint:
    """One constraint of one claim, with the devices that are under it now."""

    __slots__ = (
        "_accepts_unusable",
        "_domain",
        "_identifier",
        "_lists",
        "_members",
        "attribute",
        "is_match",
    )

    def __init__(self, constraint: DeviceConstraint, features: Features) -> None:
        self.is_match = constraint.match_attribute is not None
        name = constraint.match_attribute or constraint.distinct_attribute or ""
        self.attribute = name
        self._domain, _, self._identifier = name.partition("/")
        self._lists = features.list_type_attributes
        self._accepts_unusable = self.is_match and features.as_release_1_37
        # With matchAttribute the set is what all devices up to this one have in common.
        self._members: list[tuple[DeviceRecord, ValueSet, DerivedAttributes]] = []

    @property
    def kind(self) -> str:
        """The API's name of the constraint's type."""
        return "matchAttribute" if self.is_match else "distinctAttribute"

    def _attribute(self, record: DeviceRecord, derived: DerivedAttributes) -> AttributeValue | None:
        if self.attribute in derived:
            return derived.value(self.attribute, record)
        return record.attribute(self._domain, self._identifier)

    def values_of(
        self, record: DeviceRecord, derived: DerivedAttributes = NO_DERIVED
    ) -> ValueSet | None:
        """Return the values that count for this constraint, or ``None`` where there are none.

        Raises:
            InvalidClaimError: If a derived attribute fails.
        """
        attribute = self._attribute(record, derived)
        if attribute is None:
            return None
        values = value_set(attribute, lists=self._lists)
        if values is None and self._accepts_unusable and _is_list(attribute):
            return UNUSABLE
        return values

    def try_add(self, record: DeviceRecord, derived: DerivedAttributes = NO_DERIVED) -> bool:
        """Add the device, and tell whether that was possible; if not, nothing has changed.

        Raises:
            InvalidClaimError: If a derived attribute fails.
        """
        values = self.values_of(record, derived)
        if values is None:
            return False
        if self.is_match:
            if self._members:
                if values is UNUSABLE:
                    return False
                common = self._members[-1][1].meet(values)
                if not common:
                    return False
                values = ValueSet(values.kind, common)
            elif not values.values:
                return False
        elif any(each.meet(values) for _, each, _ in self._members):
            return False
        self._members.append((record, values, derived))
        return True

    def undo_add(self, record: DeviceRecord) -> None:
        """Take back the addition of ``record``, which was the last one."""
        last, _, _ = self._members.pop()
        if last is not record:
            raise AssertionError(f"undo of {record}, but {last} was added last")

    def refusal(
        self, record: DeviceRecord, derived: DerivedAttributes = NO_DERIVED
    ) -> AttributeMissing | ConstraintRefused:
        """Return why ``try_add`` has just refused the device."""
        values = self.values_of(record, derived)
        if values is None or not (self._members or values.values):
            return AttributeMissing(self.kind, self.attribute)
        # With matchAttribute the members were narrowed together: the last one stands for all.
        against, _, their = self._members[-1]
        if not self.is_match:
            against, their = next((o, d) for o, each, d in self._members if each.meet(values))
        return ConstraintRefused(
            self.kind,
            self.attribute,
            str(self._attribute(record, derived)),
            against.id,
            str(self._attribute(against, their)),
        )

    def state(self) -> Hashable:
        """Return all that ``try_add`` and ``undo_add`` change, to compare."""
        return tuple((record.id, values) for record, values, _ in self._members)
