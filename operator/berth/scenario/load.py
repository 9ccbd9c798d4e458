# SPDX-License-Identifier: Apache-2.0
"""API objects to a filled ledger.

Decides which kinds count, and what files that no API server has seen are taken to mean: an absent
namespace, an absent uid. Never decides what fits.

Source: ``resource.k8s.io/v1``, core/v1, ``berth.dev/v1alpha1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from berth.codec.claims import decode_claim, decode_template
from berth.codec.nodes import decode_node
from berth.codec.pods import decode_pod
from berth.codec.policies import decode_allocation_policy
from berth.codec.slices import decode_class, decode_slice, decode_taint_rule
from berth.errors import DecodeError
from berth.model.features import Features
from berth.scenario.documents import ApiObject, Json
from berth.scenario.workloads import WORKLOADS, pods_of
from berth.state.cluster import Cluster

DEFAULT_NAMESPACE = "default"
NAMESPACED = frozenset({"Pod", "ResourceClaim", "ResourceClaimTemplate", *WORKLOADS})
KINDS = (
    "DeviceClass",
    "ResourceSlice",
    "DeviceTaintRule",
    "Node",
    "Namespace",
    "AllocationPolicy",
    "ResourceClaimTemplate",
    "ResourceClaim",
    "Pod",
)
"""The kinds that count, in the order in which they are entered."""
OLD_SHAPE = frozenset({"resource.k8s.io/v1alpha2", "resource.k8s.io/v1alpha3"})
"""Versions whose slices and claims are not read; their DeviceTaintRules are."""


@dataclass(slots=True)
class Loaded:
    """A cluster, and the objects that it was made of.

    ``objects`` has every object that counts, with namespaces and uids completed. ``skipped`` has
    the mistakes of objects that were left out, where that was allowed.
    """

    cluster: Cluster
    features: Features = field(default_factory=Features)
    objects: list[ApiObject] = field(default_factory=list)
    skipped: list[DecodeError] = field(default_factory=list)


def load(
    objects: Iterable[ApiObject],
    *,
    features: Features = Features(),  # noqa: B008 - a frozen value
    namespace: str = DEFAULT_NAMESPACE,
    skip_mistakes: bool = False,
) -> Loaded:
    """Return a ledger with ``objects`` in it; kinds that do not matter are left out.

    Args:
        objects: The objects, in any order.
        features: Allocator features of the cluster.
        namespace: The namespace of namespaced objects that name none.
        skip_mistakes: Leave out what cannot be decoded, as the operator does on a live cluster.

    Raises:
        DecodeError: If an object cannot be decoded; it names file, object and field.
    """
    loaded = Loaded(Cluster(features), features)
    enter(loaded, objects, namespace=namespace, skip_mistakes=skip_mistakes)
    return loaded


def enter(
    loaded: Loaded,
    objects: Iterable[ApiObject],
    *,
    namespace: str = DEFAULT_NAMESPACE,
    skip_mistakes: bool = False,
) -> tuple[ApiObject, ...]:
    """Add ``objects`` to a ledger; return those that count, completed. Errors as ``load``."""
    by_kind: dict[str, list[ApiObject]] = {kind: [] for kind in KINDS}
    for each in objects:
        if each.kind in by_kind:
            by_kind[each.kind].append(_completed(each, namespace))
    entered: list[ApiObject] = []
    for kind, found in by_kind.items():
        apply = _applier(loaded.cluster, kind)
        for each in found:
            try:
                _check_version(each)
                apply(each.obj)
            except DecodeError as error:
                named = _in_file(each.source, error)
                if not skip_mistakes:
                    raise named from error
                loaded.skipped.append(named)
            else:
                entered.append(each)
    loaded.objects += entered
    return tuple(entered)


def expanded(objects: Iterable[ApiObject]) -> tuple[ApiObject, ...]:
    """Return ``objects`` with workloads replaced by the pods that their controllers would make.

    Raises:
        DecodeError: If a workload has no pod template, or a count that is no whole number.
    """
    found: list[ApiObject] = []
    for each in objects:
        if each.kind in WORKLOADS:
            try:
                found += [ApiObject(each.source, pod) for pod in pods_of(each.obj)]
            except DecodeError as error:
                raise _in_file(each.source, error) from error
        else:
            found.append(each)
    return tuple(found)


def _applier(cluster: Cluster, kind: str) -> Callable[[Json], None]:
    appliers: dict[str, Callable[[Json], None]] = {
        "DeviceClass": lambda obj: cluster.apply_class(decode_class(obj)),
        "ResourceSlice": lambda obj: cluster.apply_slice(decode_slice(obj)),
        "DeviceTaintRule": lambda obj: cluster.apply_taint_rule(decode_taint_rule(obj)),
        "Node": lambda obj: cluster.apply_node(decode_node(obj)),
        "Namespace": lambda obj: _apply_namespace(cluster, obj),
        "AllocationPolicy": lambda obj: cluster.apply_policy(decode_allocation_policy(obj)),
        "ResourceClaimTemplate": lambda obj: cluster.apply_template(decode_template(obj)),
        "ResourceClaim": lambda obj: cluster.apply_claim(decode_claim(obj)),
        "Pod": lambda obj: cluster.apply_pod(decode_pod(obj)),
    }
    return appliers[kind]


def _apply_namespace(cluster: Cluster, obj: Json) -> None:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not name:
        raise DecodeError("namespace (without a name)", "metadata.name", "is required")
    labels = metadata.get("labels") or {} if isinstance(metadata, dict) else {}
    if not isinstance(labels, dict):
        raise DecodeError(f"namespace {name}", "metadata.labels", "expected an object")
    cluster.apply_namespace(name, {str(key): str(value) for key, value in labels.items()})


def _completed(each: ApiObject, namespace: str) -> ApiObject:
    """Return the object with the namespace, and for pods the uid, that it would have."""
    metadata = each.obj.get("metadata")
    if each.kind not in NAMESPACED or not isinstance(metadata, dict):
        return each
    if metadata.get("namespace") and (each.kind != "Pod" or metadata.get("uid")):
        return each
    completed = {**metadata, "namespace": metadata.get("namespace") or namespace}
    if each.kind == "Pod" and not metadata.get("uid"):
        # Claims belong to pods by uid; one that nobody else can have.
        completed["uid"] = f"pod:{completed['namespace']}/{metadata.get('name')}"
    return ApiObject(each.source, {**each.obj, "metadata": completed})


def _check_version(each: ApiObject) -> None:
    version = each.obj.get("apiVersion")
    if isinstance(version, str) and version in OLD_SHAPE and each.kind != "DeviceTaintRule":
        metadata = each.obj.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        plural = f"{each.kind.lower()}{'es' if each.kind.endswith('ss') else 's'}"
        raise DecodeError(
            f"{each.kind.lower()} {name}",
            "apiVersion",
            f"{version} is not read: ask for `{plural}.v1.resource.k8s.io`",
        )


def _in_file(source: str, error: DecodeError) -> DecodeError:
    return DecodeError(f"{source}: {error.where}", error.field, error.detail)
