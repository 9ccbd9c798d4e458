# SPDX-License-Identifier: Apache-2.0
"""The generators and the recorded calls reach everything that the engine can say and do."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import Phase, given, settings

from berth.codec.claims import decode_claim
from berth.codec.nodes import decode_node
from berth.engine.allocator import explain_node
from berth.engine.outcomes import Allocated, Unsatisfiable
from berth.engine.rejections import (
    CompatibilityRefused,
    FeatureOff,
    NodeExplanation,
    NodeProblem,
    Rejection,
    SelectorFailed,
)
from berth.errors import BerthError
from tests.property.test_allocation import answer, snapshot_of
from tests.support import allocator_vectors
from tests.support.allocator_vectors import FLAGS, Case, outcome_of, read_cases
from tests.support.oracle import Instance
from tests.support.strategies import instances

pytestmark = pytest.mark.property

GENERATE = (Phase.generate,)
VECTORS = Path(__file__).parents[1] / "conformance" / "vectors"
ONLY_RECORDED = {SelectorFailed, FeatureOff, CompatibilityRefused}
"""What the generators leave out: the oracle knows neither switches, nor groups, nor mistakes."""


def said(explanation: NodeExplanation) -> Iterator[type]:
    for each in explanation.rejected:
        yield type(each.rejection)
    for problem in explanation.problems:
        yield type(problem)


@functools.cache
def reached() -> tuple[Counter[type], Counter[str]]:
    """What 300 instances, always the same, make the engine say and do."""
    rejections: Counter[type] = Counter()
    ways: Counter[str] = Counter()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None, phases=GENERATE)
    @given(instances(supplied=True))
    def look(instance: Instance) -> None:
        outcome = answer(instance)
        if isinstance(outcome, Allocated):
            ways.update(_ways(instance, outcome))
        elif isinstance(outcome, Unsatisfiable):
            explanation = explain_node(snapshot_of(instance), instance.node, instance.claims)
            rejections.update(said(explanation))

    look()
    return rejections, ways


def _ways(instance: Instance, outcome: Allocated) -> Iterator[str]:
    slices = [s for s in instance.slices if s.generation == 2]
    published = {(s.pool_id, d.name): d for s in slices for d in s.devices}
    for device in (device for result in outcome.results for device in result.devices):
        known = published[device.device_id.pool_id, device.device]
        amounts = (device.consumed_capacity or {}).values()
        facts = {
            "admin access": device.admin_access,
            "a prioritized list": "/" in device.request,
            "a toleration that is needed": bool(known.taints),
            "a partition": bool(known.consumes_counters),
            "a share": device.share_id is not None,
            "a share of a partition": bool(known.consumes_counters and device.share_id),
            "consumed capacity": bool(amounts),
            "a device with shares out": device.device_id in instance.shares,
            "a fraction": any(not amount.is_integer() for amount in amounts),
        }
        yield from (name for name, is_so in facts.items() if is_so)


WAYS = (
    "admin access",
    "a prioritized list",
    "a toleration that is needed",
    "a partition",
    "a share",
    "a share of a partition",
    "consumed capacity",
    "a device with shares out",
    "a fraction",
)


@pytest.mark.timeout(180)
def test_generated_instances_reach_every_rejection_that_the_oracle_knows() -> None:
    rejections, _ = reached()

    assert {*get_args(Rejection), *get_args(NodeProblem)} - ONLY_RECORDED - set(rejections) == set()


@pytest.mark.timeout(180)
def test_generated_instances_reach_every_way_to_take_a_device() -> None:
    _, ways = reached()

    assert [way for way in WAYS if not ways[way]] == []


def test_recorded_calls_reach_the_rejections_that_are_not_generated() -> None:
    seen: set[type] = set()
    for case in read_cases(VECTORS / "allocator-cases.jsonl"):
        seen.update(_said_of(case))
    for case in read_cases(VECTORS / "allocator-random.jsonl"):
        seen.update(_said_of(case))

    assert {*get_args(Rejection), *get_args(NodeProblem)} - seen == set()


def _said_of(case: Case) -> set[type]:
    claims = [decode_claim(each) for each in case["claims"]]
    try:
        explanation = explain_node(
            allocator_vectors.snapshot_of(case), decode_node(case["node"]), claims
        )
    except BerthError:
        return set()
    return set(said(explanation))


@pytest.mark.parametrize("flag", FLAGS)
def test_every_feature_changes_the_answer_of_a_recorded_call(flag: str) -> None:
    for case in read_cases(VECTORS / "allocator-cases.jsonl"):
        on = {**case, "features": {**case["features"], flag: True}}
        off = {**case, "features": {**case["features"], flag: False}}
        if outcome_of(on) != outcome_of(off):
            return
    pytest.fail(f"no recorded call depends on {flag}")
