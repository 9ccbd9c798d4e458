# SPDX-License-Identifier: Apache-2.0
"""Whether an allocation still stands while its pods have not started, and whether it may be undone.

Decides from the ledger alone; never what is allocated instead (``berth.decision``), and writes
nothing. An allocation that a pod may be using is never lost, whatever became of its devices: only
pods that Berth's own gate holds cannot have started, because the API server binds no gated pod.

Source: KEP-4381 (pools and generations), KEP-5055 (taints), KEP-3521 (scheduling gates); the
``allocationTimestamp`` rule of KEP-5007.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from berth.decision import NoFit
from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord
from berth.engine.rejections import PoolIncomplete
from berth.model.binding import Unready, broken_devices, unready_devices
from berth.model.claims import ConsumerReference, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.extended_resources import is_extended_resource_claim
from berth.model.nodes import NodeSelector
from berth.model.pods import Pod, PodKey
from berth.model.results import DeviceResult
from berth.state.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Lost:
    """An allocation that can be undone, and why it should be, as a clause of a message.

    ``avoid`` are devices that are not to be tried again for a while.
    """

    claim: ResourceClaim
    why: str
    avoid: tuple[DeviceID, ...] = ()


def lost_claims(cluster: Cluster, claims: Iterable[ResourceClaim]) -> tuple[Lost, ...]:
    """Return those of ``claims`` whose allocation does not stand any more and may be undone."""
    found = []
    for claim in claims:
        why = why_lost(cluster, claim)
        if why and is_idle(cluster, claim):
            found.append(Lost(claim, why, tuple(each.device for each in broken_devices(claim))))
    return tuple(found)


def why_lost(cluster: Cluster, claim: ResourceClaim) -> str:
    """Return why no pod could start with the allocation of ``claim`` now; empty where one could.

    A pool that is not complete says nothing about its devices: they count as being there.
    """
    allocation = claim.allocation
    if allocation is None:
        return ""
    if claim.deleting:
        return "the claim is being deleted"
    snapshot = cluster.snapshot()
    # Where binding conditions are off, the API server drops the timestamp, and nobody misses it.
    if not allocation.timestamp and snapshot.features.device_binding_and_status:
        return (
            "the allocation has no `allocationTimestamp`, so kube-scheduler can reserve it for "
            "nobody"
        )
    if _is_nowhere(cluster, allocation.node_selector):
        return f"no node has these devices any more: {_place(allocation.node_selector)} is gone"
    if snapshot.features.device_binding_and_status:
        for broken in broken_devices(claim):
            return str(broken)
    for result in allocation.devices:
        record, is_known = _published(snapshot.inventory, result.device_id)
        if record is None:
            if is_known:
                return f"device {result.device_id} is not published any more"
            continue
        if snapshot.features.device_taints:
            taint = _refusing_taint(record, result)
            if taint:
                return f"device {result.device_id} is tainted {taint}"
    return ""


def is_idle(cluster: Cluster, claim: ResourceClaim) -> bool:
    """Tell whether nobody can be using the allocation of ``claim``, and it is Berth's to undo.

    Every consumer is a pod that Berth's gate holds, and no pod that refers to the claim has a
    node. A consumer that is not known, or is on its way out, is for the resourceclaim controller.
    """
    if not cluster.is_ours(claim) or is_extended_resource_claim(claim):
        return False
    return all(consumer_pod(cluster, claim, each) for each in claim.reserved_for) and not any(
        cluster.pods[key].node_name and not cluster.pods[key].is_terminal
        for key in cluster.pods_of_claim(claim.key)
    )


def consumer_pod(cluster: Cluster, claim: ResourceClaim, consumer: ConsumerReference) -> Pod | None:
    """Return the consumer if it is a pod that Berth's gate holds, ``None`` otherwise."""
    if consumer.resource != "pods" or consumer.api_group:
        return None
    pod = cluster.pods.get(PodKey(claim.namespace, consumer.name))
    if pod is None or pod.uid != consumer.uid or pod.node_name:
        return None
    return pod if pod.is_gated and not pod.is_terminal and not pod.deleting else None


def unready_claims(
    cluster: Cluster, claims: Iterable[ResourceClaim]
) -> tuple[tuple[ResourceClaim, tuple[Unready, ...]], ...]:
    """Return the claims whose devices a pod has to wait for, each with those devices.

    None where one of the claims is not allocated yet, or not Berth's: then the pod has more to
    wait for, and not by Berth.
    """
    claims = tuple(claims)
    if not cluster.snapshot().features.device_binding_and_status or any(
        each.allocation is None or not cluster.is_ours(each) for each in claims
    ):
        return ()
    return tuple((claim, unready) for claim in claims if (unready := unready_devices(claim)))


def hoarded_claims(cluster: Cluster, verdict: NoFit) -> tuple[ResourceClaim, ...]:
    """Return the allocated claims of a pod that fits nowhere, where they are to be given up.

    They were allocated for a node that does not take the pod any more, or beside claims that
    cannot be had there: all claims of a pod are allocated, or none. Empty where the "no" is not
    certain, because a search gave up or a pool is not complete.
    """
    outcomes = (verdict.outcome, verdict.elsewhere)
    if any(each.undecided for each in outcomes):
        return ()
    inventory = cluster.snapshot().inventory
    for name in (name for each in outcomes for name in each.no_fit):
        node = cluster.nodes.get(name)
        if node is None or any(
            isinstance(problem, PoolIncomplete) for problem in inventory.view(node).problems
        ):
            return ()
    return tuple(claim for claim in verdict.allocated if is_idle(cluster, claim))


def _published(inventory: Inventory, device: DeviceID) -> tuple[DeviceRecord | None, bool]:
    """Return the device as published, and whether its absence would be certain."""
    records = inventory.slices_by_pool.get(device.pool_id, ())
    newest = max((each.slice.generation for each in records), default=0)
    current = [each for each in records if each.slice.generation == newest]
    for each in current:
        for record in each.devices:
            if record.id == device:
                return record, True
    return None, all(len(current) == each.slice.resource_slice_count for each in current)


def _refusing_taint(record: DeviceRecord, result: DeviceResult) -> str:
    for taint in record.taints:
        if not any(each.tolerates(taint) for each in result.tolerations):
            return str(taint) + (f" by DeviceTaintRule {taint.rule}" if taint.rule else "")
    return ""


def _is_nowhere(cluster: Cluster, selector: NodeSelector | None) -> bool:
    if selector is None or selector.mistake() is not None:
        return False
    only = _only_node(selector)
    if only:
        return only not in cluster.nodes
    return not any(selector.matches(node) for node in cluster.nodes.values())


def _only_node(selector: NodeSelector) -> str:
    """Return the node that a selector of the one-node form names; empty for others."""
    if len(selector.terms) != 1 or selector.terms[0].match_expressions:
        return ""
    for each in selector.terms[0].match_fields:
        if each.key == "metadata.name" and each.operator == "In" and len(each.values) == 1:
            return each.values[0]
    return ""


def _place(selector: NodeSelector | None) -> str:
    only = "" if selector is None else _only_node(selector)
    return f"node {only}" if only else "every node that reaches them"
