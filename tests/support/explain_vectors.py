# SPDX-License-Identifier: Apache-2.0
"""Run recorded cases that do not fit, and check what is said of them.

Sufficiency: the input reduced to the facts of the explanation does not fit either. Truth: with
the change that a hint names, the claims fit. Both are judged by the engine at its full budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from berth.codec.claims import decode_claim
from berth.codec.nodes import decode_node
from berth.engine.allocator import allocate
from berth.engine.outcomes import Allocated, Unsatisfiable
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError, InvalidSelectorError, SelectorRuntimeError
from berth.explain.full import explain_fully
from berth.explain.hints import Hint
from berth.explain.reduction import reduced_input
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState
from tests.support.allocator_vectors import Case, read_cases, snapshot_of
from tests.support.apply_hint import applied

POD = Pod(namespace="default", name="pod")


@dataclass(slots=True)
class Report:
    """What was found in one file; ``with_hint`` counts the cases that have at least one hint."""

    total: int = 0
    sufficient: int = 0
    hints: int = 0
    true_hints: int = 0
    with_hint: int = 0
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        counts = (
            f"{self.sufficient} of {self.total} explanations suffice, "
            f"{self.true_hints} of {self.hints} hints are true, "
            f"{self.with_hint} cases have a hint"
        )
        return "\n".join([counts, *self.failures])


def run_explain_cases(path: Path) -> Report:
    """Explain every case of a file whose recorded outcome is ``nofit``."""
    report = Report()
    for case in read_cases(path):
        if case["outcome"] == "nofit":
            _run(case, report)
    return report


def _run(case: Case, report: Report) -> None:
    snapshot, node = snapshot_of(case), decode_node(case["node"])
    claims = tuple(decode_claim(each) for each in case["claims"])
    report.total += 1
    explained = explain_fully(
        snapshot, POD, claims, [NodeState(node)], Unplaceable(no_fit=(node.name,))
    )
    reduced, cluster = reduced_input(claims, snapshot, explained.facts, [node])
    if explained.facts and _verdict(cluster, node, reduced) is False:
        report.sufficient += 1
    else:
        report.failures.append(f"{case['name']}: {explained.facts} do not suffice")
    report.with_hint += bool(explained.hints)
    for hint in explained.hints:
        report.hints += 1
        if is_true(hint, snapshot, node, claims):
            report.true_hints += 1
        else:
            report.failures.append(f"{case['name']}: {hint} does not help")


def is_true(hint: Hint, snapshot: Snapshot, node: Node, claims: Sequence[ResourceClaim]) -> bool:
    """Tell whether the claims fit with the change that a hint names."""
    changed, cluster = applied(hint, claims, snapshot)
    return bool(changed) and _verdict(cluster, node, changed) is True


def _verdict(snapshot: Snapshot, node: Node, claims: Sequence[ResourceClaim]) -> bool | None:
    try:
        outcome = allocate(snapshot, node, claims)
    except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError):
        return None
    if isinstance(outcome, Allocated):
        return True
    return False if isinstance(outcome, Unsatisfiable) else None
