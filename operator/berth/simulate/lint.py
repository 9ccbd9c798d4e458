# SPDX-License-Identifier: Apache-2.0
"""What the selectors of classes, claims and templates do on the published devices.

Decides which selectors there are, on which devices each is asked, and what about its answers is
worth a word: it does not compile, costs too much, fails, matches nothing, or has a part that never
changes the answer here. Never allocates.

Source: ``resource.k8s.io/v1`` DeviceClass, ResourceClaim, ResourceClaimTemplate; the limit of
cost is ``CELSelectorExpressionMaxCost``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from berth.cel import Selector, compile_selector
from berth.cel.cost_units import LIMIT
from berth.cel.syntax import Call, Logic, Node
from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord
from berth.errors import CelRuntimeError, InvalidSelectorError
from berth.model.claims import DeviceClaim
from berth.model.slices import Selector as ModelSelector
from berth.state.cluster import Cluster

VERSION = "berth.dev/lint/v1"


class Level(StrEnum):
    """How bad a finding is; an error makes the exit code 1."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one selector; ``span`` is its part in characters, ``None`` for the whole.

    ``code`` is one of ``DoesNotCompile``, ``TooCostly``, ``FailsOnDevices``, ``MatchesNothing``,
    ``AlwaysTrue``, ``AlwaysFalse``.
    """

    level: Level
    code: str
    detail: str
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """One selector with its findings.

    ``where`` names object, request and index. ``asked`` is on how many devices it was evaluated:
    all published ones for a class, those of the class for a request. ``cost`` is the estimate of
    the worst case, ``None`` where there is none.
    """

    where: str
    expression: str
    asked: int = 0
    matches: int = 0
    errors: int = 0
    cost: int | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Tell whether one of the findings is an error."""
        return any(each.level is Level.ERROR for each in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Return this as plain JSON; no field is ever left out."""
        return {
            "where": self.where,
            "expression": self.expression,
            "devices": self.asked,
            "matches": self.matches,
            "errors": self.errors,
            "maxCost": self.cost,
            "findings": [
                {
                    "level": each.level.value,
                    "code": each.code,
                    "detail": each.detail,
                    "span": None if each.span is None else list(each.span),
                }
                for each in self.findings
            ],
        }


def lint(cluster: Cluster) -> tuple[Checked, ...]:
    """Return every selector of the cluster's classes, claims and templates, in order of names."""
    inventory = cluster.snapshot().inventory
    found: list[Checked] = []
    of_class: dict[str, tuple[DeviceRecord, ...]] = {}
    for name in sorted(cluster.classes):
        devices: tuple[DeviceRecord, ...] = inventory.devices
        where = f"deviceclass {name}"
        found += _checked(inventory, where, cluster.classes[name].selectors, devices)
        of_class[name] = _matching(inventory, cluster.classes[name].selectors, devices)
    specs = [(f"claim {key}", cluster.claims[key].spec) for key in sorted(cluster.claims)]
    specs += [
        (f"template {key[0]}/{key[1]}", cluster.templates[key].spec)
        for key in sorted(cluster.templates)
    ]
    for where, spec in specs:
        found += _of_spec(inventory, where, spec, of_class)
    return tuple(found)


def _of_spec(
    inventory: Inventory,
    where: str,
    spec: DeviceClaim,
    of_class: dict[str, tuple[DeviceRecord, ...]],
) -> Iterator[Checked]:
    for request in spec.requests:
        for body in request.alternatives:
            name = f"{request.name}/{body.name}" if request.first_available else request.name
            yield from _checked(
                inventory,
                f"{where}, request {name}",
                body.selectors,
                of_class.get(body.device_class_name, ()),
            )


def _matching(
    inventory: Inventory, selectors: Sequence[ModelSelector], devices: Sequence[DeviceRecord]
) -> tuple[DeviceRecord, ...]:
    tables = [inventory.verdicts(each.cel) for each in selectors if each.cel is not None]
    return tuple(
        record for record in devices if all(table.verdict(record) is True for table in tables)
    )


def _checked(
    inventory: Inventory,
    where: str,
    selectors: Sequence[ModelSelector],
    devices: Sequence[DeviceRecord],
) -> Iterator[Checked]:
    """Yield the selectors of one list; each is asked where those before it are true."""
    for index, selector in enumerate(selectors):
        if selector.cel is None:
            continue
        yield _one(inventory, f"{where}, selector #{index}", selector.cel, devices)
        devices = _matching(inventory, (selector,), devices)


def _one(
    inventory: Inventory, where: str, expression: str, devices: Sequence[DeviceRecord]
) -> Checked:
    try:
        compiled = compile_selector(expression)
    except InvalidSelectorError as error:
        finding = Finding(Level.ERROR, "DoesNotCompile", error.detail, error.span)
        return Checked(where, expression, findings=(finding,))
    verdicts = [(record, inventory.verdicts(expression).verdict(record)) for record in devices]
    failures = [(record, each) for record, each in verdicts if isinstance(each, CelRuntimeError)]
    matches = sum(each is True for _, each in verdicts)
    cost = compiled.max_cost
    findings: list[Finding] = []
    if cost > LIMIT:
        findings.append(Finding(Level.ERROR, "TooCostly", f"may cost {cost}, the limit is {LIMIT}"))
    if failures:
        record, failure = failures[0]
        others = f" and {len(failures) - 1} others" if len(failures) > 1 else ""
        findings.append(
            Finding(
                Level.ERROR,
                "FailsOnDevices",
                f"fails on device {record.id}{others}: {failure.detail}",
                failure.span,
            )
        )
    elif devices and not matches:
        findings.append(
            Finding(Level.WARNING, "MatchesNothing", f"matches none of {len(devices)} devices")
        )
    findings += _dead_parts(inventory, compiled, devices)
    return Checked(where, expression, len(devices), matches, len(failures), cost, tuple(findings))


def _dead_parts(
    inventory: Inventory, compiled: Selector, devices: Sequence[DeviceRecord]
) -> Iterator[Finding]:
    """Yield the operands of ``&&``, ``||`` and ``!`` that have the same value on every device."""
    if not devices or not isinstance(compiled.checked.root, Logic):
        return
    for node in _operands(compiled.checked.root):
        start, end = node.span
        text = compiled.expression[start:end]
        try:
            compile_selector(text)
        except InvalidSelectorError:
            # Not an expression of its own, or not a bool by its type.
            continue
        table = inventory.verdicts(text)
        values = {_value(table.verdict(record)) for record in devices}
        if values in ({True}, {False}):
            said = "true" if True in values else "false"
            yield Finding(
                Level.INFO,
                f"Always{said.capitalize()}",
                f"is {said} on all of {len(devices)} devices",
                node.span,
            )


def _value(verdict: object) -> bool | None:
    return verdict if isinstance(verdict, bool) else None


def _operands(node: Node) -> Iterator[Node]:
    if isinstance(node, Logic):
        for term in node.terms:
            yield from _operands(term)
    elif isinstance(node, Call) and node.function == "!_" and isinstance(node.args[0], Logic):
        yield from _operands(node.args[0])
    else:
        yield node
