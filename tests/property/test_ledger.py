# SPDX-License-Identifier: Apache-2.0
"""After any sequence of events the ledger is what the current objects and decisions make it.

The machine keeps the objects itself and computes what follows from them in the plainest way. It
shares no code with the indexes: a second ledger that is fed the current objects only checks them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from berth.model.claims import (
    POD_CLAIM_NAME_ANNOTATION,
    ClaimKey,
    ConsumerReference,
    OwnerReference,
    ResourceClaim,
)
from berth.model.devices import DeviceID
from berth.model.nodes import Node
from berth.model.pods import SCHEDULING_GATE, HostPort, Pod, PodClaimReference, PodKey
from berth.model.results import AllocationResult, DeviceResult
from berth.model.usage import NodeState
from berth.quantity import Quantity
from berth.state.cluster import Cluster

pytestmark = pytest.mark.property

NAMESPACE = "ml"
CLAIM_NAMES = ("a", "b", "c")
POD_NAMES = ("p", "q", "r")
NODE_NAMES = ("n1", "n2")

claim_keys = st.sampled_from([ClaimKey(NAMESPACE, name) for name in CLAIM_NAMES])
pod_keys = st.sampled_from([PodKey(NAMESPACE, name) for name in POD_NAMES])
node_names = st.sampled_from(NODE_NAMES)

exclusive = st.builds(
    lambda device, admin: DeviceResult("r", "d", "pool", device, admin_access=admin),
    st.sampled_from(["x", "y", "z"]),
    st.sampled_from([False, False, False, True]),
)
shares = st.builds(
    lambda device, share, amounts: DeviceResult(
        "r", "d", "pool", device, share_id=share, consumed_capacity=amounts or None
    ),
    st.sampled_from(["s", "t"]),
    st.sampled_from(["1", "2"]),
    st.dictionaries(
        st.sampled_from(["memory", "cores"]),
        st.integers(0, 3).map(Quantity.of),
    ),
)
allocations = st.builds(
    AllocationResult,
    devices=st.lists(
        exclusive | shares, max_size=3, unique_by=lambda r: (r.device, r.share_id)
    ).map(tuple),
)
requests = st.dictionaries(
    st.sampled_from(["cpu", "memory"]), st.integers(0, 3).map(lambda n: n * 100)
)
ports = st.lists(st.sampled_from([HostPort("TCP", 80), HostPort("TCP", 81)]), max_size=1)
references = st.lists(
    st.sampled_from(
        [
            PodClaimReference("one", claim_name="a"),
            PodClaimReference("two", claim_name="b"),
            PodClaimReference("three", template_name="t"),
        ]
    ),
    max_size=2,
    unique=True,
).map(tuple)


@dataclass(frozen=True)
class Decision:
    pod: PodKey
    claim_uid: str
    result: AllocationResult


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Cluster()
        self.version = 100
        self.claims: dict[ClaimKey, ResourceClaim] = {}
        self.pods: dict[PodKey, Pod] = {}
        self.nodes: dict[str, Node] = {}
        self.decided: dict[ClaimKey, Decision] = {}
        self.decided_nodes: dict[PodKey, str] = {}
        self.past_claims: list[ResourceClaim] = []
        self.past_pods: list[Pod] = []
        self.gone: set[str] = set()
        self.in_use_before = self.in_use()
        self.used_before = self.node_states()
        self.forgetting: PodKey | None = None

    def next_version(self) -> str:
        self.version += 1
        return str(self.version)

    def undecided(self) -> list[ClaimKey]:
        return sorted(
            key
            for key, claim in self.claims.items()
            if claim.allocation is None and key not in self.decided
        )

    def unbound(self) -> list[PodKey]:
        return sorted(
            key for key, pod in self.pods.items() if not pod.node_name and not pod.is_terminal
        )

    @initialize(pods=st.sets(pod_keys), claims=st.sets(claim_keys), nodes=st.sets(node_names))
    def begin(self, pods: set[PodKey], claims: set[ClaimKey], nodes: set[str]) -> None:
        for name in sorted(nodes):
            self.nodes[name] = Node(name)
            self.ledger.apply_node(self.nodes[name])
        for pod_key in sorted(pods):
            version = self.next_version()
            pod = Pod(*pod_key, uid=f"pod-{version}", resource_version=version)
            self.pods[pod_key] = pod
            self.ledger.apply_pod(pod)
            self.ledger.wait(pod_key)
        for key in sorted(claims):
            version = self.next_version()
            claim = ResourceClaim(*key, uid=f"claim-{version}", resource_version=version)
            self.observe(claim)
            self.ledger.apply_claim(claim)

    # --- events of claims

    def observe(self, claim: ResourceClaim) -> None:
        decision = self.decided.get(claim.key)
        if decision and (claim.allocation is not None or claim.uid != decision.claim_uid):
            del self.decided[claim.key]
        if claim.key in self.claims and self.claims[claim.key].uid != claim.uid:
            self.gone.add(self.claims[claim.key].uid)
        self.claims[claim.key] = claim
        self.past_claims.append(claim)

    @rule(
        key=claim_keys,
        allocation=st.none() | allocations,
        consumer=st.none() | pod_keys,
        owner=st.none() | pod_keys,
        recreated=st.booleans(),
    )
    def claim_event(
        self,
        *,
        key: ClaimKey,
        allocation: AllocationResult | None,
        consumer: PodKey | None,
        owner: PodKey | None,
        recreated: bool,
    ) -> None:
        known = self.claims.get(key)
        version = self.next_version()
        uid = known.uid if known and not recreated else f"claim-{version}"
        owning = self.pods.get(owner) if owner else None
        claim = ResourceClaim(
            *key,
            uid=uid,
            resource_version=version,
            allocation=allocation,
            annotations=MappingProxyType({POD_CLAIM_NAME_ANNOTATION: "three"}),
            owners=(OwnerReference("Pod", owning.name, owning.uid, controller=True),)
            if owning
            else (),
            reserved_for=(ConsumerReference("pods", consumer.name, "u"),) if consumer else (),
        )
        self.observe(claim)
        self.ledger.apply_claim(claim)

    @precondition(lambda self: self.past_claims)
    @rule(data=st.data())
    def a_late_event_of_a_claim_that_still_exists(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.past_claims))
        if claim.key in self.claims:
            self.ledger.apply_claim(claim)

    @rule(key=claim_keys)
    def claim_deleted(self, key: ClaimKey) -> None:
        known = self.claims.pop(key, None)
        self.ledger.remove_claim(key, known.uid if known else "")
        if known:
            self.gone.add(known.uid)
            self.decided.pop(key, None)

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def claim_deleted_while_it_is_written(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.decided)))
        del self.decided[key]
        self.gone.add(self.claims.pop(key).uid)
        self.ledger.remove_claim(key)

    @rule(key=claim_keys)
    def a_late_deletion_of_an_earlier_claim(self, key: ClaimKey) -> None:
        self.ledger.remove_claim(key, "uid-of-long-ago")

    # --- decisions

    @precondition(lambda self: self.undecided() and self.unbound())
    @rule(data=st.data(), node=st.none() | node_names, result=allocations)
    def decide(self, data: st.DataObject, node: str | None, result: AllocationResult) -> None:
        key = data.draw(st.sampled_from(self.undecided()))
        pod = data.draw(st.sampled_from(self.unbound()))
        self.decided[key] = Decision(pod, self.claims[key].uid, result)
        if node is not None:
            self.decided_nodes[pod] = node
        self.ledger.assume(pod, node, {key: result})

    @precondition(lambda self: self.decided)
    @rule(data=st.data(), dropped=st.booleans())
    def write_answered(self, *, data: st.DataObject, dropped: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.decided)))
        allocation = None if dropped else self.decided[key].result
        written = replace(
            self.claims[key], allocation=allocation, resource_version=self.next_version()
        )
        del self.decided[key]
        self.observe(written)
        self.ledger.confirm_claim(written)

    @precondition(lambda self: self.decided)
    @rule(data=st.data())
    def write_answered_after_a_newer_state_was_seen(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.decided)))
        written = replace(
            self.claims[key],
            allocation=self.decided[key].result,
            resource_version=self.next_version(),
        )
        freed = replace(self.claims[key], resource_version=self.next_version())
        self.observe(freed)
        self.ledger.apply_claim(freed)
        del self.decided[key]
        self.ledger.confirm_claim(written)

    @precondition(lambda self: self.past_claims)
    @rule(data=st.data())
    def write_answered_after_the_claim_is_gone(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.past_claims))
        if claim.uid in self.gone:
            self.ledger.confirm_claim(replace(claim, resource_version=self.next_version()))

    @rule(pod=pod_keys, key=st.none() | claim_keys)
    def write_did_not_happen(self, pod: PodKey, key: ClaimKey | None) -> None:
        self.forgetting = pod
        for claim in [key] if key else list(self.decided):
            if claim in self.decided and self.decided[claim].pod == pod:
                del self.decided[claim]
        if key is None:
            self.decided_nodes.pop(pod, None)
        self.ledger.forget(pod, key)

    # --- events of pods and nodes

    @rule(
        key=pod_keys,
        node=st.just("") | node_names,
        phase=st.sampled_from(["Pending", "Running", "Succeeded"]),
        gated=st.booleans(),
        claims=references,
        recorded=st.sampled_from([None, "a", "c"]),
        asked=requests,
        host_ports=ports,
        recreated=st.booleans(),
    )
    def pod_event(
        self,
        *,
        key: PodKey,
        node: str,
        phase: str,
        gated: bool,
        claims: tuple[PodClaimReference, ...],
        recorded: str | None,
        asked: dict[str, int],
        host_ports: list[HostPort],
        recreated: bool,
    ) -> None:
        known = self.pods.get(key)
        version = self.next_version()
        uid = known.uid if known and not recreated else f"pod-{version}"
        pod = Pod(
            *key,
            uid=uid,
            resource_version=version,
            node_name=node,
            phase=phase,
            gates=(SCHEDULING_GATE,) if gated else (),
            claims=claims,
            claim_names=MappingProxyType({"three": recorded} if recorded else {}),
            requests=asked,
            host_ports=tuple(host_ports),
        )
        if known is None or known.uid != uid or node or pod.is_terminal:
            self.decided_nodes.pop(key, None)
        self.pods[key] = pod
        self.past_pods.append(pod)
        self.ledger.apply_pod(pod)

    @precondition(lambda self: self.past_pods)
    @rule(data=st.data())
    def a_late_event_of_a_pod_that_still_exists(self, data: st.DataObject) -> None:
        pod = data.draw(st.sampled_from(self.past_pods))
        if pod.key in self.pods:
            self.ledger.apply_pod(pod)

    @rule(key=pod_keys)
    def pod_deleted(self, key: PodKey) -> None:
        known = self.pods.pop(key, None)
        self.decided_nodes.pop(key, None)
        self.ledger.remove_pod(key, known.uid if known else "")

    @rule(name=node_names, cpu=st.integers(1, 2))
    def node_event(self, name: str, cpu: int) -> None:
        self.nodes[name] = Node(name, allocatable=MappingProxyType({"cpu": cpu * 1000}))
        self.ledger.apply_node(self.nodes[name])

    @rule(name=node_names)
    def node_deleted(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.ledger.remove_node(name)

    @rule(key=pod_keys)
    def wait(self, key: PodKey) -> None:
        self.ledger.wait(key)

    # --- what must hold

    @invariant()
    def what_is_observed_is_what_was_last_said(self) -> None:
        assert dict(self.ledger.claims) == self.claims
        assert dict(self.ledger.pods) == self.pods
        assert dict(self.ledger.nodes) == self.nodes
        assert {
            key: (assumed.pod, assumed.claim_uid, assumed.result)
            for key, assumed in self.ledger.assumed_claims.items()
        } == {key: (d.pod, d.claim_uid, d.result) for key, d in self.decided.items()}

    @invariant()
    def devices_in_use_follow_from_claims_and_decisions(self) -> None:
        view = self.ledger.snapshot().allocated
        assert (dict(view.holders), dict(view.shared), dict(view.capacity)) == self.in_use()
        assert dict(self.ledger.overlaps()) == self.overlaps()

    @invariant()
    def nodes_have_what_their_pods_request(self) -> None:
        assert self.ledger.node_states() == self.node_states()
        for key in self.pods:
            assert self.ledger.node_states(key) == self.node_states(without=key)

    def teardown(self) -> None:
        self.every_index_is_what_a_new_ledger_would_have()

    @rule()
    def every_index_is_what_a_new_ledger_would_have(self) -> None:
        anew = Cluster()
        for node in self.nodes.values():
            anew.apply_node(node)
        for pod in self.pods.values():
            anew.apply_pod(pod)
        for claim in self.claims.values():
            anew.apply_claim(claim)
        for key, decision in self.decided.items():
            anew.assume(decision.pod, None, {key: decision.result})
        for pod_key, name in self.decided_nodes.items():
            anew.assume(pod_key, name, {})
        assert contents(self.ledger) == contents(anew)

    @invariant()
    def who_waits_is_woken_by_what_came_free(self) -> None:
        dirty = self.ledger.take_dirty()
        freed = less(self.in_use_before, self.in_use()) or less_used(
            self.used_before, self.node_states()
        )
        if freed:
            assert self.ledger.waiting - {self.forgetting} <= dirty
        assert dirty <= self.pods.keys()
        self.forgetting = None
        self.in_use_before, self.used_before = self.in_use(), self.node_states()

    # --- the plain truth

    def held(self) -> dict[ClaimKey, tuple[DeviceResult, ...]]:
        held = {
            key: claim.allocation.devices
            for key, claim in self.claims.items()
            if claim.allocation is not None
        }
        return held | {key: decision.result.devices for key, decision in self.decided.items()}

    def in_use(self) -> tuple[dict[DeviceID, Any], dict[DeviceID, Any], dict[DeviceID, Any]]:
        holders: dict[DeviceID, list[str]] = {}
        sharing: dict[DeviceID, list[str]] = {}
        capacity: dict[DeviceID, dict[str, Quantity]] = {}
        for key, results in self.held().items():
            for result in results:
                device = result.device_id
                if result.share_id is None and not result.admin_access:
                    holders.setdefault(device, []).append(str(key))
                elif result.share_id is not None:
                    sharing.setdefault(device, []).append(str(key))
                    for name, amount in (result.consumed_capacity or {}).items():
                        sums = capacity.setdefault(device, {})
                        sums[name] = sums.get(name, Quantity(0)) + amount
        return (
            {device: tuple(sorted(names)) for device, names in holders.items()},
            {device: tuple(sorted(names)) for device, names in sharing.items()},
            capacity,
        )

    def overlaps(self) -> dict[DeviceID, tuple[ClaimKey, ...]]:
        holders: dict[DeviceID, list[ClaimKey]] = {}
        for key, claim in self.claims.items():
            for result in claim.allocation.devices if claim.allocation else ():
                if result.share_id is None and not result.admin_access:
                    holders.setdefault(result.device_id, []).append(key)
        return {d: tuple(sorted(keys)) for d, keys in holders.items() if len(keys) > 1}

    def node_states(self, without: PodKey | None = None) -> tuple[NodeState, ...]:
        states = []
        for name, node in sorted(self.nodes.items()):
            here = [
                pod
                for key, pod in self.pods.items()
                if key != without
                and not pod.is_terminal
                and (pod.node_name or self.decided_nodes.get(key)) == name
            ]
            used: Counter[str] = Counter()
            for pod in here:
                used.update(pod.requests)
            states.append(
                NodeState(
                    node,
                    {resource: amount for resource, amount in used.items() if amount},
                    len(here),
                    frozenset(port for pod in here for port in pod.host_ports),
                )
            )
        return tuple(states)


def contents(ledger: Cluster) -> tuple[object, ...]:
    return (
        ledger._claims.indexes(),
        ledger._pods.indexes(),
        ledger._in_use.contents(),
        ledger._in_use.contended,
        ledger._usage.contents(),
        ledger._assumed.claims,
        ledger._assumed.nodes,
        {pod: ledger._assumed.claims_of(pod) for pod in ledger.pods},
    )


def less(before: tuple[dict[DeviceID, Any], ...], after: tuple[dict[DeviceID, Any], ...]) -> bool:
    taken_before = {(kind, device) for kind in (0, 1) for device in before[kind]}
    taken_after = {(kind, device) for kind in (0, 1) for device in after[kind]}
    return bool(taken_before - taken_after) or any(
        after[2].get(device, {}).get(name, Quantity(0)) < amount
        for device, amounts in before[2].items()
        for name, amount in amounts.items()
    )


def less_used(before: tuple[NodeState, ...], after: tuple[NodeState, ...]) -> bool:
    now = {state.node.name: state for state in after}
    return any(
        (known := now.get(state.node.name)) is not None
        and (
            known.pods < state.pods
            or bool(state.host_ports - known.host_ports)
            or any(known.used.get(name, 0) < amount for name, amount in state.used.items())
        )
        for state in before
    )


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(stateful_step_count=30)
