# SPDX-License-Identifier: Apache-2.0
"""Workloads to the pods that their controllers would make.

Decides how many pods there are at once, and their names. Never looks into the pod template.

Source: apps/v1 Deployment, ReplicaSet, StatefulSet; batch/v1 Job; core/v1 ReplicationController.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.errors import DecodeError
from berth.scenario.documents import Json

WORKLOADS = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "Job", "ReplicationController"})
MAX_PODS = 100_000
"""So many pods one entry may stand for; a slip of the finger must not fill the memory."""


def pods_of(workload: Json) -> Iterator[Json]:
    """Yield the pods of one workload, named after it and numbered from 0.

    A Job has as many at a time as its ``parallelism``, but no more than its ``completions``.

    Raises:
        DecodeError: If it has no name or pod template, or a count that is no whole number.
    """
    kind = str(workload["kind"])
    metadata = workload.get("metadata") or {}
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise DecodeError(f"{kind.lower()} (without a name)", "metadata.name", "is required")
    where = f"{kind.lower()} {name}"
    spec = workload.get("spec")
    template = spec.get("template") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(template, dict):
        raise DecodeError(where, "spec.template", "is required")
    if kind == "Job":
        count = _count(where, spec, "parallelism")
        if spec.get("completions") is not None:
            count = min(count, _count(where, spec, "completions"))
    else:
        count = _count(where, spec, "replicas")
    template_metadata = template.get("metadata") or {}
    for index in range(count):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **(template_metadata if isinstance(template_metadata, dict) else {}),
                "name": f"{name}-{index}",
                "namespace": metadata.get("namespace"),
            },
            "spec": template.get("spec") or {},
        }


def _count(where: str, spec: Json, key: str) -> int:
    value = spec.get(key)
    if value is None:
        return 1
    if type(value) is not int or not 0 <= value <= MAX_PODS:
        raise DecodeError(where, f"spec.{key}", f"expected a whole number from 0 to {MAX_PODS}")
    return value
