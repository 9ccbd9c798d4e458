# SPDX-License-Identifier: Apache-2.0
"""What is tried shows in the state, and what is undone leaves no trace."""

from __future__ import annotations

from dataclasses import replace

from berth.engine.allocated import AllocatedState
from berth.engine.candidates import Candidates
from berth.engine.capacity import CapacityRules, Shares
from berth.engine.charges import ChargeBaseline
from berth.engine.compatibility import Compatibility, CompatibilityBaseline
from berth.engine.counters import CounterBudget, Counters
from berth.engine.eligibility import Eligibility
from berth.engine.inventory import Inventory
from berth.engine.plan import plan_claims
from berth.engine.rejections import CounterShort
from berth.model.features import Features
from berth.quantity import Quantity
from tests.support.allocations import a_snapshot
from tests.support.builders import a_body, a_claim, a_device, a_node, a_slice, devices

NOTHING = AllocatedState()


def three_partitions() -> tuple[Inventory, CounterBudget]:
    """Two partitions of 20Gi of memory, where 30Gi exist, and one that takes a slot only."""
    inventory = Inventory.build(
        [
            a_slice(
                [
                    a_device("p0", consumes={"gpu": {"memory": "20Gi"}}),
                    a_device("p1", consumes={"gpu": {"memory": "20Gi"}}),
                    a_device("p2", consumes={"gpu": {"slots": "1"}}),
                ],
                name="devices",
                count=2,
            ),
            a_slice(
                name="counters", count=2, counter_sets={"gpu": {"memory": "30Gi", "slots": "1"}}
            ),
        ]
    )
    return inventory, CounterBudget(inventory.view(a_node()), NOTHING, whole_pool=False)


def test_each_charge_shows_and_goes() -> None:
    inventory, budget = three_partitions()
    p0, p1, p2 = inventory.devices
    counters = Counters(budget)
    states = [counters.state()]
    for record, want in ((p0, True), (p1, False), (p2, True)):
        assert counters.try_charge(record) is want
        states.append(counters.state())

    assert states[1] == states[2]
    assert len(set(states)) == 3
    counters.undo_charge(p2)
    assert counters.state() == states[2]
    counters.undo_charge(p0)
    assert counters.state() == states[0]


def test_the_bound_of_the_counters_is_never_too_small() -> None:
    inventory, budget = three_partitions()
    p0, p1, p2 = inventory.devices

    assert budget.most_together([p0, p1, p2]) == 2
    assert budget.most_together([p0]) == 1
    assert budget.most_together([]) == 0


def test_a_device_that_no_counter_has_room_for_takes_no_place_from_others() -> None:
    slices = [
        a_slice(
            [
                a_device("large", consumes={"gpu": {"memory": "80Gi"}}),
                a_device("plain", consumes={"gpu": {"slots": "1"}}),
            ],
            name="devices",
            count=2,
        ),
        a_slice(name="counters", count=2, counter_sets={"gpu": {"memory": "8Gi", "slots": "1"}}),
    ]
    inventory = Inventory.build(slices)
    budget = CounterBudget(inventory.view(a_node()), NOTHING, whole_pool=False)

    assert budget.most_together(inventory.devices) == 1


def test_each_share_shows_and_goes() -> None:
    device = a_device(capacity={"mem": "10"}, allow_multiple_allocations=True)
    (record,) = Inventory.build([a_slice([device])]).devices
    shares = Shares(CapacityRules(NOTHING, Features()))
    body = a_body(capacity={"mem": "4"})
    states = [shares.state()]
    for want in (True, True, False):
        assert shares.try_share(body, record) is want
        states.append(shares.state())

    assert states[2] == states[3]
    assert len(set(states)) == 3
    shares.undo_share(record)
    assert shares.state() == states[1]
    shares.undo_share(record)
    assert shares.state() == states[0]


def test_each_user_of_a_counter_set_shows_and_goes() -> None:
    published = [a_device(name, consumes={"gpu": {"slots": "1"}}) for name in ("p0", "p1", "p2")]
    groups = (("a", "b"), ("c",), ("b", "c"))
    inventory = Inventory.build(
        [
            a_slice(
                [
                    replace(
                        each,
                        consumes_counters=(
                            replace(each.consumes_counters[0], compatibility_groups=of),
                        ),
                    )
                    for each, of in zip(published, groups, strict=True)
                ],
                name="devices",
                count=2,
            ),
            a_slice(name="counters", count=2, counter_sets={"gpu": {"slots": "8"}}),
        ],
        features=Features(compatibility_groups=True),
    )
    p0, p1, p2 = inventory.devices
    budget = CounterBudget(inventory.view(a_node()), NOTHING, whole_pool=False)
    users = Compatibility(CompatibilityBaseline(budget, NOTHING))
    states = [users.state()]
    for record, want in ((p0, True), (p1, False), (p2, True)):
        assert users.try_join(record) is want
        states.append(users.state())

    assert states[1] == states[2]
    assert len(set(states)) == 3
    users.undo_join(p2)
    assert users.state() == states[2]
    users.undo_join(p0)
    assert users.state() == states[0]


def test_what_a_pool_has_not_left_is_refused_before_anything_is_taken() -> None:
    inventory, _ = three_partitions()
    p0, p1, p2 = inventory.devices
    held = AllocatedState(holders={p0.id: ("ml/eval",)})
    baseline = ChargeBaseline(inventory.view(a_node()), held, whole_pool=False)

    assert baseline.refusal(p1) == CounterShort(
        "gpu", "memory", Quantity.parse("20Gi"), Quantity.parse("10Gi")
    )
    assert baseline.refusal(p2) is None


def test_a_node_is_looked_at_once() -> None:
    inventory, _ = three_partitions()

    assert inventory.view(a_node()) is inventory.view(a_node())


def test_candidates_without_errors_can_be_counted() -> None:
    snapshot = a_snapshot(a_slice(devices(2)))
    view = snapshot.inventory.view(a_node())
    eligibility = Eligibility(snapshot, view, "claim")
    ((request,),) = [
        claim.requests for claim in plan_claims(snapshot, view, [a_claim()], eligibility)
    ]
    candidates = Candidates(request.bodies[0], view.devices, eligibility)

    assert candidates.has_fewer(0, 3)
    assert candidates.has_fewer(1, 2)
    assert not candidates.has_fewer(0, 2)
