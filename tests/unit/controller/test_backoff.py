# SPDX-License-Identifier: Apache-2.0
"""Pauses that grow, end somewhere, and are forgotten."""

from __future__ import annotations

from berth.controller.backoff import SWEEP_ABOVE, Backoff


def test_the_first_try_is_free_and_each_pause_is_twice_the_last_up_to_the_limit() -> None:
    backoff: Backoff[str] = Backoff(first=1, most=5, quiet=100)
    now, pauses = 0.0, []
    for _ in range(5):
        assert backoff.pause("a", now) == 0
        backoff.tried("a", now)
        pauses.append(backoff.pause("a", now))
        now += pauses[-1]
    assert pauses == [1, 2, 4, 5, 5]
    assert backoff.pause("b", now) == 0


def test_what_was_quiet_or_forgotten_begins_anew() -> None:
    backoff: Backoff[str] = Backoff(first=1, most=5, quiet=100)
    for key in ("a", "b"):
        backoff.tried(key, 0)
        backoff.tried(key, 1)
    backoff.forget("b")
    assert (backoff.pause("a", 1), backoff.pause("b", 1)) == (2, 0)
    backoff.tried("a", 102)
    assert backoff.pause("a", 102) == 1


def test_keys_that_were_quiet_are_not_kept() -> None:
    backoff: Backoff[int] = Backoff(first=1, most=5, quiet=100)
    for key in range(SWEEP_ABOVE + 1):
        backoff.tried(key, 0)
    backoff.tried(-1, 200)
    assert len(backoff) == 1
