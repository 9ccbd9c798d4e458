# SPDX-License-Identifier: Apache-2.0
"""Other names for the objects of a scenario, so that it can be shown to strangers.

Decides which names are replaced: of namespaces, nodes, pods, claims, templates, classes, pools and
slices; uids; labels and attributes that nothing reads are left out. New names sort as the old ones
did, because order decides between equals. Driver and device names, taints, and everything that
expressions and selectors read stay, or they would say something else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from berth.scenario.documents import Json

OF_KIND: Mapping[str, str] = {
    "Pod": "pod",
    "ResourceClaim": "claim",
    "ResourceClaimTemplate": "template",
    "DeviceClass": "class",
    "Node": "node",
    "ResourceSlice": "slice",
    "DeviceTaintRule": "rule",
}
OF_FIELD: Mapping[str, str] = {
    "namespace": "namespace",
    "nodeName": "node",
    "resourceClaimName": "claim",
    "resourceClaimTemplateName": "template",
    "deviceClassName": "class",
    "pool": "pool",
    "uid": "uid",
}
OF_REFERENCE = frozenset({"resourceClaims", "resourceClaimStatuses"})
HOSTNAME = "kubernetes.io/hostname"


class Names:
    """New names by category and old name; the same old name always gets the same new one."""

    def __init__(self, objects: Iterable[Json]) -> None:
        objects = tuple(objects)
        found: dict[str, set[str]] = defaultdict(set)
        for obj in objects:
            _collect(obj, found)
        self._new = {
            category: {
                old: f"{category}-{number:0{len(str(len(names)))}}"
                for number, old in enumerate(sorted(names), start=1)
            }
            for category, names in found.items()
        }
        self._read = _read_texts(objects)

    def of(self, category: str, old: str) -> str:
        """Return the new name; what no object defines keeps its name."""
        return self._new.get(category, {}).get(old, old)

    def device(self, text: str) -> str:
        """Return ``driver/pool/device`` with the new name of the pool."""
        driver, pool, device = (
            text.split("/", maxsplit=1)[0],
            "/".join(text.split("/")[1:-1]),
            text.rsplit("/", maxsplit=1)[-1],
        )
        return f"{driver}/{self.of('pool', pool)}/{device}"

    def renamed(self, obj: Json) -> Json:
        """Return the object with new names."""
        made: Json = {key: self._value(key, value) for key, value in obj.items()}
        made["metadata"] = self._metadata(obj)
        spec = made.get("spec")
        if obj["kind"] == "ResourceSlice" and isinstance(spec, dict):
            spec["devices"] = [self._device(each) for each in spec.get("devices") or ()]
        return made

    def _metadata(self, obj: Json) -> Json:
        metadata = dict(obj["metadata"])
        labels = metadata.pop("labels", None) or {}
        owners = metadata.pop("ownerReferences", None) or ()
        made: Json = {key: self._value(key, value) for key, value in metadata.items()}
        made["name"] = self.of(OF_KIND.get(obj["kind"], ""), metadata.get("name", ""))
        kept = {
            key: self.of("node", value)
            for key, value in labels.items()
            if key == HOSTNAME or self._is_read(key)
        }
        if kept:
            made["labels"] = kept
        if owners:
            made["ownerReferences"] = [
                {
                    **each,
                    "name": self.of(OF_KIND.get(each.get("kind", ""), ""), each.get("name", "")),
                    "uid": self.of("uid", each.get("uid", "")),
                }
                for each in owners
            ]
        return made

    def _device(self, device: Json) -> Json:
        attributes = device.get("attributes") or {}
        kept = {key: value for key, value in attributes.items() if self._is_read(key)}
        return {**device, **({"attributes": kept} if attributes else {})}

    def _is_read(self, key: str) -> bool:
        """Tell whether any text that is evaluated mentions the last part of ``key``."""
        name = key.rpartition("/")[2]
        return any(name in text for text in self._read)

    def _value(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            category = OF_FIELD.get(key)
            return self.of(category, value) if category else value
        if isinstance(value, list):
            if key == "values":
                return [self.of("node", each) for each in value]
            if key == "reservedFor":
                return [self._consumer(each) for each in value]
            if key in OF_REFERENCE:
                return [
                    {**self._value("", each), "name": self.of("reference", each.get("name", ""))}
                    for each in value
                ]
            return [self._value("", each) for each in value]
        if isinstance(value, dict):
            if key == "annotations":
                return {name: self.of("reference", each) for name, each in value.items()}
            if key == "pool":
                return {**value, "name": self.of("pool", value.get("name", ""))}
            if key == "nodeSelector" and "nodeSelectorTerms" not in value:
                return {name: self.of("node", each) for name, each in value.items()}
            return {name: self._value(name, each) for name, each in value.items()}
        return value

    def _consumer(self, consumer: Json) -> Json:
        name = consumer.get("name", "")
        is_pod = consumer.get("resource") == "pods"
        return {
            **consumer,
            "name": self.of("pod", name) if is_pod else name,
            "uid": self.of("uid", consumer.get("uid", "")),
        }


def _collect(obj: Json, found: dict[str, set[str]]) -> None:
    metadata = obj.get("metadata") or {}
    category = OF_KIND.get(obj["kind"])
    if category and metadata.get("name"):
        found[category].add(metadata["name"])
    for owner in metadata.get("ownerReferences") or ():
        found["uid"].add(owner.get("uid", ""))
        if owner.get("kind") in OF_KIND:
            found[OF_KIND[owner["kind"]]].add(owner.get("name", ""))
    _collect_fields("", obj, found)


def _collect_fields(key: str, value: Any, found: dict[str, set[str]]) -> None:
    if isinstance(value, dict):
        if key == "pool" and isinstance(value.get("name"), str):
            found["pool"].add(value["name"])
        for name, each in value.items():
            _collect_fields(name, each, found)
    elif isinstance(value, list):
        if key == "reservedFor":
            found["pod"].update(
                one.get("name", "") for one in value if one.get("resource") == "pods"
            )
        if key in OF_REFERENCE:
            found["reference"].update(one.get("name", "") for one in value)
        for each in value:
            _collect_fields("", each, found)
    elif isinstance(value, str) and key in OF_FIELD and value:
        found[OF_FIELD[key]].add(value)


def _read_texts(objects: Iterable[Json]) -> tuple[str, ...]:
    """Return every text that may name an attribute or a label: expressions, constraints, keys."""
    found: set[str] = set()

    def walk(key: str, value: Any) -> None:
        if isinstance(value, dict):
            if key == "nodeSelector":
                found.update(value)
            for name, each in value.items():
                walk(name, each)
        elif isinstance(value, list):
            for each in value:
                walk(key, each)
        elif isinstance(value, str) and key in {
            "expression",
            "matchAttribute",
            "distinctAttribute",
            "key",
        }:
            found.add(value)

    for obj in objects:
        walk("", {name: each for name, each in obj.items() if name != "metadata"})
    return tuple(found)
