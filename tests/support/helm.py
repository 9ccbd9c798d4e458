# SPDX-License-Identifier: Apache-2.0
"""Helm, as the tests call it: the program that ``tools/helm`` pins, on the chart of this checkout.

- ``install_chart(kubeconfig, namespace, values)``, ``upgrade_chart(...)`` -> Helm's notes;
  ``uninstall_chart(kubeconfig, namespace)``.
- ``render_chart(values, namespace=..., kube_version=...)`` -> what ``helm template`` prints.
- ``run_helm(*arguments, kubeconfig=None)`` is the door to everything else.

A refusal by Helm is a ``HelmError`` with what it printed. Nothing of the user's own Helm or kubectl
is read or written: Helm's folders are thrown away after each call, the cache of what an API server
serves among them, because local clusters use the same ports again.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from berth.localcluster import build, paths, programs
from berth.localcluster.progress import Silent

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "berth"
RELEASE = "berth"
KUBE_VERSION = "1.37.2"


class HelmError(Exception):
    """Helm ended with another exit code than 0; ``output`` is what it printed."""

    def __init__(self, arguments: tuple[str, ...], output: str) -> None:
        self.output = output
        super().__init__(f"helm {' '.join(arguments)}:\n{output}")


def helm_binary() -> Path:
    """Return Helm, built first where this computer has not built it yet (minutes)."""
    program = programs.helm(paths.tools_root())
    return build.ensure([program], paths.cache_root(), Silent())[program.name]


def run_helm(*arguments: str, kubeconfig: Path | None = None, stdin: str = "") -> str:
    """Run Helm and return what it printed to stdout.

    Without ``kubeconfig`` it can reach no cluster.
    """
    with tempfile.TemporaryDirectory(prefix="berth-helm-") as folder:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": folder,
            "KUBECACHEDIR": folder,
            "KUBECONFIG": str(kubeconfig or Path(folder) / "none"),
        }
        done = subprocess.run(
            [helm_binary(), *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    if done.returncode != 0:
        raise HelmError(arguments, done.stdout + done.stderr)
    return done.stdout


def render_chart(
    values: Mapping[str, Any],
    *,
    namespace: str = "berth-system",
    kube_version: str = KUBE_VERSION,
    served: tuple[str, ...] = (),
) -> str:
    """Return the manifests; ``served`` are further ``group/version/Kind`` of the cluster."""
    extra = [part for each in served for part in ("--api-versions", each)]
    command = ("template", RELEASE, str(CHART), "--namespace", namespace)
    options = ("--kube-version", kube_version, *extra, "--values", "-")
    return run_helm(*command, *options, stdin=json.dumps(values))


def install_chart(kubeconfig: Path, namespace: str, values: Mapping[str, Any]) -> str:
    """Install the chart as release ``berth``, making ``namespace``; return Helm's notes."""
    return _deploy("install", kubeconfig, namespace, values, "--create-namespace", "--wait")


def upgrade_chart(kubeconfig: Path, namespace: str, values: Mapping[str, Any]) -> str:
    """Upgrade the release to ``values`` over the chart's defaults; return Helm's notes."""
    return _deploy("upgrade", kubeconfig, namespace, values, "--reset-values")


def uninstall_chart(kubeconfig: Path, namespace: str) -> None:
    """Uninstall the release and wait until its objects are gone."""
    run_helm("uninstall", RELEASE, "--namespace", namespace, "--wait", kubeconfig=kubeconfig)


def _deploy(
    verb: str, kubeconfig: Path, namespace: str, values: Mapping[str, Any], *options: str
) -> str:
    command = (verb, RELEASE, str(CHART), "--namespace", namespace, *options)
    return run_helm(*command, "--values", "-", kubeconfig=kubeconfig, stdin=json.dumps(values))
