# SPDX-License-Identifier: Apache-2.0
"""Which hints are given, in which order, and that nothing untrue is among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import pytest

from berth.engine.allocated import AllocatedState
from berth.engine.snapshot import Snapshot
from berth.explain.full import explain_fully
from berth.explain.hints import Hint, LowerCount, MendNode, ReleaseClaim, hint_sentence, rank
from berth.explain.line import cause_key, one_line
from berth.explain.question import Attempt, tried
from berth.explain.tree import Style, tree_lines
from berth.model.claims import ALL, ClaimKey, RequestRef, ResourceClaim
from berth.model.devices import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    DeviceCapacity,
    DeviceID,
)
from berth.model.nodes import NodeTaint
from berth.model.placement import (
    ClaimElsewhere,
    DeviceResourceShort,
    HostPortTaken,
    NodeAffinityMismatch,
    NodeNotReady,
    NodeReason,
    NodeSelectorMismatch,
    NodeTaintNotTolerated,
    NodeUnschedulable,
    PodLevelShort,
    ResourceShort,
    Unplaceable,
)
from berth.model.pods import HostPort
from berth.model.results import AllocationResult, DeviceResult
from berth.model.usage import NodeState
from berth.quantity import Quantity
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_device,
    a_request,
    devices,
    first_available,
)
from tests.support.failures import (
    FAILURES,
    H100,
    NODES,
    POD,
    a_cluster,
    a_node_state,
    explained,
    fleet,
    train,
)


def hints(*args: object, **fields: object) -> list[str]:
    conflict = explained(*args, **fields)  # type: ignore[arg-type]  # passed on as they are
    return [hint_sentence(hint) for hint in conflict.hints]


def test_the_largest_count_that_fits_on_one_node_is_named() -> None:
    held = {"gpu-1/gpu-0": "a/b", "gpu-2/gpu-0": "a/b", "gpu-2/gpu-1": "a/c"}
    held |= {f"gpu-3/gpu-{n}": "a/d" for n in range(6)}

    assert hints(a_cluster(fleet(devices(8)), held=held), train(a_request(count=8))) == [
        "it fits with count 7 instead of 8 in claim ml/train, request gpu",
        "it fits if claim a/b were released",
        "it fits if claim a/d were released",
    ]


def test_a_count_below_half_comes_after_what_leaves_the_request_as_it_is() -> None:
    claim, ref = ClaimKey("ml", "train"), RequestRef("gpu")

    assert rank(LowerCount(claim, ref, 4, 8)) < rank(ReleaseClaim("a/b"))
    assert rank(LowerCount(claim, ref, 3, 8)) == rank(ReleaseClaim("a/b"))


def test_no_more_is_tried_once_there_is_as_much_as_can_be_shown() -> None:
    snapshot, claims = a_cluster(()), (train(a_request()),)
    attempts: Iterator[Attempt] = ((ReleaseClaim(f"a/{n}"), claims, snapshot) for n in range(4))

    found = list(tried(attempts, lambda _claims, _snapshot: True))

    assert found == [ReleaseClaim("a/0"), ReleaseClaim("a/1")]
    assert list(attempts) == [(ReleaseClaim("a/3"), claims, snapshot)]


def test_no_hint_is_given_where_no_single_change_helps() -> None:
    held = {f"{node}/gpu-0": f"a/{node}-{n}" for n, node in enumerate(NODES)}
    cluster = a_cluster(fleet([a_device("gpu-0", attributes={"model": "a100"})]), held=held)

    assert hints(cluster, train(a_request("gpu", H100))) == []


def test_a_claim_that_holds_one_of_two_needed_devices_is_not_named() -> None:
    held = {"gpu-1/gpu-0": "a/one", "gpu-1/gpu-1": "a/two"}
    cluster = a_cluster(fleet(devices(2), ["gpu-1"]), held=held)

    got = hints(cluster, train(a_request(count=2)), states=[a_node_state("gpu-1")])

    assert got == []


def test_who_takes_what_there_is_too_little_of_can_release_it() -> None:
    shared = a_device("gpu-0", capacity={"memory": "40Gi"}, allow_multiple_allocations=True)
    device = DeviceID(DRIVER, "gpu-1", "gpu-0")
    used = AllocatedState(
        shared={device: ("ml/notebook",)}, capacity={device: {"memory": Quantity.parse("24Gi")}}
    )
    cluster = replace(a_cluster(fleet([shared], ["gpu-1"])), allocated=used)
    claim = train(a_request(capacity={"memory": "20Gi"}))

    assert hints(cluster, claim, states=[a_node_state("gpu-1")]) == [
        "it fits with 16Gi instead of 20Gi of capacity memory in claim ml/train, request gpu",
        "it fits if claim ml/notebook were released",
    ]


def test_a_device_that_gives_less_by_its_policy_is_asked_for_what_is_left_of_it() -> None:
    step, most = Quantity.parse("8Gi"), Quantity.parse("32Gi")
    policy = CapacityRequestPolicy(
        default=step, valid_range=CapacityRequestPolicyRange(min=step, max=most, step=step)
    )
    capacity = {"memory": DeviceCapacity(Quantity.parse("40Gi"), policy)}
    shared = a_device("gpu-0", capacity=capacity, allow_multiple_allocations=True)
    device = DeviceID(DRIVER, "gpu-1", "gpu-0")
    used = AllocatedState(
        shared={device: ("a/one", "a/two")}, capacity={device: {"memory": Quantity.parse("24Gi")}}
    )
    cluster = replace(a_cluster(fleet([shared], ["gpu-1"])), allocated=used)
    claim = train(a_request(capacity={"memory": "40Gi"}))

    assert hints(cluster, claim, states=[a_node_state("gpu-1")]) == [
        "it fits with 16Gi instead of 40Gi of capacity memory in claim ml/train, request gpu",
    ]


def test_an_alternative_of_a_prioritized_list_is_changed_on_its_own() -> None:
    claim = train(first_available("gpu", a_body(name="many", count=9), a_body("false", name="odd")))

    assert hints(a_cluster(fleet(devices(8))), claim) == [
        "it fits with count 8 instead of 9 in claim ml/train, request gpu/many",
        "it fits without selector #0 of claim ml/train, request gpu/odd: `false`",
    ]


def test_a_selector_that_leaves_one_request_nothing_can_be_the_other_requests() -> None:
    published = [
        a_device("gpu-0", attributes={"model": "h100"}),
        a_device("gpu-1", attributes={"model": "a100"}),
    ]
    cluster = a_cluster(fleet(published))

    got = hints(cluster, train(a_request("one", H100), a_request("two", H100)))

    assert got == [
        f"it fits without selector #0 of claim ml/train, request one: `{H100}`",
        f"it fits without selector #0 of claim ml/train, request two: `{H100}`",
        "it fits without request one of claim ml/train",
        "it fits without request two of claim ml/train",
    ]


def test_all_of_a_claim_that_is_allocated_becomes_a_count() -> None:
    shared = a_claim(a_request("every", mode=ALL), name="shared", namespace="ml")
    results = tuple(DeviceResult("every", DRIVER, "gpu-1", f"gpu-{n}") for n in range(2))
    cluster = a_cluster(
        fleet(devices(2), ["gpu-1"]), held={f"gpu-1/gpu-{n}": "ml/shared" for n in range(2)}
    )

    got = hints(
        cluster,
        train(a_request()),
        states=[a_node_state("gpu-1")],
        allocated=[replace(shared, allocation=AllocationResult(results))],
    )

    assert got == [
        "it fits with ExactCount 1 instead of All in claim ml/shared, request every, "
        "which must be deallocated first"
    ]


def test_a_claim_that_shares_a_device_with_another_cannot_be_tried_without_it() -> None:
    """Of shares only the sum is known: what would be free without the claim is not."""
    shared = a_claim(a_request("every", mode=ALL), name="shared", namespace="ml")
    results = tuple(DeviceResult("every", DRIVER, "gpu-1", f"gpu-{n}") for n in range(2))
    cluster = a_cluster(
        fleet(devices(2), ["gpu-1"]), held={f"gpu-1/gpu-{n}": "ml/shared" for n in range(2)}
    )
    both = {DeviceID(DRIVER, "gpu-1", "far"): ("ml/shared", "ml/other")}
    cluster = replace(cluster, allocated=replace(cluster.allocated, shared=both))

    got = hints(
        cluster,
        train(a_request()),
        states=[a_node_state("gpu-1")],
        allocated=[replace(shared, allocation=AllocationResult(results))],
    )

    assert got == []


def test_the_pods_own_claim_is_not_to_be_released() -> None:
    own = a_claim(a_request(), name="own", namespace="ml")
    allocation = AllocationResult((DeviceResult("gpu", DRIVER, "gpu-1", "gpu-0"),))
    cluster = a_cluster(fleet(devices(1), ["gpu-1"]), held={"gpu-1/gpu-0": "ml/own"})

    got = hints(
        cluster,
        train(a_request()),
        states=[a_node_state("gpu-1")],
        allocated=[replace(own, allocation=allocation)],
    )

    assert got == []


def test_a_node_with_two_faults_is_no_hint() -> None:
    both = NodeState(
        replace(a_node_state("gpu-1").node, ready=False, taints=(NodeTaint("t", "", "NoSchedule"),))
    )

    assert hints(a_cluster(fleet(devices(1))), train(a_request()), states=[both]) == []


def test_of_nodes_that_are_short_the_nearest_is_named() -> None:
    states = [a_node_state("gpu-1", free_cpu=1000), a_node_state("gpu-2", free_cpu=3000)]

    assert hints(a_cluster(fleet(devices(1))), train(a_request()), states=states) == [
        "it fits on node gpu-2 if 1 more cpu were free"
    ]


def test_a_node_whose_devices_do_not_fit_either_is_no_hint() -> None:
    states = [a_node_state("cpu-1", free_cpu=1000)]

    assert hints(a_cluster(fleet(devices(1))), train(a_request()), states=states) == []


def test_claims_of_the_same_name_get_no_hints() -> None:
    claim = train(a_request(count=5))

    assert hints(a_cluster(fleet(devices(8))), claim, claim) == []


def test_a_judge_of_the_caller_has_the_last_word() -> None:
    asked: list[tuple[int, ...]] = []

    def three_at_most(claims: Sequence[ResourceClaim], _: Snapshot) -> bool:
        bodies = [r.exactly for c in claims for r in c.spec.requests]
        asked.append(tuple(body.count for body in bodies if body is not None))
        return sum(asked[-1]) <= 3

    snapshot, claims = a_cluster(fleet(devices(8))), [train(a_request(count=9))]
    conflict = explain_fully(
        snapshot,
        POD,
        claims,
        [a_node_state(name) for name in NODES],
        Unplaceable(no_fit=NODES),
        fits=three_at_most,
    )

    assert [hint_sentence(hint) for hint in conflict.hints] == [
        "it fits with count 3 instead of 9 in claim ml/train, request gpu"
    ]
    assert (9,) not in asked


def test_a_search_that_gave_up_leaves_facts_open_and_still_gets_hints() -> None:
    snapshot = a_cluster(fleet(devices(8)))
    conflict = explain_fully(
        snapshot,
        POD,
        [train(a_request(count=9))],
        [a_node_state(name) for name in NODES],
        Unplaceable(no_fit=("gpu-1",), undecided=("gpu-2", "gpu-3")),
    )

    assert conflict.facts == ()
    assert [hint_sentence(hint) for hint in conflict.hints] == [
        "it fits with count 8 instead of 9 in claim ml/train, request gpu"
    ]


@pytest.mark.parametrize("name", FAILURES)
def test_the_cause_is_the_same_with_and_without_details(name: str) -> None:
    conflict = FAILURES[name]()
    plain = replace(
        conflict,
        facts=(),
        hints=(),
        requests=tuple(
            replace(
                request,
                groups=tuple(
                    replace(
                        group,
                        devices=tuple(
                            replace(each, false=(), failed=None, holders=())
                            for each in group.devices
                        ),
                    )
                    for group in request.groups
                ),
            )
            for request in conflict.requests
        ),
    )

    assert cause_key(conflict) == cause_key(plain)


def test_the_best_hint_ends_the_event_and_all_of_them_end_the_tree() -> None:
    conflict = FAILURES["failure-constraint"]()
    sentences = [hint_sentence(hint) for hint in conflict.hints]

    assert one_line(conflict).endswith(f"; hint: {sentences[0]}")
    assert tree_lines(conflict)[-3:] == (
        ("", Style.BLANK, ""),
        ("", Style.HINT, f"hint: {sentences[0]}"),
        ("", Style.HINT, f"hint: {sentences[1]}"),
    )


def test_a_hint_that_an_event_cannot_hold_is_left_out_of_it() -> None:
    conflict = FAILURES["failure-constraint"]()
    long = replace(conflict, hints=(ReleaseClaim("a" * 1000),))

    assert one_line(long) == one_line(replace(conflict, hints=()))


def test_every_kind_of_hint_is_found_in_some_failure() -> None:
    found = {type(hint) for make in FAILURES.values() for hint in make().hints}

    assert set(get_args(Hint)) - found == set()


@pytest.mark.parametrize(
    ("reason", "want"),
    [
        (NodeNotReady(), "once it is ready"),
        (NodeUnschedulable(), "once it is uncordoned"),
        (
            NodeTaintNotTolerated(NodeTaint("k", "v", "NoExecute")),
            "if the pod tolerates taint k=v:NoExecute",
        ),
        (NodeSelectorMismatch("disk", "ssd"), "if the node had label disk=ssd"),
        (NodeAffinityMismatch(), "without the pod's required node affinity"),
        (ResourceShort("pods", 1, 0), "if one pod less were on it"),
        (ResourceShort("memory", 4 << 30, 1 << 30), "if 3Gi more memory were free"),
        (
            DeviceResourceShort("cpu", 6000, 4500, 4000),
            "if 1500m more cpu were free for devices",
        ),
        (PodLevelShort("cpu", 4000, 1000), "if the pod-level request had 3 more cpu"),
        (HostPortTaken(HostPort("TCP", 80)), "once host port TCP 80 is free"),
        (ClaimElsewhere(ClaimKey("a", "b")), "if claim a/b could be used there"),
    ],
    ids=lambda value: "" if isinstance(value, str) else repr(value),
)
def test_a_node_is_mended_in_words(reason: NodeReason, want: str) -> None:
    assert hint_sentence(MendNode("n1", reason)) == f"it fits on node n1 {want}"
