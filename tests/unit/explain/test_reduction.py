# SPDX-License-Identifier: Apache-2.0
"""What stays of an input that is reduced to facts, and which facts suffice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.allocated import AllocatedState
from berth.explain.edits import released, without_request
from berth.explain.fact_words import fact_words
from berth.explain.facts import (
    ConstraintFact,
    Fact,
    HolderFact,
    RequestFact,
    SelectorFact,
    TaintFact,
)
from berth.explain.line import one_line
from berth.explain.reduction import all_facts, reduced_input, told_facts
from berth.explain.tree import Line, Style, tree_lines
from berth.explain.trials import Trials
from berth.model.claims import ClaimConfig, ClaimKey, RequestRef
from berth.model.devices import DeviceID
from berth.quantity import Quantity
from tests.support.builders import (
    DRIVER,
    a_claim,
    a_device,
    a_node,
    a_request,
    a_slice,
    a_taint,
    devices,
    distinct,
    matching,
)
from tests.support.failures import FAILURES, H100, NUMA, a_cluster, explained, fleet, train

TRAIN = ClaimKey("ml", "train")


def test_a_constraint_goes_with_the_last_request_that_it_names() -> None:
    claim = train(
        a_request("one"),
        a_request("two"),
        constraints=[matching(NUMA, "two"), distinct(NUMA, "one", "two"), matching(NUMA)],
        config=[ClaimConfig(("two",)), ClaimConfig()],
    )

    (left,) = without_request([claim], 0, "two")

    assert left.spec.requests == (a_request("one"),)
    assert left.spec.constraints == (distinct(NUMA, "one"), matching(NUMA))
    assert left.spec.config == (ClaimConfig(),)


def test_a_claim_goes_with_its_last_request() -> None:
    assert without_request([train(a_request("one"))], 0, "one") == ()


def test_a_share_beside_others_cannot_be_released() -> None:
    device = DeviceID(DRIVER, "gpu-1", "gpu-0")
    allocated = AllocatedState(
        shared={device: ("a/one", "a/two")}, capacity={device: {"memory": Quantity.of(8)}}
    )
    snapshot = replace(a_cluster(fleet(devices(1))), allocated=allocated)

    assert released(snapshot, "a/one") is None


def test_the_only_share_is_released_with_what_it_consumes() -> None:
    first, second = (DeviceID(DRIVER, "gpu-1", f"gpu-{n}") for n in (0, 1))
    allocated = AllocatedState(
        holders={second: ("a/one", "a/two")},
        shared={first: ("a/one",)},
        capacity={first: {"memory": Quantity.of(8)}},
    )
    snapshot = released(replace(a_cluster(fleet(devices(2))), allocated=allocated), "a/one")

    assert snapshot is not None
    assert snapshot.allocated == AllocatedState(holders={second: ("a/two",)})


def test_an_input_reduced_to_nothing_asks_for_nothing_and_has_no_obstacles() -> None:
    tainted = a_device("gpu-0", taints=[a_taint()])
    snapshot = a_cluster(fleet([tainted]), held={"gpu-1/gpu-0": "a/b"})

    claims, reduced = reduced_input(
        [train(a_request("gpu", H100))], snapshot, (), [a_node("gpu-1")]
    )

    assert claims == ()
    assert reduced.allocated == AllocatedState()
    assert {each.selectors for each in reduced.classes.values()} == {()}
    assert [(str(r.id), r.taints) for r in reduced.inventory.devices] == [
        (f"{DRIVER}/gpu-1/gpu-0", ())
    ]


def test_an_input_reduced_to_all_its_facts_is_as_it_was() -> None:
    tainted = a_device("gpu-0", taints=[a_taint()])
    snapshot = a_cluster(fleet([tainted], ["gpu-1"]), held={"gpu-1/gpu-0": "a/b"})
    asked = [
        train(a_request("gpu", H100), a_request("two"), constraints=[matching(NUMA)]),
        a_claim(a_request(), name="other"),
    ]
    nodes = [a_node("gpu-1")]

    facts = all_facts(asked, snapshot, nodes)
    claims, reduced = reduced_input(asked, snapshot, facts, nodes)

    assert facts == (
        RequestFact(TRAIN, "gpu"),
        RequestFact(TRAIN, "two"),
        RequestFact(ClaimKey("default", "other"), "gpu"),
        ConstraintFact(TRAIN, 0, "matchAttribute", NUMA),
        SelectorFact("class gpu", 0),
        SelectorFact("request", 0, TRAIN, RequestRef("gpu")),
        TaintFact(a_taint()),
        HolderFact("a/b"),
    )
    assert claims == tuple(asked)
    assert reduced.allocated == snapshot.allocated
    assert reduced.classes["gpu"] == snapshot.classes["gpu"]
    assert [record.taints for record in reduced.inventory.devices] == [(a_taint(),)]


def test_two_requests_that_fail_alone_are_shrunk_to_the_first() -> None:
    conflict = explained(
        a_cluster(fleet(devices(2))), train(a_request("one", count=3), a_request("two", count=4))
    )

    assert conflict.facts == (RequestFact(TRAIN, "one"),)


def test_what_only_fails_together_is_named() -> None:
    published = [a_device(f"gpu-{n}", attributes={"numa": n % 2}) for n in range(4)]
    nic = a_slice(devices(1), driver="nic.example.com", node_name="gpu-1", name="nic")
    conflict = explained(
        a_cluster([*fleet(published, ["gpu-1"]), nic]),
        train(a_request("left", count=2), a_request("right"), constraints=[matching(NUMA)]),
        a_claim(a_request("net", device_class="nic"), name="net", namespace="ml"),
        states=None,
    )

    assert set(conflict.facts) == {
        RequestFact(TRAIN, "left"),
        RequestFact(TRAIN, "right"),
        ConstraintFact(TRAIN, 0, "matchAttribute", NUMA),
    }


def test_both_sides_of_a_rivalry_are_told() -> None:
    conflict = replace(FAILURES["failure-all-and-one-more"](), requests=())

    assert told_facts(conflict, ()) == (
        RequestFact(ClaimKey("ml", "shared"), "every"),
        RequestFact(TRAIN, "gpu"),
    )


def test_a_constraint_is_told_of_the_claim_that_it_refuses_and_of_no_other() -> None:
    published = [a_device(f"gpu-{n}", attributes={"numa": n}) for n in range(3)]
    asked = [
        train(a_request(count=2), constraints=[matching(NUMA)]),
        a_claim(a_request(), name="other", constraints=[matching(NUMA)]),
    ]
    conflict = explained(a_cluster(fleet(published)), *asked)

    assert told_facts(conflict, asked) == (
        RequestFact(TRAIN, "gpu"),
        ConstraintFact(TRAIN, 0, "matchAttribute", NUMA),
    )


def test_a_joint_failure_is_told_by_what_suffices_for_it() -> None:
    conflict = replace(FAILURES["failure-together"](), requests=(), hints=(), together=("gpu-1",))

    assert one_line(conflict) == (
        "claim ml/train: each request alone finds enough devices on 1 node, all together do not: "
        "claim ml/train, request right; claim ml/train, request left; matchAttribute "
        "gpu.example.com/numa of claim ml/train exclude each other"
    )


def test_trials_end_at_their_number() -> None:
    snapshot = a_cluster(fleet(devices(2)))
    trials = Trials([a_node("gpu-1")], max_trials=2)
    claims = [train(a_request())]

    assert [trials(claims, snapshot) for _ in range(3)] == [True, True, None]
    assert trials.is_over


def test_trials_end_at_their_steps() -> None:
    snapshot = a_cluster(fleet(devices(2)))
    trials = Trials([a_node("gpu-1")], max_steps=1)
    claims = [train(a_request())]

    assert [trials(claims, snapshot), trials(claims, snapshot)] == [True, None]


def test_a_trial_of_an_input_that_is_wrong_is_neither_yes_nor_no() -> None:
    trials = Trials([a_node("gpu-1")])
    claims = [train(a_request(device_class="none"))]

    assert trials(claims, a_cluster(fleet(devices(2)))) is None


def test_a_trial_says_no_only_where_every_node_does() -> None:
    snapshot = a_cluster(fleet(devices(2), ["gpu-2"]))
    trials = Trials([a_node("gpu-1"), a_node("gpu-2")])

    assert trials([train(a_request(count=3))], snapshot) is False
    assert trials([train(a_request(count=2))], snapshot) is True


@pytest.mark.parametrize(
    ("fact", "want"),
    [
        (RequestFact(TRAIN, "gpu"), "claim ml/train, request gpu"),
        (ConstraintFact(TRAIN, 0, "matchAttribute", "a/b"), "matchAttribute a/b of claim ml/train"),
        (SelectorFact("class gpu", 1), "selector #1 of class gpu"),
        (
            SelectorFact("request", 0, TRAIN, RequestRef("gpu", "big")),
            "selector #0 of claim ml/train, request gpu/big",
        ),
        (TaintFact(a_taint()), "taint maintenance:NoSchedule"),
        (HolderFact("a/b"), "what claim a/b holds"),
    ],
    ids=["request", "constraint", "class-selector", "selector", "taint", "holder"],
)
def test_a_fact_in_words(fact: Fact, want: str) -> None:
    assert fact_words(fact) == want


def test_what_the_no_rests_on_and_nothing_else_names_is_told() -> None:
    conflict = FAILURES["failure-counters-of-the-pod"]()

    assert conflict.also == (RequestFact(TRAIN, "one"),)
    assert "; also in the way: claim ml/train, request one; hint: " in one_line(conflict)
    assert Line("", Style.CAUSE, "also in the way: claim ml/train, request one") in tree_lines(
        conflict
    )
