# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from berth.controller.fairness import (
    ALLOWANCE_SECONDS,
    BESIDE_PACE,
    HALF_LIFE_SECONDS,
    PACE,
    RECENT_SECONDS,
    FairQueue,
    Shares,
    Spent,
)
from berth.model.pods import Pod, PodKey


def pod(namespace: str, name: str, *, created: str = "t0", priority: int = 0) -> Pod:
    return Pod(
        name=name,
        namespace=namespace,
        uid=f"{namespace}-{name}",
        created=created,
        priority=priority,
    )


class Charged(FairQueue):
    """A queue with its own shares."""

    def __init__(self) -> None:
        self.shares = Shares()
        self.charge = self.shares.charge
        super().__init__(self.shares)


def queue(*pods: Pod) -> Charged:
    made = Charged()
    for each in pods:
        made.add(each)
    return made


def drained(fair: FairQueue, now: float = 0.0) -> list[str]:
    taken = []
    while (key := fair.take(now)) is not None:
        taken.append(str(key))
    return taken


def test_pods_go_by_priority_then_creation_then_uid() -> None:
    fair = queue(
        pod("a", "late", created="t2"),
        pod("b", "early", created="t1"),
        pod("a", "urgent", created="t3", priority=9),
        pod("a", "early", created="t1"),
    )
    assert drained(fair) == ["a/urgent", "a/early", "b/early", "a/late"]


def test_a_namespace_above_its_allowance_comes_behind_at_equal_priority() -> None:
    fair = queue(
        pod("greedy", "first", created="t1"),
        pod("greedy", "urgent", created="t9", priority=1),
        pod("modest", "second", created="t2"),
    )
    fair.charge("greedy", ALLOWANCE_SECONDS * 1.5, 0.0, wasted=False)
    assert drained(fair) == ["greedy/urgent", "modest/second", "greedy/first"]


def test_who_has_spent_more_than_twice_as_much_comes_later() -> None:
    fair = queue(pod("most", "p"), pod("more", "p"), pod("none", "p"))
    fair.charge("more", ALLOWANCE_SECONDS * 1.5, 0.0, wasted=False)
    fair.charge("most", ALLOWANCE_SECONDS * 4.5, 0.0, wasted=False)
    assert drained(fair) == ["none/p", "more/p", "most/p"]


def test_time_that_was_spent_is_forgiven() -> None:
    spent = Spent()
    spent.charge("a", 4 * ALLOWANCE_SECONDS, 0.0)
    assert [spent.level("a", n * HALF_LIFE_SECONDS) for n in (0, 1, 2, 3)] == [3, 2, 0, 0]


def test_no_after_no_leaves_most_of_the_time_to_others() -> None:
    fair = queue(pod("hopeless", "p"))
    fair.charge("other", 0.001, 0.0, wasted=False)
    fair.charge("hopeless", 0.5, 0.0, wasted=True)
    assert fair.take(0.0) is None
    assert fair.pause(0.0) == 0.5 * PACE
    fair.add(pod("other", "new"))
    assert fair.take(0.1) == PodKey("other", "new")
    assert fair.take(0.9 * RECENT_SECONDS) is None
    fair.charge("other", 0.001, 0.45 * PACE, wasted=False)
    assert fair.take(0.45 * PACE) is None
    assert fair.take(0.5 * PACE) == PodKey("hopeless", "p")
    assert fair.pause(9.0) is None


def test_nobody_waits_for_others_that_are_not_there() -> None:
    fair = queue(pod("hopeless", "p"))
    fair.charge("hopeless", 0.5, 0.0, wasted=True)
    assert fair.pause(0.0) == 0.0
    assert fair.take(0.0) == PodKey("hopeless", "p")


def test_many_hopeless_namespaces_share_one_pace() -> None:
    fair = queue(pod("one", "p"), pod("two", "p"))
    fair.charge("two", 1.0, 0.0, wasted=True)
    fair.charge("one", 0.5, 0.0, wasted=True)
    assert fair.take(0.0) is None
    assert fair.take(0.5 * PACE) == PodKey("one", "p")


def test_a_pod_is_in_the_queue_once_and_at_its_newest_place() -> None:
    first = pod("a", "p", priority=5)
    fair = queue(first, first, replace(first, priority=0), pod("b", "q", priority=1))
    assert len(fair) == 2
    assert drained(fair) == ["b/q", "a/p"]


def test_a_discarded_pod_is_not_given() -> None:
    fair = queue(pod("a", "p"), pod("a", "q"))
    fair.discard(PodKey("a", "p"))
    fair.discard(PodKey("a", "unknown"))
    assert drained(fair) == ["a/q"]


def test_accounts_that_have_run_out_are_dropped() -> None:
    spent = Spent()
    for number in range(2000):
        spent.charge(f"n{number}", 0.001, number * 10.0)
    assert len(spent._accounts) < 600


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 1)), max_size=20),
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3), st.booleans()), max_size=6),
)
def test_every_pod_is_given_once_whatever_was_spent(
    pods: list[tuple[str, int, int]], charges: list[tuple[str, float, bool]]
) -> None:
    made = [
        pod(namespace, f"p{number}", created=f"t{created}", priority=priority)
        for number, (namespace, created, priority) in enumerate(pods)
    ]
    fair = queue(*made)
    for namespace, seconds, wasted in charges:
        fair.charge(namespace, seconds, 0.0, wasted=wasted)
    now, taken = 0.0, []
    while len(fair):
        key = fair.take(now)
        if key is None:
            pause = fair.pause(now)
            assert pause is not None
            assert pause > 0
            now += pause
        else:
            taken.append(str(key))
    assert sorted(taken) == sorted(str(each.key) for each in made)


def test_work_beside_decisions_delays_only_work_beside_decisions() -> None:
    decisions = Shares()
    beside = Shares(decisions)
    decisions.charge("other", 0.001, 0.0, wasted=False)
    beside.charge("hopeless", 1.0, 0.0, wasted=True)
    assert beside.pause("hopeless", 0.0) == BESIDE_PACE
    assert decisions.pause("hopeless", 0.0) == 0.0
    assert decisions.spent.level("hopeless", 0.0) == 0
