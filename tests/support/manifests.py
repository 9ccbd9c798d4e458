# SPDX-License-Identifier: Apache-2.0
"""Plain manifests for tests against an API server."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
DRA = "resource.k8s.io/v1"
GATE_LABEL = {"berth.dev/allocate": "enabled"}
GPU_CLASS = "gpu.example.com"


def device_request(name: str = "gpu", device_class: str = GPU_CLASS, **exactly: Any) -> Json:
    selectors = [{"cel": {"expression": text}} for text in exactly.pop("selectors", ())]
    body: Json = {"deviceClassName": device_class, **exactly}
    if selectors:
        body["selectors"] = selectors
    return {"name": name, "exactly": body}


def claim(name: str, *requests: Json, **devices: Any) -> Json:
    return {
        "apiVersion": DRA,
        "kind": "ResourceClaim",
        "metadata": {"name": name},
        "spec": {"devices": {"requests": list(requests), **devices}},
    }


def template(name: str, *requests: Json, metadata: Json | None = None, **devices: Any) -> Json:
    spec: Json = {"spec": {"devices": {"requests": list(requests), **devices}}}
    if metadata:
        spec["metadata"] = metadata
    return {
        "apiVersion": DRA,
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name},
        "spec": spec,
    }


def pod(
    name: str,
    *,
    templates: tuple[str, ...] = (),
    claims: tuple[str, ...] = (),
    requests: Json | None = None,
    **spec: Any,
) -> Json:
    references: list[Json] = [
        {"name": f"t{i}", "resourceClaimTemplateName": each} for i, each in enumerate(templates)
    ]
    references += [{"name": f"c{i}", "resourceClaimName": each} for i, each in enumerate(claims)]
    container: Json = {"name": "main", "image": "example.com/none:1", "resources": {}}
    if references:
        container["resources"]["claims"] = [{"name": each["name"]} for each in references]
        spec["resourceClaims"] = references
    if requests:
        container["resources"]["requests"] = requests
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            **spec,
        },
    }


def devices_of(claim: Json) -> list[str]:
    """Return ``driver/pool/device`` of each result of an allocated claim, in order."""
    results = claim.get("status", {}).get("allocation", {}).get("devices", {}).get("results", [])
    return [f"{each['driver']}/{each['pool']}/{each['device']}" for each in results]


def is_running(pod: Json) -> bool:
    return bool(pod.get("status", {}).get("phase") == "Running")


def gates_of(pod: Json) -> list[str]:
    return [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
