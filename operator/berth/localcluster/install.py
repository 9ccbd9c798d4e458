# SPDX-License-Identifier: Apache-2.0
"""Berth's chart on a cluster, and the chart's ServiceAccount for an operator outside of it.

Installs everything but the Deployment: roles, CRDs, admission policies, a default
AllocationPolicy. The operator then runs on this computer with exactly the rights that the chart
gives it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from berth.localcluster.errors import LocalClusterError
from berth.localcluster.helm import run_helm
from berth.localcluster.progress import Progress

RELEASE = "berth"
NAMESPACE = "berth-system"
SERVICE_ACCOUNT = "berth"

OUTSIDE: Mapping[str, Any] = {"mode": "gated", "operator": {"deploy": False}}
"""Values for an operator that runs outside the cluster."""
EVERY_NAMESPACE: Mapping[str, Any] = {
    **OUTSIDE,
    "namespaceSelector": {"matchLabels": {}, "matchExpressions": []},
}
"""The same for every namespace but the system's: a local cluster has nobody to be careful of."""


def every_namespace(mode: str, drivers: Sequence[str]) -> Mapping[str, Any]:
    """Return the values for ``mode`` in every namespace; ``fenced`` fences ``drivers``."""
    fence = {"fence": {"drivers": list(drivers)}} if mode == "fenced" else {}
    return {**EVERY_NAMESPACE, "mode": mode, **fence}


def chart_root() -> Path:
    """Return the chart's folder: beside an installed package, or in a source checkout."""
    return _carried("charts") / "berth"


def examples_root() -> Path:
    """Return the folder of the examples, one folder each, likewise."""
    return _carried("examples")


def _carried(folder: str) -> Path:
    here = Path(__file__).resolve()
    for candidate in (here.parent / folder, here.parents[3] / folder):
        if candidate.is_dir():
            return candidate
    raise LocalClusterError(
        f"{here.parent}: the folder `{folder}` is missing: "
        "neither beside the package nor at the top of a source checkout"
    )


def install(
    kubeconfig: Path,
    values: Mapping[str, Any],
    *,
    namespace: str = NAMESPACE,
    progress: Progress | None = None,
) -> None:
    """Install the chart, or upgrade the release that is there.

    Args:
        kubeconfig: Whose rights to use; they must allow to create roles and CRDs.
        values: Values of the chart, on top of its own.
        namespace: The release's namespace; created if it is missing.
        progress: Where it is told that Helm is being built, if it is.

    Raises:
        HelmError: If Helm refuses; with its text.
        BuildError: If Helm cannot be built.
    """
    command = ("upgrade", "--install", RELEASE, str(chart_root()), "--namespace", namespace)
    run_helm(
        *(*command, "--values", "-", "--create-namespace"),
        kubeconfig=kubeconfig,
        stdin=json.dumps(dict(values)),
        progress=progress,
    )


def installed_manifest(kubeconfig: Path, *, namespace: str = NAMESPACE) -> str:
    """Return the objects of the release, as YAML documents; errors as `install`."""
    return run_helm("get", "manifest", RELEASE, "--namespace", namespace, kubeconfig=kubeconfig)


def uninstall(kubeconfig: Path, *, namespace: str = NAMESPACE) -> None:
    """Remove the release; what it created goes with it, but for the namespace.

    Raises:
        HelmError: If Helm refuses; with its text.
    """
    command = ("uninstall", RELEASE, "--namespace", namespace, "--ignore-not-found", "--wait")
    run_helm(*command, kubeconfig=kubeconfig)


def is_installed(kubeconfig: Path, *, namespace: str = NAMESPACE) -> bool:
    """Tell whether the release is there."""
    listed = run_helm("list", "--short", "--namespace", namespace, kubeconfig=kubeconfig)
    return RELEASE in listed.split()


def account_kubeconfig(admin: Path, token: str) -> str:
    """Return a kubeconfig for the same server as ``admin``, with a ServiceAccount's token."""
    config = yaml.safe_load(admin.read_text())
    current = next(c for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c for c in config["clusters"] if c["name"] == current["context"]["cluster"])
    server = dict(cluster["cluster"])
    authority = server.pop("certificate-authority", None)
    if authority is not None:
        data = (admin.parent / authority).read_bytes()
        server["certificate-authority-data"] = base64.b64encode(data).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": RELEASE,
            "clusters": [{"name": RELEASE, "cluster": server}],
            "users": [{"name": RELEASE, "user": {"token": token}}],
            "contexts": [{"name": RELEASE, "context": {"cluster": RELEASE, "user": RELEASE}}],
        }
    )
