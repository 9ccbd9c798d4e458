# SPDX-License-Identifier: Apache-2.0
"""What is true of every allocation, whatever the cluster and the claims."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from berth.engine.allocated import AllocatedState
from berth.engine.allocator import allocate, explain_node
from berth.engine.attempt import Attempt, Take
from berth.engine.eligibility import Eligibility
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Allocated, Outcome, Undecided, Unsatisfiable
from berth.engine.plan import NodeFailureError, plan_claims
from berth.engine.search import Answer, Search
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError
from berth.model.claims import ALL
from berth.model.features import Features
from tests.support import builders, oracle, verify
from tests.support.oracle import Instance
from tests.support.strategies import CLASSES, instances

pytestmark = pytest.mark.property

few = settings(max_examples=60, deadline=None)
anything = instances() | instances(supplied=True)


def snapshot_of(instance: Instance) -> Snapshot:
    return Snapshot(
        Inventory.build(instance.slices),
        instance.classes,
        AllocatedState(
            holders=dict.fromkeys(instance.in_use, ("other/claim",)),
            shared=dict.fromkeys(instance.shares, ("other/share",)),
            capacity={device: each for device, each in instance.shares.items() if each},
        ),
    )


def answer(instance: Instance, *, budget: int = 200_000) -> Outcome | str:
    """The outcome, or the reason of the error."""
    try:
        return allocate(snapshot_of(instance), instance.node, instance.claims, budget=budget)
    except InvalidClaimError as error:
        return error.reason


def asks_for_all(instance: Instance) -> bool:
    return any(
        body.allocation_mode == ALL
        for claim in instance.claims
        for request in claim.spec.requests
        for body in request.alternatives
    )


def without_steps(outcome: Outcome | str) -> object:
    return outcome if isinstance(outcome, str) else replace(outcome, steps=0)


SHARED = builders.a_claim(
    builders.a_request("r0", count=2),
    builders.a_request("r1", count=2),
    constraints=[builders.matching("gpu.example.com/numa", "r0")],
)
BACKTRACKING = Instance(
    slices=[
        builders.a_slice([builders.a_device(f"d{n}", attributes={"numa": n % 2}) for n in range(4)])
    ],
    classes=CLASSES,
    in_use=frozenset(),
    node=builders.a_node(),
    claims=[SHARED],
)


@few
@given(anything)
@example(BACKTRACKING)
def test_the_verdict_is_that_of_the_oracle_and_the_result_is_legal(instance: Instance) -> None:
    outcome = answer(instance)
    assume(not isinstance(outcome, str))
    if isinstance(outcome, Allocated):
        assert verify.violations(instance, outcome.results) == []
        assert oracle.is_satisfiable(instance)
    else:
        # Beside a bad pool nobody can say what All means: the node is refused without a search.
        assume(not (isinstance(outcome, Unsatisfiable) and outcome.problems))
        assert isinstance(outcome, Unsatisfiable)
        assert not oracle.is_satisfiable(instance)


@few
@given(anything, st.randoms(use_true_random=False))
def test_the_order_of_the_lister_does_not_matter(instance: Instance, random: st.DataObject) -> None:
    shuffled = list(instance.slices)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis gives a Random

    assert answer(replace(instance, slices=shuffled)) == answer(instance)


@few
@given(anything)
def test_an_unrelated_driver_changes_nothing_for_exact_counts(instance: Instance) -> None:
    assume(not asks_for_all(instance))
    assume(all("any" not in claim.spec.class_names for claim in instance.claims))
    unrelated = [
        builders.a_slice(builders.devices(3), driver="aaa.example.com", pool="p0", all_nodes=True),
        builders.a_slice(builders.devices(3), driver="zzz.example.com", pool="p9", count=2),
    ]
    more = replace(instance, slices=[*unrelated, *instance.slices])

    assert answer(more) == answer(instance)


@few
@given(anything)
def test_a_larger_budget_never_turns_an_answer_around(instance: Instance) -> None:
    decided = answer(instance)
    for budget in (0, 1, 3, 7, 20):
        early = answer(instance, budget=budget)
        if not isinstance(early, Undecided):
            assert early == decided


@few
@given(anything)
def test_nothing_that_was_given_is_changed(instance: Instance) -> None:
    before = repr(instance)
    snapshot = snapshot_of(instance)
    state = repr(snapshot.allocated)
    first = answer(instance)
    try:
        outcome: Outcome | str = allocate(snapshot, instance.node, instance.claims)
        explain_node(snapshot, instance.node, instance.claims)
        again: Outcome | str = allocate(snapshot, instance.node, instance.claims)
    except InvalidClaimError as error:
        outcome = again = error.reason

    # The second call finds verdicts and views that the first has left: the answer is the same.
    assert first == outcome == again
    assert repr(instance) == before
    assert repr(snapshot.allocated) == state


@few
@given(anything)
def test_a_search_that_fails_leaves_the_attempt_as_it_was(instance: Instance) -> None:
    snapshot = snapshot_of(instance)
    view = snapshot.inventory.view(instance.node)
    eligibility = Eligibility(snapshot, view, "c0")
    try:
        plan = plan_claims(snapshot, view, instance.claims, eligibility)
        search = Search(plan, view, eligibility, Features(), budget=100_000)
        before = search.attempt.state()
        found = search.run()
    except (InvalidClaimError, NodeFailureError):
        assume(False)  # noqa: FBT003 - Hypothesis' way to say that the example is of no use
        return
    assume(found is Answer.NONE)

    # A proof may end the search while devices are taken; undoing them is exact as well.
    for claim in reversed(range(len(plan))):
        for body, record in reversed(list(search.attempt.taken[claim])):
            search.attempt.undo_take(body, record)
    assert search.attempt.state() == before


@few
@given(anything, st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=12))
def test_undo_is_the_exact_inverse_of_try(instance: Instance, moves: list[tuple[int, int]]) -> None:
    """Any sequence of tries, sensible or not, is taken back state by state."""
    snapshot = snapshot_of(instance)
    view = snapshot.inventory.view(instance.node)
    try:
        eligibility = Eligibility(snapshot, view, "c0")
        plan = plan_claims(snapshot, view, instance.claims, eligibility)
    except (InvalidClaimError, NodeFailureError):
        assume(False)  # noqa: FBT003 - as above
        return
    planned = [body for claim in plan for request in claim.requests for body in request.bodies]
    devices = view.devices
    assume(devices)
    attempt = Attempt(plan, eligibility, Features())
    history = []
    for which, device in moves:
        body, record = planned[which % len(planned)], devices[device % len(devices)]
        if eligibility.capacity.unsuitable(body.body, record):
            # What it would consume is not defined; the search never gets there.
            continue
        before = attempt.state()
        if attempt.try_take(body, record) is Take.TAKEN:
            assert attempt.state() != before
            history.append((body, record, before))
        else:
            assert attempt.state() == before
            assert attempt.refusal(body, record) is not None
            assert attempt.state() == before
    for body, record, before in reversed(history):
        attempt.undo_take(body, record)
        assert attempt.state() == before


@few
@given(anything)
def test_every_device_that_is_not_eligible_is_explained(instance: Instance) -> None:
    outcome = answer(instance)
    assume(isinstance(outcome, Unsatisfiable) and not outcome.problems)
    explanation = explain_node(snapshot_of(instance), instance.node, instance.claims)
    visible = {d.id for d in oracle.visible_devices(instance.slices, instance.node)}

    for summary in explanation.requests:
        named = [
            each.device
            for each in explanation.rejected
            if (each.claim, each.request) == (summary.claim, summary.request)
        ]
        assert len(named) == len(set(named))
        assert set(named) <= visible
        assert summary.candidates == len(visible)
        assert summary.eligible == summary.candidates - len(named)
    short = [s for s in explanation.requests if s.eligible < s.wanted or not s.wanted]
    assert short or explanation.rejected
