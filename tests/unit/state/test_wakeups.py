# SPDX-License-Identifier: Apache-2.0
"""Pods that ask the same question are woken one after the other."""

from __future__ import annotations

from berth.model.pods import PodKey
from berth.state.wakeups import Wakeups

A, B, C = PodKey("ml", "a"), PodKey("ml", "b"), PodKey("ml", "c")


def a_line() -> Wakeups:
    wakeups = Wakeups()
    for pod in (A, B, C):
        wakeups.wait(pod, "same question")
    return wakeups


def test_only_the_first_of_a_line_is_woken() -> None:
    wakeups = a_line()
    wakeups.may_fit_now()
    assert wakeups.take() == {A}
    assert wakeups.waiting == {A, B, C}


def test_the_next_one_is_woken_when_the_first_has_left() -> None:
    wakeups = a_line()
    wakeups.stop_waiting(A)
    assert wakeups.take() == {B}
    wakeups.gone(B)
    assert wakeups.take() == {C}


def test_one_who_leaves_from_the_middle_wakes_nobody() -> None:
    wakeups = a_line()
    wakeups.stop_waiting(B)
    assert wakeups.take() == frozenset()
    assert wakeups.waiting == {A, C}


def test_whoever_asks_the_same_again_keeps_the_place() -> None:
    wakeups = a_line()
    wakeups.wait(A, "same question")
    wakeups.may_fit_now()
    assert wakeups.take() == {A}


def test_whoever_asks_something_else_changes_lines() -> None:
    wakeups = a_line()
    wakeups.wait(A, "another question")
    assert wakeups.take() == {B}
    wakeups.may_fit_now()
    assert wakeups.take() == {A, B}


def test_the_one_who_caused_a_change_lets_the_next_one_look() -> None:
    wakeups = a_line()
    wakeups.may_fit_now(but=A)
    assert wakeups.take() == {B}


def test_pods_without_a_question_are_all_woken() -> None:
    wakeups = Wakeups()
    for pod in (A, B):
        wakeups.wait(pod)
    wakeups.may_fit_now()
    assert wakeups.take() == {A, B}
