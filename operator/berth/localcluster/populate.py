# SPDX-License-Identifier: Apache-2.0
"""Fills a new cluster with what its profile has, and waits until it is usable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from berth.codec.versions import GROUP, VERSIONS, from_v1
from berth.localcluster import profiles
from berth.localcluster.api import OK
from berth.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from berth.localcluster.api import Api
    from berth.localcluster.progress import Progress
    from berth.localcluster.spec import ClusterSpec

SAY_EVERY = 500
"""Objects between two lines of progress."""


def populate(api: Api, spec: ClusterSpec, progress: Progress) -> None:
    """Create nodes, class and slices.

    Raises:
        LocalClusterError: If the API server refuses one.
    """
    device_class, slices_of = profiles.PROFILES[spec.profile]
    ready = "kwok" in spec.without
    version = api.served(GROUP, VERSIONS)
    names = tuple(profiles.node_names(spec.nodes))
    nodes = [profiles.node(name, index, ready=ready) for index, name in enumerate(names)]
    slices = [
        each for index, name in enumerate(names) for each in slices_of(name, index, spec.devices)
    ]
    for what, manifests in (
        ("device classes", [device_class()]),
        ("nodes", nodes),
        ("resource slices", slices),
    ):
        total = len(manifests)

        def done(count: int, what: str = what, total: int = total) -> None:
            if count % SAY_EVERY == 0 and count < total:
                progress.say(f"created {count} of {total} {what}")

        api.create_all([from_v1(each, version) for each in manifests], done)


def wait_usable(api: Api, spec: ClusterSpec, check: Callable[[], None], patience: float) -> None:
    """Wait until the controller manager works and every node is ready for pods.

    Raises:
        LocalClusterError: If that takes longer than ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    missing = "no answer yet"
    while time.monotonic() < deadline:
        check()
        missing = _missing(api, spec)
        if not missing:
            return
        time.sleep(0.1 if spec.nodes <= SAY_EVERY else 1.0)
    raise LocalClusterError(f"cluster {spec.name}: not usable within {patience:.0f} s: {missing}")


def _missing(api: Api, spec: ClusterSpec) -> str:
    if "kube-controller-manager" not in spec.without:
        status, _ = api.request("GET", "/api/v1/namespaces/default/serviceaccounts/default")
        if status != OK:
            return "kube-controller-manager made no default service account yet"
    status, answer = api.request("GET", "/api/v1/nodes")
    if status != OK:
        return f"the nodes cannot be listed: {status}"
    waiting = [
        each["metadata"]["name"] for each in json.loads(answer)["items"] if not _usable(each)
    ]
    return f"{len(waiting)} of {spec.nodes} nodes are not ready: {waiting[0]} …" if waiting else ""


def _usable(node: dict[str, Any]) -> bool:
    ready = any(
        each["type"] == "Ready" and each["status"] == "True"
        for each in node["status"].get("conditions") or ()
    )
    return ready and not node["spec"].get("taints")
