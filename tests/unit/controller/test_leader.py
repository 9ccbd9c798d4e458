# SPDX-License-Identifier: Apache-2.0
"""Election on a clock of the test's own: who may write when, whatever the API server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from berth.controller.apierrors import ApiError, InDoubt, Unreachable
from berth.controller.leader import Elector

RENEW = 0.01


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Leases:
    """A Lease store with the API's rules, and switches for trouble; the Lease is there, unheld."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = {
            "metadata": {
                "namespace": "berth-system",
                "name": "berth",
                "uid": "l",
                "resourceVersion": "0",
            },
            "spec": {},
        }
        self.version = 0
        self.fault: Exception | None = None
        self.lose_answers = False
        self.writes = 0
        self.writes_settled = True

    def settled(self, seconds: float) -> bool:
        assert seconds == 15
        return self.writes_settled

    def _stored(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.writes += 1
        metadata = {**body["metadata"], "uid": "l", "resourceVersion": str(self.version)}
        self.lease = {"metadata": metadata, "spec": dict(body["spec"])}
        if self.lose_answers:
            raise InDoubt("PUT lease", "timed out")
        return self.copy()

    def copy(self) -> dict[str, Any]:
        assert self.lease is not None
        return {"metadata": dict(self.lease["metadata"]), "spec": dict(self.lease["spec"])}

    async def get(self, path: str) -> dict[str, Any]:
        assert path == "/apis/coordination.k8s.io/v1/namespaces/berth-system/leases/berth"
        if self.fault is not None:
            raise self.fault
        if self.lease is None:
            raise ApiError("GET", 404, "NotFound")
        return self.copy()

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        if self.lease is not None:
            raise ApiError(f"POST {path}", 409, "AlreadyExists")
        return self._stored(body)

    async def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        if self.lease is None:
            raise ApiError(f"PUT {path}", 404, "NotFound")
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(f"PUT {path}", 409, "Conflict")
        return self._stored(body)


class Link:
    """One candidate's connection to the store; it can be cut off alone."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.fault: Exception | None = None

    def settled(self, seconds: float) -> bool:
        return self._leases.settled(seconds)

    def __getattr__(self, method: str) -> Any:
        if self.fault is not None:
            raise self.fault
        return getattr(self._leases, method)


class Candidate:
    def __init__(self, leases: Leases, clock: Clock, identity: str) -> None:
        self.link = Link(leases)
        self.history: list[str] = []
        self.start_error: Exception | None = None
        self.elector = Elector(
            self.link,  # type: ignore[arg-type] # the methods that electors use
            "berth-system",
            "berth",
            identity,
            lease_seconds=15,
            renew_seconds=RENEW,
            deadline_seconds=10,
            clock=clock,
        )

    async def on_started(self) -> None:
        self.history.append("started")
        if self.start_error is not None:
            error, self.start_error = self.start_error, None
            raise error

    def on_stopped(self) -> None:
        assert not self.elector.may_write()
        self.history.append("stopped")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.elector.run(self.on_started, self.on_stopped))
        try:
            yield task
            assert not task.done(), "the election ended by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
def first(leases: Leases, clock: Clock) -> Candidate:
    return Candidate(leases, clock, "first")


@pytest.fixture
def second(leases: Leases, clock: Clock) -> Candidate:
    return Candidate(leases, clock, "second")


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(RENEW / 4)


async def some_rounds() -> None:
    await asyncio.sleep(RENEW * 8)


async def test_a_lease_that_nobody_ever_held_is_taken_at_once(
    leases: Leases, first: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        assert leases.lease is not None
        assert leases.lease["spec"]["holderIdentity"] == "first"


async def test_a_missing_lease_is_created_only_after_any_former_one_would_have_run_out(
    leases: Leases, clock: Clock, first: Candidate
) -> None:
    leases.lease = None
    async with first.running():
        await until(lambda: first.elector._missing_since is not None)
        clock.now += 14.9
        await some_rounds()
        assert leases.lease is None
        clock.now += 0.2
        await until(first.elector.may_write)
        await until(lambda: first.history == ["started"])
        assert leases.lease is not None
        spec = leases.lease["spec"]
        assert (spec["holderIdentity"], spec["leaseDurationSeconds"]) == ("first", 15)
        assert spec["leaseTransitions"] == 0


async def test_the_second_waits_while_the_first_renews(
    leases: Leases, clock: Clock, first: Candidate, second: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        async with second.running():
            for _ in range(10):
                writes = leases.writes
                clock.now += 4
                await until(lambda seen=writes: leases.writes > seen + 1)
                assert not second.elector.may_write()
            assert second.elector.holder == "first"
    assert second.history == []


async def test_at_no_moment_may_two_write_while_one_is_cut_off(
    leases: Leases, clock: Clock, first: Candidate, second: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        async with second.running():
            await until(lambda: second.elector.holder == "first")
            first.link.fault = Unreachable("PUT lease", "cut off")
            writers = []
            for _ in range(40):
                clock.now += 0.5
                await asyncio.sleep(RENEW * 2)
                writers.append((first.elector.may_write(), second.elector.may_write()))
            assert (True, True) not in writers
            assert writers[0] == (True, False)
            assert writers[-1] == (False, True)


async def test_the_lease_of_a_dead_holder_is_taken_only_after_it_ran_out_here(
    leases: Leases, clock: Clock, second: Candidate
) -> None:
    # Its renewTime is in the far future of our wall clock: only changes count.
    leases.lease = {
        "metadata": {"namespace": "berth-system", "name": "berth", "resourceVersion": "7"},
        "spec": {
            "holderIdentity": "dead",
            "renewTime": "2099-01-01T00:00:00.000000Z",
            "leaseDurationSeconds": 20,
            "leaseTransitions": 4,
        },
    }
    async with second.running():
        await until(lambda: second.elector.holder == "dead")
        clock.now += 19.9
        await some_rounds()
        assert not second.elector.leading
        clock.now += 0.2
        await until(second.elector.may_write)
        assert leases.lease["spec"]["leaseTransitions"] == 5
        assert leases.lease["spec"]["holderIdentity"] == "second"


async def test_a_released_lease_is_taken_at_once(
    leases: Leases, clock: Clock, first: Candidate, second: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
    assert first.history == ["started", "stopped"]
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == ""
    async with second.running():
        await until(second.elector.may_write)


async def test_a_lease_is_not_released_while_a_write_may_still_take_effect(
    leases: Leases, clock: Clock, first: Candidate, second: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        leases.writes_settled = False
    assert leases.lease is not None
    assert leases.lease["spec"]["holderIdentity"] == "first"
    async with second.running():
        await until(lambda: second.elector.holder == "first")
        clock.now += 14.9
        await some_rounds()
        assert not second.elector.leading
        clock.now += 0.2
        await until(second.elector.may_write)


async def test_a_leader_that_cannot_renew_stops_at_its_deadline_and_comes_back(
    leases: Leases, clock: Clock, first: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        leases.fault = Unreachable("PUT lease", "down")
        clock.now += 9
        await some_rounds()
        assert first.elector.may_write()
        clock.now += 1
        assert not first.elector.may_write()
        await until(lambda: first.history == ["started", "stopped"])
        leases.fault = None
        await until(first.elector.may_write)
        await until(lambda: first.history == ["started", "stopped", "started"])


async def test_a_lease_taken_by_another_ends_leading_at_once(
    leases: Leases, clock: Clock, first: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        assert leases.lease is not None
        leases.lease["spec"]["holderIdentity"] = "other"
        leases.lease["metadata"]["resourceVersion"] = "777"
        await until(lambda: first.history == ["started", "stopped"])
        assert leases.lease["spec"]["holderIdentity"] == "other"


async def test_a_deleted_lease_ends_leading_and_is_made_anew_when_it_would_have_run_out(
    leases: Leases, clock: Clock, first: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        leases.lease = None
        await until(lambda: first.history == ["started", "stopped"])
        await some_rounds()
        assert leases.lease is None
        clock.now += 15.1
        await until(first.elector.may_write)


async def test_a_lease_that_was_replaced_is_not_taken_while_its_former_holder_may_write(
    leases: Leases, clock: Clock, first: Candidate, second: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        async with second.running():
            await until(lambda: second.elector.holder == "first")
            first.link.fault = Unreachable("PUT lease", "cut off")
            assert leases.lease is not None
            leases.lease = {
                "metadata": {**leases.lease["metadata"], "uid": "l2", "resourceVersion": "900"},
                "spec": {},
            }
            await until(lambda: second.elector.holder == "")
            await some_rounds()
            assert first.elector.may_write()
            assert not second.elector.leading
            clock.now += 10
            await some_rounds()
            assert not first.elector.may_write()
            assert not second.elector.leading
            clock.now += 5.1
            await until(second.elector.may_write)


async def test_a_renewal_whose_answer_was_lost_does_not_end_leading(
    leases: Leases, clock: Clock, first: Candidate
) -> None:
    async with first.running():
        await until(first.elector.may_write)
        leases.lose_answers = True
        await some_rounds()
        leases.lose_answers = False
        clock.now += 5
        await until(lambda: first.elector._valid_until >= clock.now + 10)
        assert first.history == ["started"]


async def test_a_take_over_that_fails_gives_the_lease_back(
    leases: Leases, first: Candidate
) -> None:
    first.start_error = Unreachable("GET claims", "down")
    async with first.running():
        await until(lambda: first.history[:3] == ["started", "stopped", "started"])
        await until(first.elector.may_write)


async def test_a_bug_in_taking_over_is_not_hidden(first: Candidate) -> None:
    first.start_error = AssertionError("a bug")
    task = asyncio.create_task(first.elector.run(first.on_started, first.on_stopped))
    with pytest.raises(AssertionError, match="a bug"):
        async with asyncio.timeout(5):
            await task
    assert first.history == ["started", "stopped"]


def test_times_that_let_two_write_are_refused(leases: Leases) -> None:
    with pytest.raises(ValueError, match="renew_seconds < deadline_seconds < lease_seconds"):
        Elector(leases, "n", "l", "i", lease_seconds=10, deadline_seconds=10)  # type: ignore[arg-type] # never called
