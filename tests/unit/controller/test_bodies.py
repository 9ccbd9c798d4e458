# SPDX-License-Identifier: Apache-2.0
"""Every body in full: what is sent is decided here, so it is read here."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from types import MappingProxyType

import pytest

from berth.controller.bodies import (
    allocation_patch,
    finalizer_patch,
    generated_claim,
    generated_statuses,
    release_patch,
    reserve_patch,
    timestamp,
    ungate_and_pin_patch,
)
from berth.model.claims import ConsumerReference, DeviceClaim, ResourceClaim, ResourceClaimTemplate
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference

CLAIM = ResourceClaim("ml", "train", uid="cu", resource_version="41", finalizers=("other/one",))
POD = Pod("ml", "worker", uid="pu", resource_version="7", gates=(SCHEDULING_GATE,))
CONSUMER = ConsumerReference("pods", "worker", "pu")
PRECONDITION = {"uid": "cu", "resourceVersion": "41"}


def test_the_finalizer_is_added_to_those_that_are_there() -> None:
    assert finalizer_patch(CLAIM) == {
        "metadata": {
            **PRECONDITION,
            "finalizers": ["other/one", "resource.kubernetes.io/delete-protection"],
        }
    }


def test_an_allocation_carries_timestamp_consumers_and_precondition() -> None:
    encoded = {"devices": {"results": []}, "allocationTimestamp": "1999-01-01T00:00:00Z"}
    group = ConsumerReference("podgroups", "g", "gu", "scheduling.k8s.io")
    patch = allocation_patch(CLAIM, encoded, "2026-11-24T15:15:30Z", (CONSUMER, group))
    assert patch == {
        "metadata": PRECONDITION,
        "status": {
            "allocation": {
                "devices": {"results": []},
                "allocationTimestamp": "2026-11-24T15:15:30Z",
            },
            "reservedFor": [
                {"resource": "pods", "name": "worker", "uid": "pu"},
                {
                    "resource": "podgroups",
                    "name": "g",
                    "uid": "gu",
                    "apiGroup": "scheduling.k8s.io",
                },
            ],
        },
    }


def test_a_consumer_is_added_alone_and_a_release_clears_both_fields() -> None:
    assert reserve_patch(CLAIM, CONSUMER) == {
        "metadata": PRECONDITION,
        "status": {"reservedFor": [{"resource": "pods", "name": "worker", "uid": "pu"}]},
    }
    assert release_patch(CLAIM) == {
        "metadata": PRECONDITION,
        "status": {"allocation": None, "reservedFor": None},
    }


def test_a_timestamp_has_whole_seconds_in_utc() -> None:
    moment = dt.datetime(2026, 11, 24, 16, 15, 30, 999999, dt.timezone(dt.timedelta(hours=1)))
    assert timestamp(moment) == "2026-11-24T15:15:30Z"


def requirement(key: str, operator: str, *values: str) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(key, operator, values)


PIN = requirement("metadata.name", "In", "node-1")
ZONE = requirement("zone", "In", "a", "b")
DISK = requirement("disk", "Exists")
PIN_JSON = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
ZONE_JSON = {"key": "zone", "operator": "In", "values": ["a", "b"]}
DISK_JSON = {"key": "disk", "operator": "Exists"}


def affinity(*terms: NodeSelectorTerm) -> Pod:
    return replace(POD, required_affinity=NodeSelector(terms))


@pytest.mark.parametrize(
    ("pod", "want_terms"),
    [
        pytest.param(POD, [{"matchFields": [PIN_JSON]}], id="no affinity before"),
        pytest.param(
            affinity(
                NodeSelectorTerm((ZONE,)),
                NodeSelectorTerm((DISK,), (requirement("metadata.name", "NotIn", "node-2"),)),
            ),
            [
                {"matchExpressions": [ZONE_JSON], "matchFields": [PIN_JSON]},
                {
                    "matchExpressions": [DISK_JSON],
                    "matchFields": [
                        {"key": "metadata.name", "operator": "NotIn", "values": ["node-2"]},
                        PIN_JSON,
                    ],
                },
            ],
            id="every alternative is pinned",
        ),
        pytest.param(
            affinity(NodeSelectorTerm((), (PIN,)), NodeSelectorTerm((ZONE,))),
            [
                {"matchFields": [PIN_JSON]},
                {"matchExpressions": [ZONE_JSON], "matchFields": [PIN_JSON]},
            ],
            id="one alternative was pinned already",
        ),
        pytest.param(
            affinity(NodeSelectorTerm(), NodeSelectorTerm((ZONE,))),
            [{}, {"matchExpressions": [ZONE_JSON], "matchFields": [PIN_JSON]}],
            id="a term that matches nothing goes on matching nothing",
        ),
    ],
)
def test_a_pin_narrows_every_alternative(pod: Pod, want_terms: list[object]) -> None:
    assert ungate_and_pin_patch(pod, SCHEDULING_GATE, "node-1") == {
        "metadata": {"uid": "pu", "resourceVersion": "7"},
        "spec": {
            "schedulingGates": [{"name": "berth.dev/dra", "$patch": "delete"}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": want_terms
                    }
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("pod", "node"),
    [
        pytest.param(affinity(NodeSelectorTerm((ZONE,))), None, id="no node"),
        pytest.param(affinity(NodeSelectorTerm((ZONE,), (PIN,))), "node-1", id="pinned already"),
    ],
)
def test_the_affinity_is_left_alone(pod: Pod, node: str | None) -> None:
    assert ungate_and_pin_patch(pod, SCHEDULING_GATE, node) == {
        "metadata": {"uid": "pu", "resourceVersion": "7"},
        "spec": {"schedulingGates": [{"name": "berth.dev/dra", "$patch": "delete"}]},
    }


def test_a_generated_claim_is_what_kube_controller_manager_would_make() -> None:
    spec = {"devices": {"requests": [{"name": "gpu"}]}}
    template = ResourceClaimTemplate(
        "ml",
        "one-gpu",
        DeviceClaim(),
        labels={"team": "a"},
        annotations={"resource.kubernetes.io/pod-claim-name": "wrong", "note": "x"},
        spec_json=spec,
    )
    reference = PodClaimReference("gpu", template_name="one-gpu")
    assert generated_claim(POD, reference, template) == {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "namespace": "ml",
            "generateName": "worker-gpu-",
            "labels": {"team": "a"},
            "annotations": {"resource.kubernetes.io/pod-claim-name": "gpu", "note": "x"},
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": "worker",
                    "uid": "pu",
                    "controller": True,
                }
            ],
        },
        "spec": spec,
    }


def test_recorded_names_are_a_full_list_in_order() -> None:
    references = (
        PodClaimReference("b", template_name="t"),
        PodClaimReference("a", template_name="t"),
        PodClaimReference("none", template_name="t"),
        PodClaimReference("direct", claim_name="shared"),
    )
    known = MappingProxyType({"b": "old", "none": None, "left-over": "x"})
    pod = replace(POD, claims=references, claim_names=known)
    assert generated_statuses(pod, {"b": "new", "a": "worker-a-x"}) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "ml", "name": "worker", "uid": "pu"},
        "status": {
            "resourceClaimStatuses": [
                {"name": "a", "resourceClaimName": "worker-a-x"},
                {"name": "b", "resourceClaimName": "new"},
                {"name": "none"},
            ]
        },
    }
