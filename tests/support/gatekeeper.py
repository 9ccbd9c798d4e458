# SPDX-License-Identifier: Apache-2.0
"""Who adds the gate on releases without MutatingAdmissionPolicies, while tests stop and kill Berth.

There the gate is a webhook of the operator's, and a cluster has two replicas so that one answers
while the other is down. In tests the second one is this: an operator that only observes and
serves the webhook, from the installation of the chart to its end.
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from berth.localcluster import install, spec, webhook
from tests.support.operators import OperatorProcess

LISTENS_WITHIN = 60
_running: dict[Path, OperatorProcess] = {}


def adapted(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], int | None]:
    """Return the chart's values for the release under test, and the port that must be served.

    Only for an operator outside the cluster whose pods are gated; others are as they are given.
    """
    outside = not values.get("operator", {}).get("deploy", True)
    if values.get("mode") != "gated" or not outside or "webhook" in values.get("gate", {}):
        return values, None
    if not webhook.is_needed(spec.default_release()):
        return values, None
    port = webhook.free_port()
    gate = {**values.get("gate", {}), **webhook.values(port)["gate"]}
    return {**values, "gate": gate}, port


def start(kubeconfig: Path, namespace: str, port: int) -> None:
    """Serve the webhook of the release that is installed; ends with the tests at the latest."""
    stop(kubeconfig)
    folder = Path(tempfile.mkdtemp(prefix="berth-gatekeeper-"))
    manifest = install.installed_manifest(kubeconfig, namespace=namespace)
    settings = webhook.save(manifest, folder, port)
    keeper = OperatorProcess.start(
        kubeconfig,
        folder / "operator.log",
        settings={**settings, "BERTH_MODE": "observe"},
        within=LISTENS_WITHIN,
    )
    _running[kubeconfig] = keeper
    deadline = time.monotonic() + LISTENS_WITHIN
    while not _listens(port):
        assert time.monotonic() < deadline, f"no webhook: {keeper.log_path.read_text()[-2000:]}"
        time.sleep(0.1)


def stop(kubeconfig: Path) -> None:
    """End it, where there is one."""
    keeper = _running.pop(kubeconfig, None)
    if keeper is not None:
        keeper.kill()


def stop_all() -> None:
    """End all of them; tests that are interrupted come here too."""
    for kubeconfig in list(_running):
        stop(kubeconfig)


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
