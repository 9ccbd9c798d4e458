# SPDX-License-Identifier: Apache-2.0
"""The search that skips nodes answers as the search that looks at every node.

A walk changes a ledger by random events and asks it the same few questions again and again, so
that what was remembered of earlier answers matters.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from berth.decision import Allocate, NoFit, NotFound, decide_claims, decide_claims_quickly
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.model.claims import ALL, ClaimKey, ResourceClaim
from berth.model.devices import CounterConsumption, Device, DeviceCapacity
from berth.model.nodes import Node
from berth.model.pods import Pod, PodKey
from berth.model.policy import AllocationPolicy, Placement
from berth.quantity import Quantity
from berth.state.cluster import Cluster
from tests.support import builders, strategies
from tests.support.strategies import CLASSES, SELECTORS

pytestmark = pytest.mark.property

NODES = ("n0", "n1", "n2", "n3", "n4")
FAILS = 'device.attributes["gpu.example.com"].model == "a100"'
"""Ends with an error on a device without a model."""
A100 = builders.a_body(SELECTORS[0], name="a")

QUESTIONS: tuple[tuple[ResourceClaim, ...], ...] = (
    (builders.a_claim(name="one"),),
    (builders.a_claim(builders.a_request("r0", SELECTORS[0], count=2), name="two"),),
    (builders.a_claim(builders.a_request("r0", FAILS), name="fails"),),
    (builders.a_claim(builders.a_request("r0", mode=ALL), name="all"),),
    (
        builders.a_claim(
            builders.a_request("r0", count=2),
            name="matched",
            constraints=[builders.matching("gpu.example.com/numa")],
        ),
    ),
    (builders.a_claim(name="first"), builders.a_claim(builders.a_request("r", count=2), name="b")),
    (
        builders.a_claim(
            builders.first_available("r0", A100, builders.a_body(name="b", count=2)), name="either"
        ),
    ),
    (
        builders.a_claim(
            builders.first_available("r0", A100, builders.a_body(name="b")),
            builders.first_available(
                "r1",
                builders.a_body(name="a", device_class="net"),
                builders.a_body(FAILS, name="b"),
            ),
            name="both",
        ),
    ),
    (
        builders.a_claim(
            builders.a_request("r0", tolerations=[strategies.TOLERATION]), name="tolerant"
        ),
    ),
    (builders.a_claim(builders.a_request("r0", admin_access=True, count=2), name="admin"),),
    (builders.a_claim(builders.a_request("r0", device_class="none"), name="no-class"),),
    (builders.a_claim(builders.a_request("r0", "device.what"), name="no-cel"),),
    (
        builders.a_claim(
            builders.a_request("r0", device_class="any", capacity={"mem": "2"}, count=2),
            name="share",
        ),
    ),
)
PODS = (
    Pod("default", "small", uid="u0", requests=MappingProxyType({"cpu": 1})),
    Pod("default", "large", uid="u1", requests=MappingProxyType({"cpu": 3})),
    Pod("default", "picky", uid="u2", node_selector=MappingProxyType({"zone": "a"})),
)


class Walk:
    """One ledger, changed and asked at random."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.cluster = Cluster()
        self.held: list[ClaimKey] = []
        self.counter = 0
        self.answers: Counter[str] = Counter()
        for each in CLASSES.values():
            self.cluster.apply_class(each)
        for name in NODES[: self.rng.randint(2, 5)]:
            self.node_comes(name)
            self.slice_comes(name)

    def go(self, steps: int) -> None:
        events = (
            self.node_changes,
            self.node_goes,
            lambda: self.slice_comes(self.rng.choice(NODES)),
            self.shared_slice_comes_or_goes,
            self.slice_goes,
            self.rule_comes_or_goes,
            self.policy_changes,
            self.class_changes,
            self.pod_runs_or_ends,
            self.pod_runs_or_ends,
        )
        for _ in range(steps):
            match self.rng.randrange(10):
                case 0:
                    self.rng.choice(events)()
                case 1 | 2:
                    self.claim_is_released()
                case _:
                    self.ask(self.rng.choice(QUESTIONS), self.rng.choice(PODS))

    # --- events

    def node_comes(self, name: str) -> None:
        zone, cpu = self.rng.choice("ab"), self.rng.choice([2, 4, 8])
        self.cluster.apply_node(_node(name, zone, cpu))

    def node_changes(self) -> None:
        self.node_comes(self.rng.choice(NODES))

    def node_goes(self) -> None:
        if len(self.cluster.nodes) > 1:
            self.cluster.remove_node(self.rng.choice(NODES))

    def slice_comes(self, node: str) -> None:
        """A pool of one slice, now and then a part of one, or one that contradicts itself."""
        want = self.rng.choice([1, 1, 1, 2])
        names = [f"d{n}" for n in range(self.rng.randint(1, 4))]
        if self.rng.randrange(12) == 0:
            names.append(names[0])
        published = builders.a_slice(
            [self.device(name) for name in names],
            name=f"{node}-{self.rng.choice('xy')}",
            pool=f"{node}-{self.rng.choice('xy')}",
            driver=self.rng.choice([builders.DRIVER, builders.DRIVER, strategies.NET]),
            node_name=node,
            generation=self.rng.randint(1, 2),
            count=want,
            counter_sets={"gpu": {"slots": str(self.rng.randint(1, 3))}},
        )
        self.cluster.apply_slice(published)

    def device(self, name: str) -> Device:
        rng = self.rng
        model = rng.choice(["a100", "a100", "t4", None])
        device = builders.a_device(
            name,
            attributes={"numa": rng.randrange(2)} | ({} if model is None else {"model": model}),
            taints=[builders.a_taint()] if rng.randrange(8) == 0 else (),
        )
        match rng.randrange(8):
            case 0:
                slots = Quantity.of(rng.randint(1, 2))
                return replace(
                    device, consumes_counters=(CounterConsumption("gpu", {"slots": slots}),)
                )
            case 1:
                return replace(
                    device,
                    capacity={"mem": DeviceCapacity(Quantity.of(4))},
                    allow_multiple_allocations=True,
                )
        return device

    def shared_slice_comes_or_goes(self) -> None:
        if self.rng.randrange(3):
            self.cluster.remove_slice("shared")
        else:
            devices = [self.device("s0")]
            self.cluster.apply_slice(builders.a_slice(devices, name="shared", all_nodes=True))

    def slice_goes(self) -> None:
        if self.cluster.slices:
            self.cluster.remove_slice(self.rng.choice(sorted(self.cluster.slices)))

    def rule_comes_or_goes(self) -> None:
        if self.rng.randrange(2):
            rule = builders.a_taint_rule(
                "rule", driver=builders.DRIVER, pool=f"{self.rng.choice(NODES)}-x"
            )
            self.cluster.apply_taint_rule(rule)
        else:
            self.cluster.remove_taint_rule("rule")

    def policy_changes(self) -> None:
        self.cluster.apply_namespace("default", {})
        policy = AllocationPolicy("p", placement=self.rng.choice(list(Placement)))
        self.cluster.apply_policy(policy)

    def class_changes(self) -> None:
        narrow = 'device.attributes["gpu.example.com"].?numa.orValue(0) == 0'
        more = () if self.rng.randrange(2) else (narrow,)
        self.cluster.apply_class(builders.a_class("gpu", *more))

    def pod_runs_or_ends(self) -> None:
        name = f"runs-{self.rng.randrange(6)}"
        if self.rng.randrange(2):
            self.cluster.remove_pod(PodKey("default", name))
            return
        self.counter += 1
        running = Pod(
            "default",
            name,
            uid=name,
            resource_version=str(self.counter),
            node_name=self.rng.choice(NODES),
            requests=MappingProxyType({"cpu": self.rng.randint(1, 4)}),
        )
        self.cluster.apply_pod(running)

    def claim_is_released(self) -> None:
        if self.held:
            key = self.held.pop(self.rng.randrange(len(self.held)))
            self.cluster.remove_claim(key)

    # --- questions

    def ask(self, question: tuple[ResourceClaim, ...], pod: Pod) -> None:
        quick = decide_claims_quickly(self.cluster, pod, question, budget=DEFAULT_BUDGET)
        thorough = decide_claims(self.cluster, pod, question, budget=DEFAULT_BUDGET)
        self.answers[f"{question[0].name}: {type(thorough).__name__}"] += 1
        if isinstance(thorough, NoFit):
            assert isinstance(quick, NotFound | NoFit), (question, quick, thorough)
        elif isinstance(thorough, Allocate):
            assert isinstance(quick, Allocate), (question, quick, thorough)
            assert quick.placed.node == thorough.placed.node, question
            assert quick.placed.results == thorough.placed.results
            if self.rng.randrange(3):
                self._take(quick)
            elif self.rng.randrange(3) == 0:
                self._ask_with_a_claim_allocated(quick, pod)
        else:
            assert quick == thorough

    def _take(self, verdict: Allocate) -> None:
        for claim, result in zip(verdict.claims, verdict.placed.results, strict=True):
            self.counter += 1
            taken = replace(
                claim,
                name=f"held-{self.counter}",
                uid=f"held-{self.counter}",
                resource_version=str(self.counter),
                allocation=replace(
                    result,
                    devices=tuple(
                        each
                        if each.share_id is None
                        else replace(each, share_id=f"{each.share_id}-{self.counter}")
                        for each in result.devices
                    ),
                ),
            )
            self.cluster.apply_claim(taken)
            self.held.append(taken.key)

    def _ask_with_a_claim_allocated(self, verdict: Allocate, pod: Pod) -> None:
        given = replace(verdict.claims[0], allocation=verdict.placed.results[0])
        claims = (given, builders.a_claim(name="beside"))
        quick = decide_claims_quickly(self.cluster, pod, claims, budget=DEFAULT_BUDGET)
        thorough = decide_claims(self.cluster, pod, claims, budget=DEFAULT_BUDGET)
        if isinstance(thorough, Allocate) and isinstance(quick, Allocate):
            assert (quick.placed.node, quick.placed.results) == (
                thorough.placed.node,
                thorough.placed.results,
            )
        else:
            assert type(quick) is type(thorough)


def _node(name: str, zone: str, cpu: int) -> Node:
    return replace(
        builders.a_node(name, zone=zone), allocatable=MappingProxyType({"cpu": cpu, "pods": 9})
    )


@pytest.mark.parametrize("seed", range(12))
def test_skipping_nodes_changes_no_answer(seed: int) -> None:
    Walk(seed).go(300)


def test_the_walks_meet_every_answer_to_every_question() -> None:
    answers: Counter[str] = Counter()
    for seed in range(4):
        walk = Walk(seed)
        walk.go(300)
        answers += walk.answers
    missing = [
        f"{question[0].name}: {answer}"
        for question in QUESTIONS
        for answer in ("Allocate", "NoFit")
        if question[0].name not in {"no-class", "no-cel"}
        and not answers[f"{question[0].name}: {answer}"]
    ]
    assert missing == []
    assert answers["fails: Blocked"]
