# SPDX-License-Identifier: Apache-2.0
"""A consumer that leaves and joins without end is found; consumers that come and go are not."""

from __future__ import annotations

from berth.controller.flapping import QUIET_SECONDS, RETURNS, WINDOW_SECONDS, FlappingClaims

NOBODY: frozenset[str] = frozenset()
ONE = frozenset({"uid-1"})


def flap(flapping: FlappingClaims, begin: float, step: float, times: int) -> list[bool]:
    told = []
    for number in range(times):
        now = begin + number * step
        told.append(flapping.changed("claim", ONE, NOBODY, now))
        told.append(flapping.changed("claim", NOBODY, ONE, now))
    return told


def test_a_consumer_that_returns_often_and_fast_is_told_of_once() -> None:
    flapping = FlappingClaims()
    told = flap(flapping, 0, 0.1, RETURNS * 3)
    assert told.count(True) == 1
    assert told.index(True) == RETURNS * 2 - 1
    later = flap(flapping, QUIET_SECONDS + 10, 0.1, RETURNS)
    assert later.count(True) == 1


def test_a_consumer_that_returns_slowly_is_not() -> None:
    assert not any(flap(FlappingClaims(), 0, WINDOW_SECONDS, RETURNS * 3))


def test_many_consumers_that_join_and_leave_are_not() -> None:
    flapping = FlappingClaims()
    for number in range(300):
        joined = frozenset({f"uid-{number}"})
        assert not flapping.changed("claim", NOBODY, joined, 0.0)
        assert not flapping.changed("claim", joined, NOBODY, 0.0)


def test_claims_are_told_apart() -> None:
    flapping = FlappingClaims()
    for number in range(RETURNS - 1):
        for claim in ("a", "b"):
            assert not flapping.changed(claim, ONE, NOBODY, number * 0.1)
            assert not flapping.changed(claim, NOBODY, ONE, number * 0.1)
