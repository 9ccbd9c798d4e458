# SPDX-License-Identifier: Apache-2.0
"""The ledger: the cluster as observed, with what Berth has decided and not yet seen.

Decides what each event changes: which devices are in use, which pods have to be decided again.
Never decides about a pod, never writes. A device becomes free only when an observed object says
so, or when ``forget`` says that a write did not happen.

Source: KEP-4381; KEP-5504 for comparing resource versions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from berth.engine.snapshot import Snapshot
from berth.model.claims import ClaimKey, ResourceClaim, ResourceClaimTemplate
from berth.model.devices import DeviceID
from berth.model.features import Features
from berth.model.nodes import Node
from berth.model.pods import Pod, PodClaimReference, PodKey
from berth.model.policy import AllocationPolicy, Placement
from berth.model.results import AllocationResult
from berth.model.slices import DeviceClass, DeviceTaintRule, ResourceSlice
from berth.model.usage import NodeState
from berth.state.assumed import Assumption, Assumptions
from berth.state.claims_index import ClaimsIndex, is_news
from berth.state.devices_in_use import DevicesInUse
from berth.state.node_usage import NodeUsage
from berth.state.ownership import Ownership
from berth.state.pods_index import PodsIndex, concerns_allocation
from berth.state.published import Published, put
from berth.state.versions import is_older
from berth.state.wakeups import Wakeups


class Cluster:
    """Everything that decisions are made of; one event at a time, from one task.

    The mappings are live views: they change with the next event.
    """

    def __init__(self, features: Features = Features()) -> None:  # noqa: B008 - a frozen value
        self._features = features
        self._claims = ClaimsIndex()
        self._pods = PodsIndex()
        self._in_use = DevicesInUse()
        self.in_use = self._in_use.view
        self._usage = NodeUsage()
        self._assumed = Assumptions()
        self._published = Published(features, self._in_use.view)
        self.prospects = self._published.prospects
        """Which nodes are worth looking at; current with every event."""
        self._in_use.on_change = self.prospects.use_changed
        self._usage.on_eased = self.prospects.node_eased
        self._ownership = Ownership(self._published)
        self._wakeups = Wakeups()
        self._templates: dict[tuple[str, str], ResourceClaimTemplate] = {}
        self.claims: Mapping[ClaimKey, ResourceClaim] = MappingProxyType(self._claims.claims)
        self.pods: Mapping[PodKey, Pod] = MappingProxyType(self._pods.pods)
        self.nodes: Mapping[str, Node] = MappingProxyType(self._usage.nodes)
        self.slices: Mapping[str, ResourceSlice] = MappingProxyType(self._published.slices)
        self.taint_rules: Mapping[str, DeviceTaintRule] = MappingProxyType(self._published.rules)
        self.published = self._published
        self.fence_rules = MappingProxyType(self._published.fence.rules)
        self.fence_of_drivers = self._published.fence.of_drivers
        self.classes: Mapping[str, DeviceClass] = MappingProxyType(self._published.classes)
        self.templates: Mapping[tuple[str, str], ResourceClaimTemplate] = MappingProxyType(
            self._templates
        )
        self.policies: Mapping[str, AllocationPolicy] = MappingProxyType(self._ownership.policies)
        self.namespaces: Mapping[str, Mapping[str, str]] = MappingProxyType(
            self._ownership.namespaces
        )
        self.assumed_claims: Mapping[ClaimKey, Assumption] = MappingProxyType(self._assumed.claims)
        self.waiting: AbstractSet[PodKey] = self._wakeups.waiting

    # --- claims

    def apply_claim(self, claim: ResourceClaim) -> None:
        """Take note of a claim as observed; one that is older than what is known is ignored."""
        key = claim.key
        known = self._claims.claims.get(key)
        if known is not None:
            if is_older(claim.resource_version, known.resource_version):
                return
            if known.uid != claim.uid:
                self.remove_claim(key)
                known = None
        held = self._assumed.after_claim(claim)
        self._claims.put(claim)
        if self._in_use.hold(key, held):
            self._wakeups.may_fit_now()
        if known is None or is_news(known, claim):
            self._wakeups.mark(self.pods_of_claim(key))

    def remove_claim(self, key: ClaimKey, uid: str = "") -> None:
        """Take note that a claim is gone; ignored where ``uid`` is not that of the known one."""
        known = self._claims.claims.get(key)
        if known is None or (uid and known.uid != uid):
            return
        concerned = self.pods_of_claim(key)
        self._claims.drop(key)
        self._assumed.end(key)
        if self._in_use.hold(key, None):
            self._wakeups.may_fit_now()
        self._wakeups.mark(concerned)

    def confirm_claim(self, claim: ResourceClaim) -> None:
        """Take note of the API server's answer to a write: what was assumed is now known.

        An answer that comes after the claim's deletion was seen changes nothing: the claim would
        hold its devices for ever.
        """
        known = self._claims.claims.get(claim.key)
        if known is None or known.uid != claim.uid:
            return
        if is_older(claim.resource_version, known.resource_version):
            # A newer state was seen before; if it had no allocation, it took ours back.
            claim = known
        self._assumed.end(claim.key)
        self.apply_claim(claim)

    # --- pods

    def apply_pod(self, pod: Pod) -> None:
        """Take note of a pod as observed; one that is older than what is known is ignored."""
        key = pod.key
        known = self._pods.pods.get(key)
        if known is not None:
            if is_older(pod.resource_version, known.resource_version):
                return
            if known.uid != pod.uid:
                self.remove_pod(key)
                known = None
        self._pods.put(pod)
        if self._place(key):
            self._wakeups.may_fit_now()
        if concerns_allocation(known, pod):
            self._wakeups.mark((key,))

    def confirm_pod(self, pod: Pod) -> None:
        """Take note of the API server's answer to a write; ignored once the pod is gone."""
        known = self._pods.pods.get(pod.key)
        if known is not None and known.uid == pod.uid:
            self.apply_pod(pod)

    def remove_pod(self, key: PodKey, uid: str = "") -> None:
        """Take note that a pod is gone; ignored where ``uid`` is not that of the known one.

        What was assumed for its claims stays: those writes may still take effect.
        """
        known = self._pods.pods.get(key)
        if known is None or (uid and known.uid != uid):
            return
        self._pods.drop(key)
        self._assumed.nodes.pop(key, None)
        self._wakeups.gone(key)
        if self._place(key):
            self._wakeups.may_fit_now()

    # --- what is published, and by whom it is allocated

    def apply_node(self, node: Node) -> None:
        """Take note of a node as observed."""
        if self._usage.nodes.get(node.name) != node:
            self._usage.put_node(node)
            self.prospects.node_changed(node.name)
            self._wakeups.may_fit_now()

    def remove_node(self, name: str) -> None:
        """Take note that a node is gone."""
        if name in self._usage.nodes:
            self._usage.drop_node(name)
            self.prospects.node_gone(name)
            self._wakeups.may_fit_now()

    def apply_slice(self, published: ResourceSlice) -> None:
        """Take note of a slice as observed."""
        if self._published.put_slice(published):
            self._wakeups.may_fit_now()

    def remove_slice(self, name: str) -> None:
        """Take note that a slice is gone."""
        if self._published.drop_slice(name):
            self._wakeups.may_fit_now()

    def apply_class(self, device_class: DeviceClass) -> None:
        """Take note of a DeviceClass as observed."""
        if self._published.put_class(device_class):
            self._class_changed(device_class.name)

    def remove_class(self, name: str) -> None:
        """Take note that a DeviceClass is gone."""
        if self._published.drop_class(name):
            self._class_changed(name)

    def apply_taint_rule(self, rule: DeviceTaintRule) -> None:
        """Take note of a DeviceTaintRule as observed; as part of the fence it must settle."""
        if self._published.put_rule(rule):
            self._ownership_changed(self._pods.pending)

    def remove_taint_rule(self, name: str) -> None:
        """Take note that a DeviceTaintRule is gone."""
        if self._published.drop_rule(name):
            self._ownership_changed(self._pods.pending)

    def settle_fence(self, rule: DeviceTaintRule) -> None:
        """Let ``rule`` count as a part of the fence: whoever was at work before it has ended."""
        if self._published.fence.settle(rule):
            self._ownership_changed(self._pods.pending)

    def apply_template(self, template: ResourceClaimTemplate) -> None:
        """Take note of a ResourceClaimTemplate as observed."""
        key = (template.namespace, template.name)
        if put(self._templates, key, template):
            self._wakeups.mark(self._pods.of_template(*key))

    def remove_template(self, namespace: str, name: str) -> None:
        """Take note that a ResourceClaimTemplate is gone."""
        if self._templates.pop((namespace, name), None) is not None:
            self._wakeups.mark(self._pods.of_template(namespace, name))

    def apply_policy(self, policy: AllocationPolicy) -> None:
        """Take note of an AllocationPolicy as observed."""
        if self._ownership.put_policy(policy):
            self._ownership_changed(self._pods.pending)

    def remove_policy(self, name: str) -> None:
        """Take note that an AllocationPolicy is gone."""
        if self._ownership.policies.pop(name, None) is not None:
            self._ownership_changed(self._pods.pending)

    def apply_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Take note of a namespace's labels as observed."""
        if self._ownership.put_namespace(name, labels):
            self._ownership_changed(key for key in self._pods.pending if key.namespace == name)

    def remove_namespace(self, name: str) -> None:
        """Take note that a namespace is gone."""
        if self._ownership.namespaces.pop(name, None) is not None:
            self._ownership_changed(key for key in self._pods.pending if key.namespace == name)

    # --- decisions that are not yet seen

    def assume(
        self, pod: PodKey, node: str | None, allocations: Mapping[ClaimKey, AllocationResult]
    ) -> None:
        """Take the devices of a decision at once, and the pod's resources on ``node``.

        Args:
            pod: Whom the decision is for.
            node: Where it will run, ``None`` where that stays open.
            allocations: What its claims get; each is observed without an allocation, and is not
                assumed for anybody else.
        """
        self._assumed.assume(pod, node, allocations, self._claims.claims)
        for key, result in allocations.items():
            self._in_use.hold(key, result)
        if self._place(pod):
            self._wakeups.may_fit_now(but=pod)

    def forget(self, pod: PodKey, claim: ClaimKey | None = None) -> None:
        """Drop what is assumed for ``pod``, or for one claim: that write certainly did not happen.

        What an observed object says stays as it is. The pod itself is not marked dirty.
        """
        keys = self._assumed.claims_of(pod) if claim is None else (claim,)
        freed = False
        for key in keys:
            assumption = self.assumed_claims.get(key)
            if assumption is None or assumption.pod != pod:
                continue
            self._assumed.end(key)
            freed |= self._in_use.hold(key, None)
            self._wakeups.mark(other for other in self.pods_of_claim(key) if other != pod)
        if claim is None:
            self._assumed.nodes.pop(pod, None)
            freed |= self._place(pod)
        if freed:
            self._wakeups.may_fit_now(but=pod)

    # --- work

    def wait(self, pod: PodKey, question: Hashable = None) -> None:
        """Have ``pod`` decided again when anything happens that could change a "no".

        Pods with the same ``question`` get the same answer: they are decided one after the other.
        """
        if pod in self._pods.pods:
            self._wakeups.wait(pod, question)

    def stop_waiting(self, pod: PodKey) -> None:
        """Have ``pod`` decided again only when it or its claims change."""
        self._wakeups.stop_waiting(pod)

    def mark_dirty(self, pod: PodKey) -> None:
        """Have ``pod`` decided again."""
        self._wakeups.mark((pod,))

    def take_dirty(self) -> frozenset[PodKey]:
        """Return the pods whose answer may have changed since the last call."""
        return self._wakeups.take()

    # --- reading

    def claim_of(self, pod: Pod, reference: PodClaimReference) -> ResourceClaim | None:
        """Return the claim that ``reference`` of ``pod`` stands for, ``None`` if there is none."""
        return self._claims.resolve(pod, reference)

    def pods_of_claim(self, key: ClaimKey) -> tuple[PodKey, ...]:
        """Return the pods that refer to the claim, and the pod that it was made for."""
        pods = self._pods.of_claim(key)
        claim = self._claims.claims.get(key)
        owner = self._pods.by_uid.get(claim.controller_uid) if claim is not None else None
        if owner is None or owner in pods:
            return pods
        return tuple(sorted((*pods, owner)))

    def pods_of_template(self, namespace: str, name: str) -> tuple[PodKey, ...]:
        """Return the pods with a reference to the template."""
        return self._pods.of_template(namespace, name)

    def claims_reserved_or_owned(self, pod: PodKey, uid: str | None) -> tuple[ResourceClaim, ...]:
        """Return the claims that name ``pod`` as a consumer, or were made for it.

        Consumers go by name, so that what an earlier pod of the name left is found too; an owner
        goes by ``uid``, where that is given.
        """
        named = self._claims.naming(pod)
        if uid is None:
            return named
        return tuple(
            claim
            for claim in named
            if claim.controller_uid == uid
            or any(consumer.name == pod.name for consumer in claim.reserved_for)
        )

    def is_ours(self, claim: ResourceClaim) -> bool:
        """Tell whether an AllocationPolicy makes the claim Berth's to allocate."""
        return self._ownership.policy_of(claim) is not None

    def knows_namespace(self, name: str) -> bool:
        """Tell whether the namespace has been seen; until then ``is_ours`` is a guess."""
        return name in self._ownership.namespaces

    def placement_policy(self, claims: Iterable[ResourceClaim]) -> Placement:
        """Return how to choose among the nodes for a pod with ``claims``.

        Where policies disagree, the one of the first claim counts.
        """
        policies = (self._ownership.policy_of(claim) for claim in claims)
        return next((p.placement for p in policies if p is not None), Placement.FIRST_FIT)

    def node_states(self, without: PodKey | None = None) -> tuple[NodeState, ...]:
        """Return all nodes in order of name with what their pods request.

        Pods count from the decision on, also before they are bound. ``without`` leaves out one
        pod: the one that is about to be decided.
        """
        return self._usage.states(without)

    def node_at(self, rank: int, without: PodKey) -> NodeState:
        """Return one node of ``node_states``, by its place there."""
        return self._usage.state_at(rank, without)

    def node_of(self, pod: PodKey) -> str:
        """Return the node that ``pod`` counts on, empty where there is none."""
        return self._usage.node_of(pod)

    def snapshot(self) -> Snapshot:
        """Return what the engine may look at; valid until the next event or assumption."""
        return Snapshot(self._published.inventory, self.classes, self._in_use.view, self._features)

    def overlaps(self) -> tuple[tuple[DeviceID, tuple[ClaimKey, ...]], ...]:
        """Return the devices that two or more claims hold exclusively, as observed."""
        return self._in_use.overlaps(self.assumed_claims)

    def _place(self, key: PodKey) -> bool:
        """Let the pod count on the node it belongs to now; tell whether anything became free."""
        pod = self._pods.pods.get(key)
        return self._usage.put_pod(key, "" if pod is None else self._assumed.after_pod(pod), pod)

    def _class_changed(self, name: str) -> None:
        self._wakeups.may_fit_now()
        self._wakeups.mark(pod for pod in self._pods.pending if self._names_class(pod, name))

    def _names_class(self, key: PodKey, class_name: str) -> bool:
        pod = self.pods[key]
        claims = (self.claim_of(pod, reference) for reference in pod.claims)
        return any(claim is not None and class_name in claim.spec.class_names for claim in claims)

    def _ownership_changed(self, concerned: Iterable[PodKey]) -> None:
        self._wakeups.may_fit_now()
        # Not only those that wait: what was nobody's business may be ours now.
        self._wakeups.mark(concerned)
