# SPDX-License-Identifier: Apache-2.0
"""Nodes, and the node selectors that slices, claims and pods carry.

Decides whether a node selector matches a node, as ``k8s.io/component-helpers`` nodeaffinity does.
Never decides where a pod goes (``berth.placement``).

Source: core/v1 Node, NodeSelector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = 2**63
LABEL_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})
FIELD_OPERATORS = frozenset({"In", "NotIn"})


@dataclass(frozen=True, slots=True)
class NodeSelectorRequirement:
    """One requirement: ``key operator values``; ``operator`` spelled as the API spells it."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSelectorTerm:
    """Requirements that must all hold; a term without any matches no node."""

    match_expressions: tuple[NodeSelectorRequirement, ...] = ()
    match_fields: tuple[NodeSelectorRequirement, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeSelector:
    """Terms of which one must match."""

    terms: tuple[NodeSelectorTerm, ...]

    def mistake(self) -> str | None:
        """Return what makes this selector unusable, or ``None`` where it can be evaluated."""
        for term in self.terms:
            for requirement in term.match_expressions:
                mistake = _label_mistake(requirement)
                if mistake is not None:
                    return mistake
            for requirement in term.match_fields:
                if requirement.operator not in FIELD_OPERATORS:
                    return f"`{requirement.operator}` is not a valid operator of matchFields"
                if len(requirement.values) != 1:
                    return f"matchFields `{requirement.key}` needs exactly one value"
        return None

    def matches(self, node: Node) -> bool:
        """Tell whether one term matches ``node``; call it on selectors without a mistake only."""
        return any(_term_matches(term, node) for term in self.terms)


@dataclass(frozen=True, slots=True)
class NodeTaint:
    """A taint of a node; ``effect`` spelled as the API spells it."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """What allocation and placement read of a node.

    ``allocatable`` maps resource name to whole units (``cpu`` in milli-units, like every request
    that is compared with it: see ``berth.model.pods``). ``declared_features`` are
    ``status.declaredFeatures``.
    """

    name: str
    uid: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    taints: tuple[NodeTaint, ...] = ()
    unschedulable: bool = False
    ready: bool = True
    allocatable: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    declared_features: frozenset[str] = frozenset()


def label_requirement_matches(
    requirement: NodeSelectorRequirement, labels: Mapping[str, str]
) -> bool:
    """Tell whether one label requirement holds; ``Gt`` and ``Lt`` compare whole numbers."""
    present, actual = requirement.key in labels, labels.get(requirement.key, "")
    match requirement.operator:
        case "In":
            return present and actual in requirement.values
        case "NotIn":
            return not present or actual not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present
        case "Gt" | "Lt":
            if not present or _INTEGER.fullmatch(actual) is None:
                return False
            have, want = int(actual), int(requirement.values[0])
            return have > want if requirement.operator == "Gt" else have < want
    raise AssertionError(f"unchecked node selector operator {requirement.operator!r}")


def _term_matches(term: NodeSelectorTerm, node: Node) -> bool:
    if not term.match_expressions and not term.match_fields:
        return False
    for requirement in term.match_fields:
        # The only field that the API defines; another name matches nothing.
        actual = node.name if requirement.key == "metadata.name" else ""
        if (actual in requirement.values) != (requirement.operator == "In"):
            return False
    return all(label_requirement_matches(r, node.labels) for r in term.match_expressions)


def _label_mistake(requirement: NodeSelectorRequirement) -> str | None:
    operator, values = requirement.operator, requirement.values
    if operator not in LABEL_OPERATORS:
        return f"`{operator}` is not a valid label selector operator"
    if operator in {"In", "NotIn"} and not values:
        return f"`{requirement.key}`: `{operator}` needs at least one value"
    if operator in {"Exists", "DoesNotExist"} and values:
        return f"`{requirement.key}`: `{operator}` takes no values"
    if operator in {"Gt", "Lt"} and not (
        len(values) == 1
        and _INTEGER.fullmatch(values[0]) is not None
        and -_INT64 <= int(values[0]) < _INT64
    ):
        return f"`{requirement.key}`: `{operator}` needs exactly one whole number"
    return None
