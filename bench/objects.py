# SPDX-License-Identifier: Apache-2.0
"""Claims as an API server sends them, with all that Berth does not read.

Decides nothing; the size matters: an allocated claim of a pod is about two kilobytes of JSON.

Source: ``resource.k8s.io/v1`` ResourceClaim; ``meta/v1`` ObjectMeta.
"""

from __future__ import annotations

from bench.fleets import CLASS, DRIVER, PER_NODE, Json, node_name
from bench.questions import model

CREATED = "2026-01-01T00:00:00Z"


def claim_of_pod(number: int, version: int, *, devices: int) -> Json:
    """Return the claim that a template's pod has; those beyond the last device wait for one."""
    name = f"job-{number:06}-gpu-abcde"
    found: Json = {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": name,
            "generateName": f"job-{number:06}-gpu-",
            "namespace": f"team-{number % 20}",
            "uid": f"00000000-0000-0000-0000-{number:012}",
            "resourceVersion": str(version),
            "creationTimestamp": CREATED,
            "annotations": {"resource.kubernetes.io/pod-claim-name": "gpu"},
            "finalizers": ["resource.kubernetes.io/delete-protection"],
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": f"job-{number:06}",
                    "uid": f"11111111-0000-0000-0000-{number:012}",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
            "managedFields": [_made(), _allocated()],
        },
        "spec": {
            "devices": {
                "requests": [
                    {
                        "name": "gpu",
                        "exactly": {
                            "deviceClassName": CLASS,
                            "allocationMode": "ExactCount",
                            "count": 1,
                            "selectors": [{"cel": {"expression": model("a100")}}],
                        },
                    }
                ]
            }
        },
        "status": {},
    }
    if number < devices:
        found["status"] = _status(number)
    return found


def _status(number: int) -> Json:
    node = node_name(number // PER_NODE)
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    result = {
        "request": "gpu",
        "driver": DRIVER,
        "pool": node,
        "device": f"gpu-{number % PER_NODE}",
    }
    return {
        "allocation": {
            "allocationTimestamp": CREATED,
            "devices": {"results": [result]},
            "nodeSelector": {"nodeSelectorTerms": [term]},
        },
        "reservedFor": [
            {
                "resource": "pods",
                "name": f"job-{number:06}",
                "uid": f"11111111-0000-0000-0000-{number:012}",
            }
        ],
    }


def _made() -> Json:
    return {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "resource.k8s.io/v1",
        "time": CREATED,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {
                "f:annotations": {".": {}, "f:resource.kubernetes.io/pod-claim-name": {}},
                "f:generateName": {},
                "f:ownerReferences": {".": {}},
            },
            "f:spec": {"f:devices": {"f:requests": {}}},
        },
    }


def _allocated() -> Json:
    return {
        "manager": "berth",
        "operation": "Update",
        "apiVersion": "resource.k8s.io/v1",
        "time": CREATED,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:allocation": {}, "f:reservedFor": {}}},
        "subresource": "status",
    }
