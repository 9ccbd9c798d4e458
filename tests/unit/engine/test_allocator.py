# SPDX-License-Identifier: Apache-2.0
"""Which devices are chosen, and when the answer is no."""

from __future__ import annotations

import pytest

from berth.engine.outcomes import Allocated, Undecided, Unsatisfiable
from berth.engine.rejections import PoolInvalid
from berth.errors import ClaimSelectorError, SelectorRuntimeError
from berth.model.claims import ALL, ResourceClaim
from berth.model.devices import PoolID, TaintEffect
from berth.model.features import Features
from berth.model.slices import DeviceTaintRule
from berth.model.tolerations import DeviceToleration
from tests.support.allocations import a_snapshot, attempt, given
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_device,
    a_request,
    a_slice,
    a_taint,
    a_taint_rule,
    devices,
    distinct,
    first_available,
    matching,
)

NUMA = f"{DRIVER}/numa"


def held(*names: str) -> dict[str, str]:
    return {f"{DRIVER}/node-1/{name}": "ml/eval" for name in names}


def by_numa(*values: int) -> list[object]:
    return [a_device(f"d{n}", attributes={"numa": value}) for n, value in enumerate(values)]


class TestExactCount:
    def test_the_first_devices_are_taken(self) -> None:
        claim = a_claim(a_request("a", count=2), a_request("b"))
        assert given(attempt(a_snapshot(a_slice(devices(4))), claim)) == [
            ["a=gpu-0", "a=gpu-1", "b=gpu-2"]
        ]

    def test_devices_in_use_are_passed_over(self) -> None:
        snapshot = a_snapshot(a_slice(devices(3)), in_use=held("gpu-0", "gpu-1"))
        assert given(attempt(snapshot, a_claim())) == [["gpu=gpu-2"]]
        assert attempt(snapshot, a_claim(a_request(count=2))) == Unsatisfiable(2)

    def test_a_later_request_takes_an_earlier_choice_back(self) -> None:
        selector = f'device.attributes["{DRIVER}"].index == 0'
        claim = a_claim(a_request("any"), a_request("first", selector))
        assert given(attempt(a_snapshot(a_slice(devices(2))), claim)) == [
            ["any=gpu-1", "first=gpu-0"]
        ]

    def test_a_later_claim_takes_an_earlier_choice_back(self) -> None:
        selector = f'device.attributes["{DRIVER}"].index == 0'
        claims = [a_claim(name="any"), a_claim(a_request("first", selector), name="first")]
        assert given(attempt(a_snapshot(a_slice(devices(2))), *claims)) == [
            ["gpu=gpu-1"],
            ["first=gpu-0"],
        ]

    def test_no_claims_need_nothing(self) -> None:
        assert attempt(a_snapshot(a_slice(devices(1)))) == Allocated((), 0)

    def test_a_claim_without_requests_has_an_empty_result(self) -> None:
        empty = ResourceClaim("default", "empty")
        outcome = attempt(a_snapshot(a_slice(devices(1))), empty, a_claim())
        assert given(outcome) == [[], ["gpu=gpu-0"]]

    def test_an_invalid_pool_is_blamed_only_where_nothing_fits(self) -> None:
        bad = a_slice([a_device("d"), a_device("d")], pool="bad")
        assert attempt(a_snapshot(bad), a_claim()) == Unsatisfiable(
            1, (PoolInvalid(PoolID(DRIVER, "bad"), "device `d` is published twice"),)
        )
        assert given(attempt(a_snapshot([bad, a_slice(devices(1))]), a_claim())) == [["gpu=gpu-0"]]


class TestAll:
    def test_all_takes_every_matching_device(self) -> None:
        selector = f'device.attributes["{DRIVER}"].index != 1'
        claim = a_claim(a_request("all", selector, mode=ALL))
        assert given(attempt(a_snapshot(a_slice(devices(3))), claim)) == [
            ["all=gpu-0", "all=gpu-2"]
        ]

    @pytest.mark.parametrize(
        ("published", "in_use"),
        [([], {}), (devices(2), held("gpu-1")), ([a_device("t", taints=[a_taint()])], {})],
        ids=["no device matches", "one is in use", "one is tainted"],
    )
    def test_all_needs_at_least_one_and_every_one(
        self, published: list[object], in_use: dict[str, str]
    ) -> None:
        snapshot = a_snapshot(a_slice(published), in_use=in_use)  # type: ignore[arg-type]  # table
        outcome = attempt(snapshot, a_claim(a_request(mode=ALL)))
        assert isinstance(outcome, Unsatisfiable)

    @pytest.mark.parametrize("order", [("all", "one"), ("one", "all")])
    def test_all_and_one_more_of_the_same_exclude_each_other(self, order: tuple[str, str]) -> None:
        requests = {"all": a_request("all", mode=ALL), "one": a_request("one")}
        outcome = attempt(a_snapshot(a_slice(devices(3))), a_claim(*(requests[o] for o in order)))
        assert isinstance(outcome, Unsatisfiable)


class TestPrioritizedList:
    """KEP-4816."""

    def test_the_first_alternative_that_fits_is_taken_and_scored(self) -> None:
        claim = a_claim(
            first_available("x", a_body(name="many", count=3), a_body(name="one"), a_body(name="z"))
        )
        outcome = attempt(a_snapshot(a_slice(devices(2))), claim)
        assert given(outcome) == [["x/one=gpu-0"]]
        assert isinstance(outcome, Allocated)
        assert outcome.score == 7

    def test_an_alternative_gives_way_to_a_later_request(self) -> None:
        claim = a_claim(
            first_available("x", a_body(name="two", count=2), a_body(name="one")), a_request("y")
        )
        assert given(attempt(a_snapshot(a_slice(devices(2))), claim)) == [
            ["x/one=gpu-0", "y=gpu-1"]
        ]

    def test_an_alternative_beyond_the_limit_is_passed_over(self) -> None:
        claim = a_claim(
            a_request("base", count=30),
            first_available("x", a_body(name="three", count=3), a_body(name="two", count=2)),
        )
        outcome = attempt(a_snapshot(a_slice(devices(40))), claim)
        assert isinstance(outcome, Allocated)
        assert len(outcome.results[0].devices) == 32

    def test_scores_add_up(self) -> None:
        both = [first_available(n, a_body(name="a"), a_body(name="b")) for n in ("x", "y")]
        outcome = attempt(a_snapshot(a_slice(devices(2))), a_claim(*both), a_claim(name="plain"))
        assert isinstance(outcome, Unsatisfiable)
        outcome = attempt(a_snapshot(a_slice(devices(3))), a_claim(*both), a_claim(name="plain"))
        assert isinstance(outcome, Allocated)
        assert outcome.score == 16


class TestAdminAccess:
    """KEP-5018."""

    def test_a_device_in_use_can_be_administered(self) -> None:
        snapshot = a_snapshot(a_slice(devices(1)), in_use=held("gpu-0"))
        assert given(attempt(snapshot, a_claim(a_request(admin_access=True)))) == [["gpu=gpu-0"]]

    def test_but_not_twice_in_one_claim(self) -> None:
        claim = a_claim(a_request("a", admin_access=True), a_request("b", admin_access=True))
        snapshot = a_snapshot(a_slice(devices(1)))
        assert isinstance(attempt(snapshot, claim), Unsatisfiable)

    def test_two_claims_can_share_it_unless_the_owner_comes_last(self) -> None:
        snapshot = a_snapshot(a_slice(devices(1)))
        admin, owner = a_claim(a_request(admin_access=True), name="admin"), a_claim(name="owner")
        assert given(attempt(snapshot, owner, admin)) == [["gpu=gpu-0"], ["gpu=gpu-0"]]
        assert isinstance(attempt(snapshot, admin, owner), Unsatisfiable)

    def test_taints_hold_for_administrators_too(self) -> None:
        snapshot = a_snapshot(a_slice([a_device(taints=[a_taint()])]))
        claim = a_claim(a_request(admin_access=True))
        assert isinstance(attempt(snapshot, claim), Unsatisfiable)


class TestTaints:
    """KEP-5055."""

    @pytest.mark.parametrize(
        ("toleration", "tolerated"),
        [
            (DeviceToleration("maintenance", "Exists"), True),
            (DeviceToleration(operator="Exists"), True),
            (DeviceToleration("maintenance", "Equal", "soon"), True),
            (DeviceToleration("maintenance", "Equal", "later"), False),
            (DeviceToleration("other", "Exists"), False),
            (DeviceToleration("maintenance", "Exists", effect="NoSchedule"), True),
            (DeviceToleration("maintenance", "Exists", effect="NoExecute"), False),
            (DeviceToleration("maintenance", "Unknown", "soon"), False),
        ],
    )
    def test_a_taint_needs_a_toleration(
        self, toleration: DeviceToleration, *, tolerated: bool
    ) -> None:
        snapshot = a_snapshot(a_slice([a_device(taints=[a_taint(value="soon")])]))
        assert isinstance(attempt(snapshot, a_claim()), Unsatisfiable)
        outcome = attempt(snapshot, a_claim(a_request(tolerations=[toleration])))
        assert isinstance(outcome, Allocated if tolerated else Unsatisfiable)

    @pytest.mark.parametrize("effect", [TaintEffect.NONE, TaintEffect.OTHER])
    def test_other_effects_do_not_matter(self, effect: TaintEffect) -> None:
        snapshot = a_snapshot(a_slice([a_device(taints=[a_taint(effect=effect)])]))
        assert given(attempt(snapshot, a_claim())) == [["gpu=gpu-0"]]

    def test_taints_do_not_matter_while_the_feature_is_off(self) -> None:
        tainted = a_slice([a_device(taints=[a_taint()])])
        snapshot = a_snapshot(tainted, features=Features(device_taints=False))
        assert given(attempt(snapshot, a_claim())) == [["gpu=gpu-0"]]

    @pytest.mark.parametrize(
        ("rule", "want"),
        [
            (a_taint_rule(device="gpu-0"), "gpu-1"),
            (a_taint_rule(driver="other.example.com"), "gpu-0"),
            (a_taint_rule(has_selector=False), "gpu-0"),
            (a_taint_rule(driver=DRIVER, pool="node-1", device="gpu-0"), "gpu-1"),
            (a_taint_rule(pool="node-2"), "gpu-0"),
        ],
        ids=["device", "another driver", "no selector", "all three", "another pool"],
    )
    def test_a_rule_taints_what_it_selects(self, rule: DeviceTaintRule, want: str) -> None:
        snapshot = a_snapshot(a_slice(devices(2)), rules=[rule])
        assert given(attempt(snapshot, a_claim())) == [[f"gpu={want}"]]

    def test_an_empty_selector_selects_everything(self) -> None:
        snapshot = a_snapshot(a_slice(devices(2)), rules=[a_taint_rule()])
        assert isinstance(attempt(snapshot, a_claim()), Unsatisfiable)


class TestSelectors:
    """Failures count only where the search comes to them."""

    BROKEN = 'device.attributes["gpu.example.com"].missing == 1'

    def test_one_that_fails_on_a_device_ends_the_attempt(self) -> None:
        with pytest.raises(SelectorRuntimeError) as caught:
            attempt(a_snapshot(a_slice(devices(1))), a_claim(a_request("gpu", self.BROKEN)))
        error = caught.value
        assert (error.owner, error.selector, error.device) == (
            "claim default/claim",
            0,
            f"{DRIVER}/node-1/gpu-0",
        )
        assert str(error).startswith(
            "claim default/claim, request gpu, selector #0 on device "
            f"{DRIVER}/node-1/gpu-0: CEL failed: no such key"
        )

    def test_a_device_in_use_is_not_evaluated(self) -> None:
        snapshot = a_snapshot(a_slice(devices(1)), in_use=held("gpu-0"))
        outcome = attempt(snapshot, a_claim(a_request("gpu", self.BROKEN)))
        assert isinstance(outcome, Unsatisfiable)

    def test_a_device_that_is_not_needed_is_not_evaluated(self) -> None:
        only_first = f'device.attributes["{DRIVER}"].index == 0 || {self.BROKEN}'
        snapshot = a_snapshot(a_slice(devices(3)))
        assert given(attempt(snapshot, a_claim(a_request("gpu", only_first)))) == [["gpu=gpu-0"]]

    def test_mode_all_evaluates_every_device(self) -> None:
        snapshot = a_snapshot(a_slice(devices(1)), in_use=held("gpu-0"))
        with pytest.raises(SelectorRuntimeError):
            attempt(snapshot, a_claim(a_request("gpu", self.BROKEN, mode=ALL)))

    def test_an_error_is_not_hidden_by_a_counting_proof(self) -> None:
        # Two of three are asked for; the first fits, the second fails: upstream gets there.
        selector = f'device.attributes["{DRIVER}"].index == 0 || {self.BROKEN}'
        with pytest.raises(SelectorRuntimeError):
            attempt(a_snapshot(a_slice(devices(3))), a_claim(a_request("gpu", selector, count=3)))

    def test_one_that_does_not_compile_says_whose_it_is(self) -> None:
        snapshot = a_snapshot(a_slice(devices(1)), classes=[a_class("gpu", "devise.driver")])
        with pytest.raises(ClaimSelectorError) as caught:
            attempt(snapshot, a_claim())
        error = caught.value
        assert (error.owner, error.selector, error.expression) == ("class gpu", 1, "devise.driver")
        assert str(error).startswith(
            "claim default/claim, request gpu, class gpu, selector #1: CEL does not compile: "
        )

    def test_a_class_selector_that_is_false_guards_those_of_the_request(self) -> None:
        other = a_slice(devices(1), driver="other.example.com", pool="a")
        snapshot = a_snapshot([other, a_slice(devices(1))])
        selector = f'device.attributes["{DRIVER}"].index == 0'
        assert given(attempt(snapshot, a_claim(a_request("gpu", selector)))) == [["gpu=gpu-0"]]


class TestConstraints:
    def test_the_search_starts_again_where_a_match_leads_nowhere(self) -> None:
        claim = a_claim(a_request(count=2), constraints=[matching(NUMA)])
        snapshot = a_snapshot(a_slice(by_numa(0, 1, 1)))  # type: ignore[arg-type]  # devices
        assert given(attempt(snapshot, claim)) == [["gpu=d1", "gpu=d2"]]

    def test_a_constraint_holds_for_the_requests_that_it_names(self) -> None:
        claim = a_claim(
            a_request("a"), a_request("b"), a_request("c"), constraints=[matching(NUMA, "a", "c")]
        )
        snapshot = a_snapshot(a_slice(by_numa(0, 1, 0)))  # type: ignore[arg-type]  # devices
        assert given(attempt(snapshot, claim)) == [["a=d0", "b=d1", "c=d2"]]

    def test_distinct_values_are_pairwise(self) -> None:
        claim = a_claim(a_request(count=3), constraints=[distinct(NUMA)])
        snapshot = a_snapshot(a_slice(by_numa(0, 1, 0, 2)))  # type: ignore[arg-type]  # devices
        assert given(attempt(snapshot, claim)) == [["gpu=d0", "gpu=d1", "gpu=d3"]]


class TestEffort:
    """Counting proves a no that trying everything would not live to see."""

    def test_one_device_too_few_is_found_out_at_once(self) -> None:
        outcome = attempt(a_snapshot(a_slice(devices(24))), a_claim(a_request(count=25)))
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps <= 26

    def test_so_are_many_requests_for_the_same_devices(self) -> None:
        claims = [a_claim(name=f"c{n}") for n in range(25)]
        outcome = attempt(a_snapshot(a_slice(devices(24))), *claims)
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps <= 80

    def test_so_is_a_match_for_which_no_value_has_enough(self) -> None:
        claim = a_claim(a_request(count=9), constraints=[matching(NUMA)])
        published = by_numa(*(n % 3 for n in range(24)))
        outcome = attempt(a_snapshot(a_slice(published)), claim)  # type: ignore[arg-type]  # devices
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps <= 12

    def test_what_no_proof_covers_ends_at_the_budget_undecided(self) -> None:
        claim = a_claim(a_request(count=13), constraints=[distinct(NUMA)])
        published = by_numa(*(n // 2 for n in range(24)))
        outcome = attempt(a_snapshot(a_slice(published)), claim, budget=500)  # type: ignore[arg-type]  # devices
        assert outcome == Undecided(501)

    def test_so_are_nine_requests_for_eight_devices(self) -> None:
        claim = a_claim(*(a_request(f"r{n}") for n in range(9)))
        outcome = attempt(a_snapshot(a_slice(devices(8))), claim)
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps < 10_000

    def test_so_is_an_impossible_request_beside_one_with_many_choices(self) -> None:
        claim = a_claim(a_request("a", count=8), a_request("b", "false"))
        outcome = attempt(a_snapshot(a_slice(devices(16))), claim)
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps < 10_000

    def test_so_are_too_many_partitions(self) -> None:
        partitions = [a_device(f"p{n}", consumes={"gpu": {"slots": "1"}}) for n in range(28)]
        snapshot = a_snapshot(
            [
                a_slice(partitions, name="devices", count=2),
                a_slice(name="counters", count=2, counter_sets={"gpu": {"slots": "14"}}),
            ]
        )
        assert isinstance(attempt(snapshot, a_claim(a_request(count=14))), Allocated)
        for claim in (
            a_claim(a_request(count=15)),
            a_claim(a_request("a", count=8), a_request("b", count=7)),
        ):
            outcome = attempt(snapshot, claim)
            assert isinstance(outcome, Unsatisfiable)
            assert outcome.steps < 10_000

    def test_interleaved_constraints_are_never_a_wrong_no(self) -> None:
        rack = f"{DRIVER}/rack"
        published = [
            a_device(f"d{n}", attributes={"numa": n % 4, "rack": n // 4}) for n in range(16)
        ]
        snapshot = a_snapshot(a_slice(published))
        names = [f"r{n}" for n in range(6)]
        claim = a_claim(
            *(a_request(name) for name in names),
            constraints=[matching(NUMA, *names[:5]), matching(rack, *names[1:])],
        )
        outcome = attempt(snapshot, claim)
        assert isinstance(outcome, Unsatisfiable)
        assert outcome.steps < 10_000
        both = a_claim(
            *(a_request(name) for name in names[:5]),
            constraints=[matching(NUMA, *names[:3]), matching(rack, *names[2:5])],
        )
        assert isinstance(attempt(snapshot, both), Allocated)
