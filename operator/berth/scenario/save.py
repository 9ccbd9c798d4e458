# SPDX-License-Identifier: Apache-2.0
"""A cluster and a question to the text of a scenario file.

Decides which objects, and which of their fields, the answer can depend on; everything else is left
out, so that the file is short and tells nobody what need not be told. Other names, on request, are
given by ``berth.scenario.anonymise``.

Source: ``docs/reference/scenario-format.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from berth.model.claims import POD_CLAIM_NAME_ANNOTATION
from berth.model.extended_resources import EXTENDED_RESOURCE_CLAIM_ANNOTATION
from berth.model.pods import DEVICE_CLASS_PREFIX
from berth.scenario.documents import ApiObject, Json

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_TERMINAL = frozenset({"Succeeded", "Failed"})


def reduced(
    objects: Iterable[ApiObject], *, kind: str, namespace: str, name: str
) -> tuple[tuple[Json, ...], tuple[Json, ...]]:
    """Return what there is, and what is to be placed, as the smallest objects that say so.

    Args:
        objects: All objects of the cluster.
        kind: ``pod`` or ``claim``: what was asked about.
        namespace: Its namespace.
        name: Its name.

    Returns:
        The objects of the cluster, and the pods or claims asked about.
    """
    latest = {_identity(each.obj): each.obj for each in objects}
    pod = latest.get(("Pod", namespace, name)) if kind == "pod" else None
    asked_pods = [] if pod is None else [pod]
    asked_claims = _claims_of(asked_pods, latest.values())
    if kind == "claim":
        asked_claims.add((namespace, name))
    templates = {key for each in asked_pods for key in _templates_of(each)}
    cluster: list[Json] = []
    wanted: list[Json] = []
    for obj in latest.values():
        key = (_metadata(obj).get("namespace", ""), _metadata(obj).get("name", ""))
        match obj["kind"]:
            case "Pod":
                if obj is pod:
                    wanted.append(_pod(obj))
                elif _counts(obj):
                    cluster.append(_pod(obj))
            case "ResourceClaim":
                if key in asked_claims:
                    wanted.append(_claim(obj))
                elif (obj.get("status") or {}).get("allocation"):
                    cluster.append(_claim(obj))
            case "ResourceClaimTemplate" if key in templates:
                wanted.append(_with(obj, _named(obj)))
            case "Node":
                cluster.append(_node(obj))
            case "ResourceSlice" | "DeviceTaintRule":
                cluster.append(_with(obj, _named(obj)))
    # Policies and namespaces decide whose the claims are, not whether they fit.
    classes = {name for obj in wanted for name in _class_names(obj)}
    chosen = [
        _with(obj, _named(obj))
        for obj in latest.values()
        if obj["kind"] == "DeviceClass" and _metadata(obj).get("name") in classes
    ]
    resources = {name for obj in wanted for name in _resource_names(obj)}
    chosen += [
        # Of classes for the same resource, the age decides.
        _with(obj, _named(obj, "creationTimestamp"))
        for obj in latest.values()
        if obj["kind"] == "DeviceClass"
        and _metadata(obj).get("name") not in classes
        and not resources.isdisjoint(_resources_of_class(obj))
    ]
    order = ("ResourceClaimTemplate", "ResourceClaim", "Pod")
    return (*chosen, *cluster), tuple(sorted(wanted, key=lambda obj: order.index(obj["kind"])))


def scenario_text(  # noqa: PLR0913 - the fields of the file
    cluster: Iterable[Json],
    wanted: Iterable[Json],
    *,
    name: str,
    description: str,
    features: Mapping[str, bool],
    expect: Mapping[str, object],
) -> str:
    """Return the text of the scenario file."""
    wanted = tuple(wanted)
    data: Json = {"name": name, "description": description}
    if features:
        data["features"] = dict(features)
    data["cluster"] = {"objects": list(cluster)}
    for key, is_pod in (("claims", False), ("pods", True)):
        found = [obj for obj in wanted if (obj["kind"] == "Pod") is is_pod]
        if found:
            data[key] = found
    data["expect"] = dict(expect)
    text: str = yaml.dump(data, Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
    return f"# SPDX-License-Identifier: Apache-2.0\n{text}"


def _claims_of(pods: Iterable[Json], objects: Iterable[Json]) -> set[tuple[str, str]]:
    """Return the claims of ``pods``: named by them, recorded in their status, or theirs."""
    keys: set[tuple[str, str]] = set()
    uids = set()
    for pod in pods:
        namespace = _metadata(pod).get("namespace", "")
        uids.add(_metadata(pod).get("uid"))
        for each in (*_references(pod), *_statuses(pod)):
            if each.get("resourceClaimName"):
                keys.add((namespace, each["resourceClaimName"]))
    for obj in objects:
        metadata = _metadata(obj)
        if obj["kind"] == "ResourceClaim" and any(
            owner.get("uid") in uids for owner in metadata.get("ownerReferences") or ()
        ):
            keys.add((metadata.get("namespace", ""), metadata.get("name", "")))
    return keys


def _templates_of(pod: Json) -> set[tuple[str, str]]:
    namespace = _metadata(pod).get("namespace", "")
    return {
        (namespace, each["resourceClaimTemplateName"])
        for each in _references(pod)
        if each.get("resourceClaimTemplateName")
    }


def _class_names(obj: Json) -> set[str]:
    spec = obj.get("spec") or {}
    devices = (spec.get("spec") or spec).get("devices") or {}
    bodies = [
        body
        for request in devices.get("requests") or ()
        for body in (request.get("exactly") or {}, *(request.get("firstAvailable") or ()))
    ]
    return {body["deviceClassName"] for body in bodies if body.get("deviceClassName")}


def _resource_names(obj: Json) -> set[str]:
    spec = obj.get("spec") or {}
    return {
        name
        for key in ("initContainers", "containers")
        for container in spec.get(key) or ()
        for kind in ("requests", "limits")
        for name in (container.get("resources") or {}).get(kind) or ()
    }


def _resources_of_class(obj: Json) -> set[str]:
    explicit = (obj.get("spec") or {}).get("extendedResourceName")
    implicit = f"{DEVICE_CLASS_PREFIX}{_metadata(obj).get('name')}"
    return {implicit, explicit} if explicit else {implicit}


def _counts(pod: Json) -> bool:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    return bool(spec.get("nodeName")) and status.get("phase") not in _TERMINAL


def _pod(obj: Json) -> Json:
    spec = obj.get("spec") or {}
    status = obj.get("status") or {}
    kept = {
        key: spec[key]
        for key in (
            "nodeName",
            "priority",
            "schedulingGates",
            "resourceClaims",
            "nodeSelector",
            "affinity",
            "tolerations",
            "overhead",
            "resources",
            "hostNetwork",
            "topologySpreadConstraints",
        )
        if spec.get(key)
    }
    for key in ("initContainers", "containers"):
        if spec.get(key):
            kept[key] = [_container(each, index) for index, each in enumerate(spec[key])]
    made = _named(obj, "uid", "ownerReferences")
    result: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": kept}
    if status.get("resourceClaimStatuses"):
        result["status"] = {"resourceClaimStatuses": status["resourceClaimStatuses"]}
    return result


def _container(obj: Json, index: int) -> Json:
    given = obj.get("resources") or {}
    resources = {key: given[key] for key in ("requests", "limits") if given.get(key)}
    ports = [port for port in obj.get("ports") or () if port.get("hostPort")]
    return {
        "name": f"c{index}",
        **({"restartPolicy": obj["restartPolicy"]} if obj.get("restartPolicy") else {}),
        **({"resources": resources} if resources else {}),
        **({"ports": ports} if ports else {}),
    }


def _claim(obj: Json) -> Json:
    metadata = _named(obj, "uid", "ownerReferences")
    given = _metadata(obj).get("annotations") or {}
    kept_keys = (POD_CLAIM_NAME_ANNOTATION, EXTENDED_RESOURCE_CLAIM_ANNOTATION)
    annotations = {key: given[key] for key in kept_keys if given.get(key)}
    if annotations:
        metadata["annotations"] = annotations
    made = _with(obj, metadata)
    status = obj.get("status") or {}
    kept = {key: status[key] for key in ("allocation", "reservedFor") if status.get(key)}
    return {**made, "status": kept} if kept else made


def _node(obj: Json) -> Json:
    status = obj.get("status") or {}
    made = _with(obj, _named(obj, "labels"))
    spec = {key: made["spec"][key] for key in ("taints", "unschedulable") if key in made["spec"]}
    conditions = {each.get("type"): each.get("status") for each in status.get("conditions") or ()}
    # A node with conditions but without this one is not ready; one without any is.
    ready = [{"type": "Ready", "status": conditions.get("Ready", "Unknown")}] if conditions else []
    kept: Json = {"conditions": ready}
    kept |= {key: status[key] for key in ("allocatable", "declaredFeatures") if status.get(key)}
    return {**made, "spec": spec, "status": kept}


def _with(obj: Json, metadata: Json) -> Json:
    return {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj["kind"],
        "metadata": metadata,
        "spec": _without_config(obj.get("spec") or {}),
    }


def _without_config(spec: Json) -> Json:
    """Return a spec without what is only for drivers: opaque, long, and nobody else's business."""
    if isinstance(spec.get("spec"), dict):
        return {**spec, "spec": _without_config(spec["spec"])}
    spec = {key: value for key, value in spec.items() if key != "config"}
    if isinstance(spec.get("devices"), dict):
        devices = spec["devices"]
        spec["devices"] = {key: value for key, value in devices.items() if key != "config"}
    return spec


def _named(obj: Json, *more: str) -> Json:
    metadata = _metadata(obj)
    return {key: metadata[key] for key in ("name", "namespace", *more) if metadata.get(key)}


def _identity(obj: Json) -> tuple[str, str, str]:
    metadata = _metadata(obj)
    return obj["kind"], metadata.get("namespace", ""), metadata.get("name", "")


def _metadata(obj: Json) -> Json:
    metadata = obj.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _references(pod: Json) -> tuple[Json, ...]:
    return tuple((pod.get("spec") or {}).get("resourceClaims") or ())


def _statuses(pod: Json) -> tuple[Json, ...]:
    return tuple((pod.get("status") or {}).get("resourceClaimStatuses") or ())
