# SPDX-License-Identifier: Apache-2.0
"""Small ledgers for the audit: sound objects, from which a test takes away or adds one thing.

``a_sound_cluster()`` has node ``node-1`` with devices ``gpu-0`` … ``gpu-3``, namespace ``ml``, a
policy for everything, and claim ``ml/a`` that holds ``gpu-0`` for the running pod ``ml/p``.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from berth.audit.finding import Finding
from berth.audit.sweep import audit
from berth.audit.view import Scope
from berth.audit.words import seconds_of
from berth.model.claims import (
    DELETE_PROTECTION_FINALIZER,
    ClaimKey,
    ConsumerReference,
    ResourceClaim,
)
from berth.model.nodes import (
    Node,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
)
from berth.model.pods import Pod, PodClaimReference
from berth.model.policy import AllocationPolicy
from berth.model.results import AllocationResult, DeviceResult
from berth.model.slices import DeviceTaintRule, ResourceSlice
from berth.quantity import Quantity
from berth.state.cluster import Cluster
from tests.support.builders import DRIVER, NODE, a_claim, a_node, a_slice, devices

NOW_TEXT = "2026-11-24T12:00:00Z"
NOW = seconds_of(NOW_TEXT) or 0
LONG_AGO = "2026-11-24T09:00:00Z"
JUST_NOW = "2026-11-24T11:59:58Z"


def a_result(device: str = "gpu-0", **fields: Any) -> DeviceResult:
    return DeviceResult("gpu", DRIVER, fields.pop("pool", NODE), device, **fields)


def a_share(device: str, share: str, **consumed: str) -> DeviceResult:
    amounts = MappingProxyType({name: Quantity.parse(text) for name, text in consumed.items()})
    return a_result(device, share_id=share, consumed_capacity=amounts or None)


def on_node(name: str) -> NodeSelector:
    """The selector of local devices, in the one form that the API server knows."""
    requirement = NodeSelectorRequirement("metadata.name", "In", (name,))
    return NodeSelector((NodeSelectorTerm(match_fields=(requirement,)),))


def an_allocation(*results: DeviceResult, node: str = NODE, at: str = LONG_AGO) -> AllocationResult:
    selector = on_node(node) if node else None
    return AllocationResult(results or (a_result(),), node_selector=selector, timestamp=at)


def consumer(pod: str, uid: str = "") -> ConsumerReference:
    return ConsumerReference("pods", pod, uid or f"uid-of-{pod}")


def holding(
    name: str, *results: DeviceResult, pods: tuple[str, ...] = ("p",), **fields: Any
) -> ResourceClaim:
    """A claim in ``ml`` that holds the devices for ``pods``, with everything in order."""
    allocation = fields.pop("allocation", None) or an_allocation(*results)
    return replace(
        a_claim(name=name, namespace="ml"),
        finalizers=(DELETE_PROTECTION_FINALIZER,),
        allocation=allocation,
        reserved_for=tuple(map(consumer, pods)),
        created=LONG_AGO,
        **fields,
    )


def a_pod(name: str = "p", *claims: str, **fields: Any) -> Pod:
    """A pod in ``ml`` that runs on the node, and refers to ``claims``."""
    return replace(
        Pod(
            "ml",
            name,
            uid=f"uid-of-{name}",
            phase="Running",
            node_name=NODE,
            claims=tuple(PodClaimReference(each, claim_name=each) for each in claims),
        ),
        **fields,
    )


def a_cluster(*objects: object) -> Cluster:
    """A ledger with the objects, and the node, namespace and policy of all of them."""
    cluster = Cluster()
    cluster.apply_namespace("ml", {})
    cluster.apply_policy(AllocationPolicy("everything"))
    cluster.apply_node(a_node())
    for each in objects:
        match each:
            case ResourceSlice():
                cluster.apply_slice(each)
            case ResourceClaim():
                cluster.apply_claim(each)
            case Pod():
                cluster.apply_pod(each)
            case Node():
                cluster.apply_node(each)
            case DeviceTaintRule():
                cluster.apply_taint_rule(each)
            case AllocationPolicy():
                cluster.apply_policy(each)
            case _:
                raise AssertionError(f"no such kind of object: {each!r}")
    return cluster


def a_sound_cluster(*others: object) -> Cluster:
    return a_cluster(a_slice(devices(4)), holding("a"), a_pod("p", "a"), *others)


def found(cluster: Cluster, scope: Scope = Scope()) -> list[str]:  # noqa: B008 - a frozen value
    """What the audit says, each as ``Kind: evidence``."""
    return [f"{each.kind}: {each.evidence}" for each in audit(cluster, NOW, scope)]


def only(cluster: Cluster, scope: Scope = Scope()) -> Finding:  # noqa: B008 - as above
    """The one thing that the audit finds."""
    (finding,) = audit(cluster, NOW, scope)
    return finding


def keys(finding: Finding) -> list[str]:
    return [str(ClaimKey(each.namespace, each.name)) for each in finding.objects]
