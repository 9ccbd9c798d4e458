# SPDX-License-Identifier: Apache-2.0
"""The bodies of every write that Berth makes to claims and pods.

Decides their exact form, each of which was tried on an API server; sends nothing. Every body
that changes an object carries its uid and resource version, so that it cannot hit a successor
of the same name nor overwrite what it was not decided upon.

Source: ``resource.k8s.io/v1`` ResourceClaim status, core/v1 Pod ``spec.schedulingGates``
(KEP-3521: affinity of a gated pod may only become narrower), KEP-4381 for generated claims.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from berth.codec.node_selectors import encode_node_selector
from berth.codec.versions import GROUP, V1, spec_from_v1
from berth.model.claims import (
    DELETE_PROTECTION_FINALIZER,
    POD_CLAIM_NAME_ANNOTATION,
    ConsumerReference,
    ResourceClaim,
    ResourceClaimTemplate,
)
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.pods import Pod, PodClaimReference

Body = dict[str, Any]

NODE_NAME_FIELD = "metadata.name"
REGENERATE_ANNOTATION = "berth.dev/claim-regenerate"
"""Names the deleted claims that a pod waits for; its only purpose is to be a change of the pod."""
MAX_GENERATED_BASE = 57
"""Longest part before the random suffix: DNS label of 63, less 5 characters and a hyphen."""


def timestamp(moment: dt.datetime) -> str:
    """Return ``moment`` as ``YYYY-MM-DDTHH:MM:SSZ``.

    Whole seconds: the API server cuts fractions off when it stores them, and then takes the same
    body for a change of an allocation, which it refuses.
    """
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def finalizer_patch(claim: ResourceClaim) -> Body:
    """Return the merge patch of a claim that adds the delete protection; others stay."""
    finalizers = [*claim.finalizers, DELETE_PROTECTION_FINALIZER]
    return {"metadata": {**_precondition(claim), "finalizers": finalizers}}


def allocation_patch(
    claim: ResourceClaim,
    encoded_allocation: Mapping[str, Any],
    allocated_at: str,
    consumers: tuple[ConsumerReference, ...],
) -> Body:
    """Return the strategic merge patch of a claim's status that allocates and reserves it.

    Args:
        claim: The unallocated claim that was decided upon.
        encoded_allocation: ``status.allocation`` in API form; its own timestamp is replaced.
        allocated_at: What `timestamp` returns; without one kube-scheduler would try to add it
            later, which the API server refuses, and the pod would never start.
        consumers: Who may use the claim; added to those that are there.
    """
    return {
        "metadata": _precondition(claim),
        "status": {
            "allocation": {**encoded_allocation, "allocationTimestamp": allocated_at},
            "reservedFor": [_consumer(consumer) for consumer in consumers],
        },
    }


def reserve_patch(claim: ResourceClaim, consumer: ConsumerReference) -> Body:
    """Return the strategic merge patch of the status that adds one consumer; others stay."""
    return {"metadata": _precondition(claim), "status": {"reservedFor": [_consumer(consumer)]}}


def release_patch(claim: ResourceClaim) -> Body:
    """Return the merge patch of the status that frees the claim.

    Both fields at once: the API server accepts neither without the other. ``status.devices`` is
    left alone, because clearing it would need a permission per driver.
    """
    return {
        "metadata": _precondition(claim),
        "status": {"allocation": None, "reservedFor": None},
    }


def unreserve_patch(claim: ResourceClaim, done: frozenset[str]) -> Body:
    """Return the merge patch of the status that drops the consumers whose uids are ``done``.

    Where nobody is left, the claim is freed as well.
    """
    left = [consumer for consumer in claim.reserved_for if consumer.uid not in done]
    if not left:
        return release_patch(claim)
    return {
        "metadata": _precondition(claim),
        "status": {"reservedFor": [_consumer(consumer) for consumer in left]},
    }


def ungate_and_pin_patch(pod: Pod, gate: str, node: str | None) -> Body:
    """Return the strategic merge patch of a pod that removes ``gate`` and pins it to ``node``.

    One patch, because nothing of a pod's placement can be changed once its last gate is gone.
    Other gates stay. Without ``node``, or where the pod can only go there already, the affinity
    is not part of the patch.
    """
    spec: Body = {"schedulingGates": [{"name": gate, "$patch": "delete"}]}
    terms = None if node is None else _pinned(pod, node)
    if terms is not None:
        required = encode_node_selector(NodeSelector(terms))
        spec["affinity"] = {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}
        }
    metadata = {"uid": pod.uid, "resourceVersion": pod.resource_version}
    return {"metadata": metadata, "spec": spec}


def _pinned(pod: Pod, node: str) -> tuple[NodeSelectorTerm, ...] | None:
    """Return the terms that restrict the pod to ``node``; ``None`` where they do already.

    The list replaces the pod's own as a whole, so every old term is in it. To pin only one of
    several alternatives would pin nothing.
    """
    pin = NodeSelectorRequirement(NODE_NAME_FIELD, "In", (node,))
    old = () if pod.required_affinity is None else pod.required_affinity.terms
    new = tuple(_with_pin(term, pin) for term in old) or (NodeSelectorTerm(match_fields=(pin,)),)
    return None if new == old else new


def _with_pin(term: NodeSelectorTerm, pin: NodeSelectorRequirement) -> NodeSelectorTerm:
    # A term without requirements matches nothing; with the pin it would match the node.
    if pin in term.match_fields or not (term.match_expressions or term.match_fields):
        return term
    return NodeSelectorTerm(term.match_expressions, (*term.match_fields, pin))


def touch_patch(pod: Pod, value: str) -> Body:
    """Return the merge patch of a pod that changes nothing of it but an annotation of Berth's."""
    return {
        "metadata": {
            "uid": pod.uid,
            "resourceVersion": pod.resource_version,
            "annotations": {REGENERATE_ANNOTATION: value},
        }
    }


def generated_claim(
    pod: Pod, reference: PodClaimReference, template: ResourceClaimTemplate, version: str = V1
) -> Body:
    """Return the claim that a pod's reference to a template asks for, as ``version`` wants it.

    Name, owner, labels and annotation are those of kube-controller-manager, which therefore
    takes such a claim for its own, and the other way round.
    """
    annotations = {**template.annotations, POD_CLAIM_NAME_ANNOTATION: reference.name}
    metadata: Body = {
        "namespace": pod.namespace,
        "generateName": generated_base(pod.name, reference.name),
        "annotations": annotations,
        "ownerReferences": [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod.name,
                "uid": pod.uid,
                "controller": True,
            }
        ],
    }
    if template.labels:
        metadata["labels"] = dict(template.labels)
    return {
        "apiVersion": f"{GROUP}/{version}",
        "kind": "ResourceClaim",
        "metadata": metadata,
        "spec": spec_from_v1(template.spec_json, version),
    }


def generated_base(pod: str, reference: str) -> str:
    """Return the ``generateName`` of a pod's claim; a long one is cut, both parts in proportion."""
    base = f"{pod}-{reference}-"
    if len(base) <= MAX_GENERATED_BASE:
        return base
    parts = (
        pod[: len(pod) * MAX_GENERATED_BASE // len(base)],
        reference[: len(reference) * MAX_GENERATED_BASE // len(base)],
    )
    return "-".join(parts)


def generated_statuses(pod: Pod, names: Mapping[str, str]) -> Body:
    """Return the server-side apply body that records claim names in a pod's status.

    The list is full: known entries, then ``names`` on top, in order of the reference's name. A
    shorter list would take away entries that the same manager wrote before.
    """
    wanted = {reference.name for reference in pod.claims if reference.template_name is not None}
    known = {name: claim for name, claim in pod.claim_names.items() if name in wanted}
    entries: list[Body] = []
    for name, claim in sorted({**known, **names}.items()):
        entries.append(
            {"name": name} if claim is None else {"name": name, "resourceClaimName": claim}
        )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "status": {"resourceClaimStatuses": entries},
    }


def _precondition(claim: ResourceClaim) -> Body:
    return {"uid": claim.uid, "resourceVersion": claim.resource_version}


def _consumer(consumer: ConsumerReference) -> Body:
    body: Body = {"resource": consumer.resource, "name": consumer.name, "uid": consumer.uid}
    if consumer.api_group:
        body["apiGroup"] = consumer.api_group
    return body
