# SPDX-License-Identifier: Apache-2.0
"""What is true of every explanation: its facts suffice, and its hints help."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from berth.engine.allocated import AllocatedState
from berth.engine.allocator import allocate
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Unsatisfiable
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.explain.conflict import Conflict
from berth.explain.full import explain_fully
from berth.explain.reduction import reduced_input
from berth.model.placement import Unplaceable
from berth.model.pods import Pod
from berth.model.usage import NodeState
from tests.support import oracle
from tests.support.apply_hint import applied
from tests.support.explain_vectors import run_explain_cases
from tests.support.oracle import Instance
from tests.support.strategies import instances

pytestmark = pytest.mark.property

VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
POD = Pod(namespace="default", name="pod")
some = settings(max_examples=80, deadline=None)


def snapshot_of(instance: Instance) -> Snapshot:
    return Snapshot(
        Inventory.build(instance.slices),
        instance.classes,
        AllocatedState({device: (f"held/{device.device}",) for device in instance.in_use}),
    )


def explained(instance: Instance, snapshot: Snapshot) -> Conflict | None:
    """Explain the instance if it does not fit."""
    try:
        outcome = allocate(snapshot, instance.node, instance.claims)
    except InvalidClaimError:
        return None
    if not isinstance(outcome, Unsatisfiable):
        return None
    names = (instance.node.name,)
    unplaceable = Unplaceable(no_fit=names, problems=names if outcome.problems else ())
    return explain_fully(snapshot, POD, instance.claims, [NodeState(instance.node)], unplaceable)


@some
@given(instances())
def test_every_hint_makes_the_claims_fit_by_the_word_of_the_oracle(instance: Instance) -> None:
    snapshot = snapshot_of(instance)
    conflict = explained(instance, snapshot)

    for hint in () if conflict is None else conflict.hints:
        claims, changed = applied(hint, instance.claims, snapshot)
        assert oracle.is_satisfiable(
            Instance(
                slices=[record.slice for record in changed.inventory.slices],
                classes=instance.classes,
                in_use=frozenset(changed.allocated.holders),
                node=instance.node,
                claims=claims,
            )
        ), hint


@some
@given(instances())
def test_the_facts_of_an_explanation_suffice_for_it(instance: Instance) -> None:
    snapshot = snapshot_of(instance)
    conflict = explained(instance, snapshot)
    if conflict is None:
        return

    claims, reduced = reduced_input(instance.claims, snapshot, conflict.facts, [instance.node])

    assert claims
    assert isinstance(allocate(reduced, instance.node, claims), Unsatisfiable)


@some
@given(instances())
def test_an_explanation_is_the_same_each_time(instance: Instance) -> None:
    assert explained(instance, snapshot_of(instance)) == explained(instance, snapshot_of(instance))


@pytest.mark.conformance
@pytest.mark.parametrize("file", ["allocator-cases.jsonl", "allocator-random.jsonl"])
def test_recorded_cases_that_do_not_fit_are_explained_sufficiently_and_truly(file: str) -> None:
    report = run_explain_cases(VECTORS / file)

    print(report)  # noqa: T201 - the counts are what whoever runs this wants to see
    assert report.failures == []
    assert report.sufficient == report.total > 0
    assert report.true_hints == report.hints > 0
