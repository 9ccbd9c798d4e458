# SPDX-License-Identifier: Apache-2.0
"""What the webhook answers: which pods are gated, which claims are protected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from berth.controller.admission import (
    WebhookError,
    finalizers_of_new_claim,
    gates_of_new_pod,
    webhook_server,
)
from berth.controller.settings import Settings, SettingsError

GATE = {"name": "berth.dev/dra"}
QUOTA = {"name": "example.com/quota"}
CLAIMS = [{"name": "gpu", "resourceClaimName": "one"}]
FINALIZER = "resource.kubernetes.io/delete-protection"


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        pytest.param({"resourceClaims": CLAIMS}, [GATE], id="a pod with a claim"),
        pytest.param({}, None, id="a pod without claims"),
        pytest.param({"resourceClaims": []}, None, id="an empty list of claims"),
        pytest.param({"resourceClaims": CLAIMS, "nodeName": "n"}, None, id="a pod that has a node"),
        pytest.param(
            {"resourceClaims": CLAIMS, "schedulingGates": [QUOTA]},
            [QUOTA, GATE],
            id="another gate stays, and comes first",
        ),
        pytest.param(
            {"resourceClaims": CLAIMS, "schedulingGates": [GATE, QUOTA]},
            None,
            id="a gate that is there is not added twice",
        ),
    ],
)
def test_gates_of_a_new_pod(spec: dict[str, Any], want: list[Any] | None) -> None:
    assert gates_of_new_pod({"metadata": {"name": "p"}, "spec": spec}) == want


def test_new_claims_are_protected_once() -> None:
    assert finalizers_of_new_claim({}) == [FINALIZER]
    assert finalizers_of_new_claim({"metadata": {"finalizers": ["a/b"]}}) == ["a/b", FINALIZER]
    assert finalizers_of_new_claim({"metadata": {"finalizers": [FINALIZER]}}) is None


def test_no_port_means_no_webhook() -> None:
    assert webhook_server(Settings(), lambda: None) is None


def test_a_port_needs_certificates() -> None:
    with pytest.raises(SettingsError, match=r"BERTH_WEBHOOK_CERTIFICATES.*must be set"):
        Settings.from_environment({"BERTH_WEBHOOK_PORT": "9443"})


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    settings = Settings(webhook_port=9443, webhook_certificates=str(tmp_path))
    with pytest.raises(WebhookError, match=r"tls\.crt. and .*tls\.key. cannot be used.*CERTIFIC"):
        webhook_server(settings, lambda: None)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("not PEM")
    with pytest.raises(WebhookError, match="cannot be used"):
        webhook_server(settings, lambda: None)
