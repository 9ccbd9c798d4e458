# SPDX-License-Identifier: Apache-2.0
"""Attributes that a request derives from a device by an expression, for its constraints.

Decides which attribute value an expression gives on a device, found when a constraint first asks.
Derived attributes hide published ones of the same name; selectors never see them.

Source: KEP-6080; ``resource.k8s.io/v1`` ExactDeviceRequest.derivedAttributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from berth.cel import CelRuntimeError, Program, compile_program
from berth.cel.library_semver import Semver
from berth.engine.records import DeviceRecord
from berth.errors import InvalidClaimError, InvalidSelectorError
from berth.model.devices import AttributeValue

NOTHING = AttributeValue()
"""A value that no constraint can use."""


class DerivedAttributeTable:
    """What one expression gives on devices, each evaluated once."""

    __slots__ = ("_by_record", "_compiled", "expression")

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._by_record: dict[DeviceRecord, AttributeValue | str] = {}
        self._compiled: Program | InvalidSelectorError
        try:
            self._compiled = compile_program(expression)
        except InvalidSelectorError as error:
            self._compiled = error

    def value(self, record: DeviceRecord) -> AttributeValue | str:
        """Return the attribute's value on the device, or what is wrong."""
        if isinstance(self._compiled, InvalidSelectorError):
            return str(self._compiled)
        known = self._by_record.get(record)
        if known is None:
            try:
                known = _attribute(self._compiled.evaluate(record.cel))
            except (CelRuntimeError, TypeError) as error:
                known = f"CEL failed: {error}"
            self._by_record[record] = known
        return known


def _attribute(value: object) -> AttributeValue:
    """Return a value of CEL as an attribute.

    Raises:
        TypeError: If an attribute cannot hold it.
    """
    match value:
        case bool():
            return AttributeValue(bool_value=value)
        case int() if type(value) is int:
            return AttributeValue(int_value=value)
        case str():
            return AttributeValue(string_value=value)
        case Semver():
            return AttributeValue(version_value=_text(value))
        case tuple():
            return _list_attribute([_attribute(each) for each in value])
    raise TypeError(
        "the result of the expression must be a bool, an int, a string, a version or a list of one "
        "of these"
    )


def _list_attribute(items: Sequence[AttributeValue]) -> AttributeValue:
    if not items:
        return NOTHING
    ints = tuple(each.int_value for each in items if each.int_value is not None)
    bools = tuple(each.bool_value for each in items if each.bool_value is not None)
    strings = tuple(each.string_value for each in items if each.string_value is not None)
    versions = tuple(each.version_value for each in items if each.version_value is not None)
    size = len(items)
    if len(ints) == size:
        return AttributeValue(ints=ints)
    if len(bools) == size:
        return AttributeValue(bools=bools)
    if len(strings) == size:
        return AttributeValue(strings=strings)
    if len(versions) == size:
        return AttributeValue(versions=versions)
    raise TypeError("the result of the expression is a list of different types")


def _text(version: Semver) -> str:
    """Return the canonical text of a version; what its build was plays no part."""
    *_, prerelease = version.key
    parts = [str(number) if name == "" else name for _, number, name in prerelease]
    core = f"{version.major}.{version.minor}.{version.patch}"
    return f"{core}-{'.'.join(parts)}" if parts else core


class DerivedAttributes:
    """The derived attributes of one request, by the name that a constraint uses."""

    __slots__ = ("_claim", "_request", "_tables")

    def __init__(
        self, tables: Mapping[str, DerivedAttributeTable], *, claim: str, request: str
    ) -> None:
        self._tables = tables
        self._claim = claim
        self._request = request

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def value(self, name: str, record: DeviceRecord) -> AttributeValue:
        """Return the value on the device.

        Raises:
            InvalidClaimError: If the expression does not compile, or fails on the device.
        """
        value = self._tables[name].value(record)
        if isinstance(value, AttributeValue):
            return value
        raise InvalidClaimError(
            self._claim,
            self._request,
            f"derived attribute `{name}` on device {record.id}: {value}",
            reason="DerivedAttributeFailed",
        )


NO_DERIVED = DerivedAttributes(MappingProxyType({}), claim="", request="")
