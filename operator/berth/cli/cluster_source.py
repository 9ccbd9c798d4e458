# SPDX-License-Identifier: Apache-2.0
"""Where verbs have their cluster from: the API server, dump files, scenario files, a pipe.

Only reads. The API client is imported when it is needed, because it pulls in Kopf. What the
objects mean is ``berth.scenario``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from berth.cli.output import reading, warn
from berth.errors import BerthError, DecodeError, ScenarioError
from berth.model.features import Features
from berth.scenario.documents import ApiObject, ScenarioText, read_documents
from berth.scenario.load import DEFAULT_NAMESPACE, KINDS, Loaded, load
from berth.scenario.parse import Scenario, parse_scenario
from berth.simulate.run import Wanted, add_wanted, open_scenario, wanted_of

if TYPE_CHECKING:
    from berth.controller.api import ApiClient

STDIN = "-"
DRA_KINDS = (
    ("DeviceClass", "deviceclasses"),
    ("ResourceSlice", "resourceslices"),
    ("ResourceClaim", "resourceclaims"),
    ("ResourceClaimTemplate", "resourceclaimtemplates"),
    ("DeviceTaintRule", "devicetaintrules"),
)
"""Each in the version that the cluster serves; the last one need not be served."""
LISTS = (
    ("Node", "/api/v1/nodes"),
    ("Pod", "/api/v1/pods"),
    ("Namespace", "/api/v1/namespaces"),
)
OPTIONAL_LISTS = (("AllocationPolicy", "/apis/berth.dev/v1alpha1/allocationpolicies"),)
"""Kinds that a cluster need not serve, or that need not be readable."""
MAX_WARNINGS = 5
MAX_NAMES = 8

Files = Annotated[
    list[str] | None,
    typer.Argument(
        help="Dumps (`kubectl get … -A -o json`), manifests or a scenario; `-` is standard input. "
        "None: the live cluster.",
        show_default=False,
    ),
]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace of what is named without one.")
]
Kubeconfig = Annotated[
    str | None, typer.Option(help="Path of a kubeconfig; else KUBECONFIG, else in-cluster.")
]
Context = Annotated[str | None, typer.Option(help="Context in the kubeconfig.")]


class NotInClusterError(BerthError):
    """What was asked about is not there; ``known`` are names that might have been meant."""

    def __init__(self, what: str, where: str, known: Sequence[str]) -> None:
        self.what = what
        self.where = where
        self.known = tuple(known)
        shown = ", ".join(known[:MAX_NAMES]) + (", …" if len(known) > MAX_NAMES else "")
        there = f"there is {shown}" if known else "there is none in that namespace"
        super().__init__(f"{what}: not found in {where}: {there}")


@dataclass(frozen=True, slots=True)
class Source:
    """A filled ledger, and where it is from; ``wanted`` is what files ask to be placed.

    ``scenario`` is set where the cluster is that of a scenario file.
    """

    loaded: Loaded
    name: str
    wanted: Wanted
    scenario: Scenario | None = None


def from_files(files: Sequence[str], namespace: str | None) -> Source:
    """Return the cluster that ``files`` together describe.

    Raises:
        DecodeError: If one cannot be used; the error names file, object and field.
        ScenarioError: If a scenario is mixed with other files.
        OSError: If one cannot be read.
    """
    with reading(", ".join(map(_shown, files))):
        objects = read_objects(files)
        if isinstance(objects, Scenario):
            loaded, wanted = open_scenario(objects)
            return Source(loaded, objects.source, wanted, objects)
        _check_any(files, objects)
        loaded = load(objects, namespace=namespace or DEFAULT_NAMESPACE)
    return Source(loaded, ", ".join(map(_shown, files)), wanted_of(loaded.cluster, loaded.objects))


def read_objects(files: Sequence[str]) -> tuple[ApiObject, ...] | Scenario:
    """Return the objects of ``files``, or the one scenario that they are. Errors as above."""
    documents = [each for file in files for each in read_documents(_shown(file), _read(file))]
    scenarios = [each for each in documents if isinstance(each, ScenarioText)]
    if not scenarios:
        return tuple(each for each in documents if isinstance(each, ApiObject))
    if len(documents) > 1:
        raise ScenarioError(scenarios[0].source, "a scenario is complete: give it alone")
    return parse_scenario(scenarios[0])


def from_cluster(kubeconfig: str | None, context: str | None) -> Source:
    """Return the live cluster; objects that cannot be decoded are left out, with a warning.

    Raises:
        BerthError: If the API server cannot be asked, or does not serve DRA.
    """
    with reading("the cluster"):
        objects, features = asyncio.run(_listed(kubeconfig, context))
        loaded = load(objects, features=features, skip_mistakes=True)
    for error in loaded.skipped[:MAX_WARNINGS]:
        warn(f"left out: {error}")
    if len(loaded.skipped) > MAX_WARNINGS:
        warn(f"left out: {len(loaded.skipped) - MAX_WARNINGS} more objects")
    return Source(loaded, "the cluster", wanted_of(loaded.cluster, loaded.objects))


def get_source(
    files: Sequence[str] | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> tuple[Source, str]:
    """Return the cluster of ``files``, or the live one; and the namespace that counts."""
    if files:
        return from_files(files, namespace), namespace or DEFAULT_NAMESPACE
    source = from_cluster(kubeconfig, context)
    return source, namespace or context_namespace(kubeconfig, context)


def add_files(source: Source, objects: Iterable[ApiObject], namespace: str) -> Source:
    """Return ``source`` with the objects of manifests, which are wanted, entered."""
    with reading("manifests"):
        wanted = add_wanted(source.loaded, objects, namespace=namespace)
    return Source(source.loaded, source.name, wanted, source.scenario)


def context_namespace(kubeconfig: str | None, context: str | None) -> str:
    """Return the namespace of the kubeconfig's context, as kubectl would take it."""
    paths = (kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep)
    contexts: dict[str, str] = {}
    current = context
    for path in paths:
        # Who connects with this file has reported what is wrong with it.
        file = Path(path).expanduser()
        data = yaml.safe_load(file.read_bytes()) if path and file.is_file() else None
        if not isinstance(data, dict):
            continue
        current = current or data.get("current-context")
        for entry in data.get("contexts") or ():
            contexts.setdefault(
                entry.get("name", ""), (entry.get("context") or {}).get("namespace", "")
            )
    return contexts.get(current or "", "") or DEFAULT_NAMESPACE


async def _listed(kubeconfig: str | None, context: str | None) -> tuple[list[ApiObject], Features]:
    from berth.controller.api import ApiClient  # noqa: PLC0415 - pulls in Kopf
    from berth.controller.credentials import load_credentials  # noqa: PLC0415 - as above
    from berth.controller.served import discover  # noqa: PLC0415 - as above

    async with ApiClient(await load_credentials(kubeconfig, context)) as api:
        await api.open()
        served = await discover(api)
        dra = [(kind, path) for kind, plural in DRA_KINDS if (path := served.path_of(plural))]
        lists = await asyncio.gather(
            *(_list(api, kind, path, optional=kind == "DeviceTaintRule") for kind, path in dra),
            *(_list(api, kind, path, optional=False) for kind, path in LISTS),
            *(_list(api, kind, path, optional=True) for kind, path in OPTIONAL_LISTS),
        )
    return [each for found in lists for each in found], served.features


async def _list(api: ApiClient, kind: str, path: str, *, optional: bool) -> list[ApiObject]:
    from berth.controller.apierrors import ApiError  # noqa: PLC0415 - as above

    try:
        items = (await api.list(path))["items"]
    except ApiError as error:
        if optional and error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN}:
            return []
        raise
    # Items of a list do not repeat their kind.
    return [ApiObject("the cluster", _with_kind(item, kind)) for item in items]


def _with_kind(item: Any, kind: str) -> dict[str, Any]:
    return {"kind": kind, **item}


def _check_any(files: Sequence[str], objects: Sequence[ApiObject]) -> None:
    if not any(each.kind in KINDS for each in objects):
        kinds = ", ".join(sorted({each.kind for each in objects})) or "nothing"
        raise DecodeError(
            ", ".join(map(_shown, files)),
            "",
            f"no object that matters here: found {kinds}, expected kinds like {KINDS[1]}, Node, "
            f"{KINDS[0]}, ResourceClaim, Pod",
        )


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()


def _shown(file: str) -> str:
    return "standard input" if file == STDIN else file
