# SPDX-License-Identifier: Apache-2.0
"""What the chart's roles allow, right by right, and roles with one right less.

``rights_of(values)`` -> the rights of the rendered ClusterRole and Role; ``Accounts`` makes
ServiceAccounts with exactly some of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.support.audit import Request
from tests.support.helm import CHART, SYSTEM, render_chart
from tests.support.kube import Kube
from tests.support.kube_access import Json

READS = frozenset({"get", "list", "watch"})
ALL_MODES: dict[str, dict[str, Any]] = {
    "observe": {},
    "gated": {"mode": "gated"},
    "gated-generate-claims": {"mode": "gated", "generateClaims": True},
    "fenced": {"mode": "fenced", "fence": {"drivers": ["fenced.example.com"]}},
}


def _known(values: Mapping[str, Any]) -> bool:
    schema = json.loads((CHART / "values.schema.json").read_text())
    return values.get("mode", "observe") in schema["properties"]["mode"]["enum"]


MODES = {name: values for name, values in ALL_MODES.items() if _known(values)}
"""Name → values of the chart, for the modes that it has."""


class Right(NamedTuple):
    """One verb on one resource; ``names`` limits it to objects of these names."""

    group: str
    resource: str
    verb: str
    namespaced: bool = False
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}"


def manifests_of(values: Mapping[str, Any]) -> list[Json]:
    return [each for each in yaml.safe_load_all(render_chart(values)) if each]


def rights_of(manifests: Iterable[Json]) -> tuple[Right, ...]:
    """Return the rights of the operator in order of the chart; a right given twice counts once."""
    found: dict[Right, None] = {}
    for manifest in manifests:
        if manifest["kind"] not in {"ClusterRole", "Role"}:
            continue
        for rule in manifest["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        names = tuple(rule.get("resourceNames") or ())
                        found[Right(group, resource, verb, manifest["kind"] == "Role", names)] = (
                            None
                        )
    return tuple(found)


def outside(requests: Iterable[Request], rights: Iterable[Right]) -> list[str]:
    """Return the requests that no right covers, as text; asking what is served needs none."""
    allowed = {each[:3] for each in rights}
    return sorted(
        {
            f"{each.verb} {each.group}/{each.resource}: {each.path}"
            for each in requests
            if (each.group, each.resource, each.verb) not in allowed
            and not (each.resource == "" and each.verb == "get")
        }
    )


def unused(requests: Iterable[Request], rights: Iterable[Right]) -> list[str]:
    """Return the rights that no request needed.

    Without the right ``binding``: no request is for it, the API server asks for it on the side.
    """
    used = {(each.group, each.resource, each.verb) for each in requests}
    return [
        str(each)
        for each in rights
        if each[:3] not in used and each.resource != "resourceclaims/binding"
    ]


class Accounts:
    """Makes ServiceAccounts with chosen rights, and kubeconfigs for them."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube = kube
        self._folder = folder

    async def make(self, name: str, rights: Iterable[Right]) -> Path:
        """Return the kubeconfig of a new ServiceAccount ``name`` that may do ``rights``."""
        rights = tuple(rights)
        await self._kube.create(_object("v1", "ServiceAccount", name, namespaced=True), SYSTEM)
        for namespaced in (False, True):
            await self._grant(name, [each for each in rights if each.namespaced is namespaced])
        token = await self._kube.token(SYSTEM, name, seconds=7200)
        return self._kube.write_kubeconfig(self._folder / f"{name}.kubeconfig", token=token)

    async def _grant(self, name: str, rights: list[Right]) -> None:
        if not rights:
            return
        namespaced = rights[0].namespaced
        kind = "Role" if namespaced else "ClusterRole"
        api = "rbac.authorization.k8s.io/v1"
        role = _object(api, kind, name, namespaced=namespaced)
        role["rules"] = [
            {
                "apiGroups": [each.group],
                "resources": [each.resource],
                "verbs": [each.verb],
                **({"resourceNames": list(each.names)} if each.names else {}),
            }
            for each in rights
        ]
        binding = _object(api, f"{kind}Binding", name, namespaced=namespaced)
        binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
        binding["subjects"] = [{"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}]
        await self._kube.create(role)
        await self._kube.create(binding)


def _object(api: str, kind: str, name: str, *, namespaced: bool) -> Json:
    metadata = {"name": name, **({"namespace": SYSTEM} if namespaced else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}
