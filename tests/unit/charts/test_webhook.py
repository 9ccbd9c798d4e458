# SPDX-License-Identifier: Apache-2.0
"""The chart's webhook, where there is no admission policy: who is asked, what, and by which TLS."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.controller.admission import CERTIFICATE, FINALIZER_ID, GATE_ID, KEY
from berth.localcluster import webhook
from berth.localcluster.errors import LocalClusterError
from tests.support.helm import render_chart

pytestmark = pytest.mark.timeout(600)

Json = dict[str, Any]
OLD = "1.35.4"
GATED: Json = {"mode": "gated"}


def rendered(values: Json, **options: Any) -> dict[tuple[str, str], Json]:
    found = [each for each in yaml.safe_load_all(render_chart(values, **options)) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def admission(objects: dict[tuple[str, str], Json]) -> set[str]:
    return {kind for kind, _ in objects if kind.startswith("Mutating")}


@pytest.mark.parametrize(
    ("by", "version", "want"),
    [
        ("auto", "1.34.4", "webhook"),
        ("auto", "1.35.4", "webhook"),
        ("auto", "1.36.3", "policy"),
        ("auto", "1.37.2", "policy"),
        ("webhook", "1.37.2", "webhook"),
        ("policy", "1.37.2", "policy"),
    ],
)
def test_the_release_decides_what_adds_the_gate_unless_a_value_does(
    by: str, version: str, want: str
) -> None:
    kinds = {
        "webhook": {"MutatingWebhookConfiguration"},
        "policy": {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"},
    }
    objects = rendered({**GATED, "gate": {"by": by}}, kube_version=version)
    assert admission(objects) == kinds[want]
    assert (("Secret", "berth-webhook") in objects) is (want == "webhook")
    assert (("Service", "berth-webhook") in objects) is (want == "webhook")


def test_observe_has_no_webhook_on_any_release() -> None:
    assert admission(rendered({"gate": {"by": "webhook"}}, kube_version=OLD)) == set()


def test_webhook_and_policy_ask_about_the_same_pods_and_claims() -> None:
    values = {**GATED, "gate": {"failurePolicy": "Ignore", "excludedNamespaces": ["quiet"]}}
    hooks = rendered(values, kube_version=OLD)[("MutatingWebhookConfiguration", "berth-gate")]
    policies = rendered(values)
    for hook, name in zip(hooks["webhooks"], ("berth-gate", "berth-claim-finalizer"), strict=True):
        policy = policies[("MutatingAdmissionPolicy", name)]["spec"]
        binding = policies[("MutatingAdmissionPolicyBinding", name)]["spec"]
        assert hook["matchConditions"] == policy["matchConditions"]
        assert hook["failurePolicy"] == policy["failurePolicy"]
        assert hook["reinvocationPolicy"] == policy["reinvocationPolicy"]
        assert hook["namespaceSelector"] == binding["matchResources"]["namespaceSelector"]
        (rule,) = hook["rules"]
        assert [{k: v for k, v in rule.items() if k != "scope"}] == policy["matchConstraints"][
            "resourceRules"
        ]


def test_the_pods_serve_what_the_api_server_asks_with_the_chart_s_certificate() -> None:
    objects = rendered(GATED, kube_version=OLD, namespace="elsewhere")
    secret = objects[("Secret", "berth-webhook")]["data"]
    hooks = objects[("MutatingWebhookConfiguration", "berth-gate")]["webhooks"]
    assert [each["clientConfig"] for each in hooks] == [
        {
            "caBundle": secret["ca.crt"],
            "service": {
                "name": "berth-webhook",
                "namespace": "elsewhere",
                "path": f"/{path}",
                "port": 443,
            },
        }
        for path in (GATE_ID, FINALIZER_ID)
    ]
    pod = objects[("Deployment", "berth")]["spec"]["template"]["spec"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "webhook")
    assert volume["secret"] == {
        "secretName": "berth-webhook",
        "items": [{"key": name, "path": name} for name in (CERTIFICATE, KEY)],
    }
    (container,) = pod["containers"]
    args = container["args"]
    folder = args[args.index("--webhook-certificates") + 1]
    assert {"name": "webhook", "mountPath": folder, "readOnly": True} in container["volumeMounts"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert str(ports["webhook"]) == args[args.index("--webhook-port") + 1]
    # No right to Secrets: the kubelet mounts this one.
    role = objects[("ClusterRole", "berth")]["rules"]
    assert not any("secrets" in rule["resources"] for rule in role)


def test_the_certificate_is_for_the_host_that_is_asked(tmp_path: Path) -> None:
    text = render_chart(
        {**GATED, "operator": {"deploy": False}, **webhook.values(9443)}, kube_version="1.37.2"
    )
    settings = webhook.save(text, tmp_path, 9443)
    assert settings == {
        "BERTH_WEBHOOK_PORT": "9443",
        "BERTH_WEBHOOK_CERTIFICATES": str(tmp_path / "webhook"),
    }
    objects = {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(text) if each
    }
    (gate, _) = objects[("MutatingWebhookConfiguration", "berth-gate")]["webhooks"]
    authority = base64.b64decode(gate["clientConfig"]["caBundle"]).decode()
    assert gate["clientConfig"]["url"] == "https://127.0.0.1:9443/gate"
    assert handshake(tmp_path / "webhook", authority, "127.0.0.1") == ""
    assert "mismatch" in handshake(tmp_path / "webhook", authority, "127.0.0.2")
    assert ("Deployment", "berth") not in objects


def handshake(folder: Path, authority: str, name: str) -> str:
    """Shake hands in memory as the API server would; return what it would complain about."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    client = ssl.create_default_context(cadata=authority)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(to_client, to_server, server_hostname=name)
    answers = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (asks, answers):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return str(error)
    return ""


def test_a_certificate_of_one_s_own_is_not_made_by_the_chart() -> None:
    own = {"secretName": "mine", "annotations": {"cert-manager.io/inject-ca-from": "a/b"}}
    objects = rendered({**GATED, "gate": {"webhook": own}}, kube_version=OLD)
    assert ("Secret", "berth-webhook") not in objects
    hooks = objects[("MutatingWebhookConfiguration", "berth-gate")]
    assert hooks["metadata"]["annotations"] == own["annotations"]
    assert all("caBundle" not in each["clientConfig"] for each in hooks["webhooks"])
    pod = objects[("Deployment", "berth")]["spec"]["template"]["spec"]
    (volume,) = (each for each in pod["volumes"] if each["name"] == "webhook")
    assert volume["secret"]["secretName"] == "mine"


def test_a_release_whose_gate_is_a_policy_has_no_certificate_to_save(tmp_path: Path) -> None:
    with pytest.raises(LocalClusterError, match="it has no webhook"):
        webhook.save(render_chart(GATED), tmp_path, 9443)


def test_only_releases_without_the_policy_need_the_webhook() -> None:
    needed = [each for each in ("1.34", "1.35", "1.36", "1.37") if webhook.is_needed(each)]
    assert needed == ["1.34", "1.35"]
