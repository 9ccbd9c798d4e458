# SPDX-License-Identifier: Apache-2.0
"""Berth's chart on a cluster, and the chart's ServiceAccount for an operator outside of it.

Installs everything but the Deployment: roles, CRDs, admission policies, a default
AllocationPolicy. The operator then runs on this computer with exactly the rights that the chart
gives it. Helm is built from its pinned Go module, like the control plane.
"""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from berth.localcluster.build import ensure
from berth.localcluster.errors import LocalClusterError
from berth.localcluster.paths import cache_root, tools_root
from berth.localcluster.programs import helm
from berth.localcluster.progress import Progress, Silent

RELEASE = "berth"
NAMESPACE = "berth-system"
SERVICE_ACCOUNT = "berth"
HELM_SECONDS = 180

OUTSIDE: Mapping[str, Any] = {"mode": "gated", "operator": {"deploy": False}}
"""Values for an operator that runs outside the cluster."""
EVERY_NAMESPACE: Mapping[str, Any] = {
    **OUTSIDE,
    "namespaceSelector": {"matchLabels": {}, "matchExpressions": []},
}
"""The same for every namespace but the system's: a local cluster has nobody to be careful of."""


class HelmError(LocalClusterError):
    """Helm failed; the text is its own."""


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
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(dict(values), file)
        file.flush()
        chart, wanted = str(chart_root()), ("--values", file.name, "--create-namespace")
        _helm(kubeconfig, ("upgrade", "--install", RELEASE, chart, *wanted), namespace, progress)


def uninstall(kubeconfig: Path, *, namespace: str = NAMESPACE) -> None:
    """Remove the release; what it created goes with it, but for the namespace.

    Raises:
        HelmError: If Helm refuses; with its text.
    """
    _helm(kubeconfig, ("uninstall", RELEASE, "--ignore-not-found", "--wait"), namespace, None)


def is_installed(kubeconfig: Path, *, namespace: str = NAMESPACE) -> bool:
    """Tell whether the release is there."""
    listed = _helm(kubeconfig, ("list", "--short"), namespace, None)
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


def _helm(
    kubeconfig: Path, arguments: tuple[str, ...], namespace: str, progress: Progress | None
) -> str:
    binary = ensure([helm(tools_root())], cache_root(), progress or Silent())["helm"]
    # Nothing of the user's Helm or kubectl is read or written; above all not kubectl's cache of
    # what an API server serves, because another cluster may have had the same address.
    with tempfile.TemporaryDirectory(prefix="berth-helm-") as home:
        done = subprocess.run(
            [binary, *arguments, "--namespace", namespace, "--kubeconfig", kubeconfig],
            env={**os.environ, "HOME": home, "KUBECACHEDIR": home},
            capture_output=True,
            text=True,
            timeout=HELM_SECONDS,
            check=False,
        )
    if done.returncode:
        detail = (done.stderr or done.stdout).strip()
        raise HelmError(f"helm {arguments[0]} {RELEASE}: failed: {detail}")
    return done.stdout
