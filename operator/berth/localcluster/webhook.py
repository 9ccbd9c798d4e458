# SPDX-License-Identifier: Apache-2.0
"""Berth's webhook for an operator that runs on this computer: address, certificate, settings.

Only for releases without MutatingAdmissionPolicies; on the others the chart's policy adds the
gate and nothing here is used. The chart makes the certificate; its files are kept beside the
cluster's kubeconfig, where ``berth run`` is told to find them.
"""

from __future__ import annotations

import base64
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from berth.localcluster.components import HOST
from berth.localcluster.errors import LocalClusterError

FOLDER = "webhook"
POLICY_SINCE = (1, 36)
"""The release from which the API server itself can add the gate."""


def is_needed(kubernetes: str) -> bool:
    """Tell whether a release (``1.34``) needs the webhook for its gate."""
    major, minor = kubernetes.split(".")[:2]
    return (int(major), int(minor)) < POLICY_SINCE


def free_port() -> int:
    """Return a free loopback port; nothing keeps others from taking it afterwards."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def values(port: int) -> Mapping[str, Any]:
    """Return values of the chart for an operator that listens on this port of this computer."""
    return {"gate": {"by": "webhook", "webhook": {"url": f"https://{HOST}:{port}"}}}


def save(manifest: str, folder: Path, port: int) -> Mapping[str, str]:
    """Write the certificate of a release beside a kubeconfig; return the operator's settings.

    Args:
        manifest: What ``helm get manifest`` prints.
        folder: Where the kubeconfig is.
        port: The port of `values`.

    Raises:
        LocalClusterError: If the release has no webhook.
    """
    secrets = [
        each
        for each in yaml.safe_load_all(manifest)
        if each and each["kind"] == "Secret" and each["metadata"]["name"] == "berth-webhook"
    ]
    if not secrets:
        raise LocalClusterError("release berth: it has no webhook: its gate is a policy")
    place = folder / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    for name in ("tls.crt", "tls.key"):
        file = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(base64.b64decode(secrets[0]["data"][name]))
    return {"BERTH_WEBHOOK_PORT": str(port), "BERTH_WEBHOOK_CERTIFICATES": str(place)}
