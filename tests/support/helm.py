# SPDX-License-Identifier: Apache-2.0
"""Helm, as the tests call it: the program that ``tools/helm`` pins, on the chart of this checkout.

- ``install_chart(kubeconfig, namespace, values)``, ``upgrade_chart(...)`` -> Helm's notes;
  ``uninstall_chart(kubeconfig, namespace)``.
- ``render_chart(values, namespace=..., kube_version=...)`` -> what ``helm template`` prints.

On releases without admission policies the first two also see to it that the gate is served
(``tests.support.gatekeeper``). Everything else is ``berth.localcluster.helm``, which these call.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from berth.localcluster.helm import run_helm
from tests.support import gatekeeper
from tests.support.kube import Kube

SYSTEM = "berth-system"
"""The namespace that tests install the chart in."""

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "berth"
RELEASE = "berth"
KUBE_VERSION = "1.37.2"


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
    gatekeeper.stop(kubeconfig)
    run_helm("uninstall", RELEASE, "--namespace", namespace, "--wait", kubeconfig=kubeconfig)


def _deploy(
    verb: str, kubeconfig: Path, namespace: str, values: Mapping[str, Any], *options: str
) -> str:
    values, port = gatekeeper.adapted(values)
    command = (verb, RELEASE, str(CHART), "--namespace", namespace, *options)
    notes = run_helm(*command, "--values", "-", kubeconfig=kubeconfig, stdin=json.dumps(values))
    if port is not None:
        gatekeeper.start(kubeconfig, namespace, port)
    return notes


async def chart_account(kubeconfig: Path, folder: Path) -> Path:
    """Return a kubeconfig of the chart's ServiceAccount, written into ``folder``."""
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        token = await kube.token(SYSTEM, "berth", seconds=7200)
        return kube.write_kubeconfig(folder / "operator.kubeconfig", token=token)
