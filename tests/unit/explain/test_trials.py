# SPDX-License-Identifier: Apache-2.0
"""Changed inputs are judged within bounds, and beyond them nothing is claimed."""

from __future__ import annotations

from berth.engine.outcomes import Allocated, Unsatisfiable
from berth.explain.trials import Trials
from berth.model.claims import ResourceClaim
from tests.support.allocations import a_snapshot, attempt
from tests.support.builders import a_claim, a_node, a_request, a_slice, devices

FITS = [a_claim(a_request(count=2))]
TOO_MANY = [a_claim(a_request(count=3))]
WRONG = [a_claim(a_request("gpu", "devise.driver"))]
SNAPSHOT = a_snapshot(a_slice(devices(2)))


def steps(claims: list[ResourceClaim]) -> int:
    outcome = attempt(SNAPSHOT, *claims)
    assert isinstance(outcome, Allocated | Unsatisfiable)
    return outcome.steps


def test_each_answer_is_that_of_the_engine() -> None:
    trials = Trials([a_node()])

    assert trials(FITS, SNAPSHOT) is True
    assert trials(TOO_MANY, SNAPSHOT) is False
    assert trials(WRONG, SNAPSHOT) is None
    assert not trials.is_over


def test_after_the_last_trial_nothing_is_known() -> None:
    trials = Trials([a_node()], max_trials=2)

    assert trials(FITS, SNAPSHOT) is True
    assert not trials.is_over
    assert trials(FITS, SNAPSHOT) is True
    assert trials.is_over
    assert trials(FITS, SNAPSHOT) is None


def test_a_judge_of_one_node_draws_on_the_same_trials() -> None:
    trials = Trials([a_node()], max_trials=1)
    judge = trials.on(a_node())

    assert judge(TOO_MANY, SNAPSHOT) is False
    assert trials.is_over
    assert judge(TOO_MANY, SNAPSHOT) is None
    assert trials(FITS, SNAPSHOT) is None


def test_a_trial_costs_its_steps_and_one_more() -> None:
    trials = Trials([a_node()], max_steps=2 * (steps(FITS) + 1))

    assert trials(FITS, SNAPSHOT) is True
    assert not trials.is_over
    assert trials(FITS, SNAPSHOT) is True
    assert trials.is_over


def test_a_trial_that_the_engine_rejects_costs_one_step() -> None:
    trials = Trials([a_node()], max_steps=2)

    assert trials(WRONG, SNAPSHOT) is None
    assert not trials.is_over
    assert trials(WRONG, SNAPSHOT) is None
    assert trials.is_over


def test_a_trial_that_is_cut_short_is_neither_yes_nor_no() -> None:
    assert Trials([a_node()], steps_each=1)(FITS, SNAPSHOT) is None


def test_of_several_nodes_one_yes_is_enough_and_an_unknown_is_no_no() -> None:
    elsewhere = a_node("node-2")

    assert Trials([elsewhere, a_node()])(FITS, SNAPSHOT) is True
    assert Trials([elsewhere])(FITS, SNAPSHOT) is False
    assert Trials([a_node(), elsewhere], steps_each=1)(FITS, SNAPSHOT) is None
