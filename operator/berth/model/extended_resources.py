# SPDX-License-Identifier: Apache-2.0
"""Extended resources that DeviceClasses stand for: which class, and the claim of a pod on a node.

Decides which resource names kube-scheduler serves with devices, and what it will ask for. Never
makes such a claim: kube-scheduler makes, allocates and writes it, and deletes one that somebody
else has made.

Source: KEP-5004; ``DeviceClass.spec.extendedResourceName``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from berth.model.claims import (
    DeviceClaim,
    DeviceRequest,
    ExactRequest,
    OwnerReference,
    ResourceClaim,
)
from berth.model.nodes import Node
from berth.model.pods import DEVICE_CLASS_PREFIX, ExtendedRequest, Pod
from berth.model.slices import DeviceClass

EXTENDED_RESOURCE_CLAIM_ANNOTATION = "resource.kubernetes.io/extended-resource-claim"


def class_of_resource(resource: str, classes: Mapping[str, DeviceClass]) -> str | None:
    """Return the DeviceClass that stands for ``resource``, ``None`` where none does.

    Of several classes with the same explicit name the one that was created last counts; of those
    created in the same second the one whose name comes first.
    """
    if resource.startswith(DEVICE_CLASS_PREFIX):
        name = resource.removeprefix(DEVICE_CLASS_PREFIX)
        return name if name in classes else None
    same = [each for each in classes.values() if each.extended_resource_name == resource]
    newest = max((each.created for each in same), default="")
    return min((each.name for each in same if each.created == newest), default=None)


def backed_requests(
    pod: Pod, classes: Mapping[str, DeviceClass]
) -> tuple[tuple[ExtendedRequest, str], ...]:
    """Return the pod's extended resource requests that a class stands for, with that class."""
    return tuple(
        (request, name)
        for request in pod.extended_requests
        if (name := class_of_resource(request.resource, classes)) is not None
    )


def served_by_plugin(resources: Iterable[str], node: Node) -> frozenset[str]:
    """Return those of ``resources`` that ``node`` advertises: a device plugin serves them there."""
    return frozenset(each for each in resources if node.allocatable.get(each, 0) > 0)


def synthetic_claim(
    pod: Pod, backed: Iterable[tuple[ExtendedRequest, str]]
) -> ResourceClaim | None:
    """Return the claim that kube-scheduler makes up for ``backed``, ``None`` for nothing at all.

    Its name is what the name of the real one begins with.
    """
    requests = tuple(
        DeviceRequest(
            request.request_name,
            exactly=ExactRequest(device_class_name=class_name, count=request.count),
        )
        for request, class_name in backed
    )
    if not requests:
        return None
    return ResourceClaim(
        namespace=pod.namespace,
        name=f"{pod.name}-extended-resources",
        spec=DeviceClaim(requests),
        annotations=MappingProxyType({EXTENDED_RESOURCE_CLAIM_ANNOTATION: "true"}),
        owners=(OwnerReference("Pod", pod.name, pod.uid, controller=True),),
    )


def is_extended_resource_claim(claim: ResourceClaim) -> bool:
    """Tell whether kube-scheduler has made the claim for a pod's extended resources."""
    return claim.annotations.get(EXTENDED_RESOURCE_CLAIM_ANNOTATION) == "true"


def without_resources(pod: Pod, resources: Iterable[str]) -> Pod:
    """Return ``pod`` as if it did not ask its node for ``resources``: devices stand for them."""
    dropped = frozenset(resources)
    kept = {name: amount for name, amount in pod.requests.items() if name not in dropped}
    return replace(pod, requests=MappingProxyType(kept))
