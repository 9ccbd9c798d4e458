# SPDX-License-Identifier: Apache-2.0
"""What the chart renders: golden files, the roles of each mode, and values that are refused.

``BERTH_GOLDEN=write`` rewrites ``tests/golden/chart``; review the difference as prose. Helm is
built first where this computer has not built it yet, so the time limit is a long one.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.localcluster.helm import HelmError
from tests.support.helm import CHART, ROOT, render_chart

pytestmark = pytest.mark.timeout(600)

GOLDEN = ROOT / "tests" / "golden" / "chart"
CRD = Path("allocationpolicies.berth.dev.yaml")
MODES: dict[str, dict[str, Any]] = {
    "observe": {},
    "gated": {"mode": "gated"},
    "gated-generate-claims": {"mode": "gated", "generateClaims": True},
}


def rendered(values: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(render_chart(values, **options)) if each]


def only(manifests: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = (each for each in manifests if each["kind"] == kind)
    return found


def without_definition(text: str) -> str:
    """Leave out the definition: it is a file of its own, and tested as such."""
    parts = text.split("---\n# Source: ")
    return "---\n# Source: ".join(each for each in parts if "CustomResourceDefinition" not in each)


@pytest.mark.parametrize("name", MODES)
def test_the_chart_renders_as_recorded(name: str) -> None:
    text = without_definition(render_chart(MODES[name]))
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("BERTH_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_the_definition_in_the_chart_is_the_one_in_crds() -> None:
    assert (CHART / "files" / CRD).read_bytes() == (ROOT / "crds" / CRD).read_bytes()


def test_the_definition_is_rendered_as_it_is() -> None:
    want = yaml.safe_load((ROOT / "crds" / CRD).read_text())
    assert only(rendered({}), "CustomResourceDefinition") == want


READ = ["list", "watch"]
READS: set[tuple[str, str, str]] = {
    (group, resource, verb)
    for group, resources in {
        "": ["pods", "nodes", "namespaces"],
        "resource.k8s.io": [
            "resourceclaims",
            "resourceclaimtemplates",
            "deviceclasses",
            "resourceslices",
            "devicetaintrules",
        ],
        "berth.dev": ["allocationpolicies"],
    }.items()
    for resource in resources
    for verb in READ
}
GATED_WRITES = {
    ("", "pods", "get"),
    ("", "pods", "patch"),
    ("resource.k8s.io", "resourceclaims", "get"),
    ("resource.k8s.io", "resourceclaims", "patch"),
    ("resource.k8s.io", "resourceclaims/status", "patch"),
    ("resource.k8s.io", "resourceclaims/binding", "patch"),
    ("berth.dev", "allocationpolicies/status", "patch"),
    ("events.k8s.io", "events", "create"),
    ("events.k8s.io", "events", "patch"),
}
GENERATING_WRITES = {
    ("resource.k8s.io", "resourceclaims", "create"),
    ("resource.k8s.io", "resourceclaims", "delete"),
    ("", "pods/status", "patch"),
}


@pytest.mark.parametrize(
    ("name", "want_rights"),
    [
        ("observe", READS),
        ("gated", READS | GATED_WRITES),
        ("gated-generate-claims", READS | GATED_WRITES | GENERATING_WRITES),
    ],
)
def test_the_cluster_role_holds_what_the_mode_needs(
    name: str, want_rights: set[tuple[str, str, str]]
) -> None:
    role = only(rendered(MODES[name]), "ClusterRole")
    assert {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    } == want_rights


def test_observe_has_no_admission_policy_no_lease_and_no_role_in_the_namespace() -> None:
    kinds = {each["kind"] for each in rendered({})}
    assert kinds.isdisjoint({"MutatingAdmissionPolicy", "Lease", "Role", "RoleBinding"})


def test_an_operator_outside_gets_everything_but_deployment_service_and_budget() -> None:
    kinds = [each["kind"] for each in rendered({"mode": "gated"})]
    outside = [each["kind"] for each in rendered({"mode": "gated", "operator": {"deploy": False}})]
    assert sorted(kinds) == sorted([*outside, "Deployment", "Service", "PodDisruptionBudget"])


def pod_of(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return only(manifests, "Deployment")["spec"]["template"]["spec"]  # type: ignore[no-any-return] # YAML


OURS = {"app.kubernetes.io/name": "berth", "app.kubernetes.io/instance": "berth"}


def test_two_replicas_keep_apart_and_one_stays_when_a_node_is_drained() -> None:
    manifests = rendered({})
    deployment, budget = only(manifests, "Deployment"), only(manifests, "PodDisruptionBudget")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod_of(manifests)["affinity"] == {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "podAffinityTerm": {
                        "topologyKey": "kubernetes.io/hostname",
                        "labelSelector": {"matchLabels": OURS},
                    },
                }
            ]
        }
    }
    assert pod_of(manifests)["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": OURS},
        }
    ]
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": OURS},
    }


def test_an_affinity_of_ones_own_replaces_the_default() -> None:
    own: dict[str, object] = {"nodeAffinity": {}}
    spread = {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}
    made = pod_of(rendered({"operator": {"affinity": own, "topologySpreadConstraints": [spread]}}))
    assert made["affinity"] == own
    assert made["topologySpreadConstraints"] == [{**spread, "labelSelector": {"matchLabels": OURS}}]


@pytest.mark.parametrize("name", MODES)
def test_every_container_is_confined(name: str) -> None:
    specs = [
        each["spec"]["template"]["spec"]
        for each in rendered(MODES[name])
        if each["kind"] in {"Deployment", "Job"}
    ]
    assert len(specs) == 2
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not spec.get("hostNetwork")
        for container in spec["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True
            assert confined["allowPrivilegeEscalation"] is False
            assert confined["capabilities"] == {"drop": ["ALL"]}


def test_only_the_operator_gets_a_token() -> None:
    manifests = rendered({"mode": "gated"})
    (job,) = (each for each in manifests if each["kind"] == "Job")
    assert only(manifests, "ServiceAccount")["automountServiceAccountToken"] is False
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert pod_of(manifests)["automountServiceAccountToken"] is True


def test_probes_and_metrics_listen_where_the_values_say() -> None:
    (container,) = pod_of(rendered({"operator": {"host": "::", "port": 9999}}))["containers"]
    arguments = container["args"]
    assert arguments[arguments.index("--http-host") + 1] == "::"
    assert arguments[arguments.index("--http-port") + 1] == "9999"
    assert container["ports"][0] == {"name": "http", "containerPort": 9999, "protocol": "TCP"}


def test_a_network_policy_limits_who_reaches_metrics_and_is_off_by_default() -> None:
    assert "NetworkPolicy" not in {each["kind"] for each in rendered({})}
    peer = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    made = only(rendered({"networkPolicy": {"enabled": True, "from": [peer]}}), "NetworkPolicy")
    assert made["spec"] == {
        "podSelector": {"matchLabels": OURS},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [peer]}],
    }


def test_one_selector_scopes_the_gate_the_finalizer_and_the_default_policy() -> None:
    values = {
        "mode": "gated",
        "namespaceSelector": {"matchLabels": {"team": "ml"}, "matchExpressions": []},
        "gate": {"excludedNamespaces": ["quiet"]},
    }
    manifests = rendered(values, namespace="elsewhere")
    bindings = [each for each in manifests if each["kind"] == "MutatingAdmissionPolicyBinding"]
    assert [each["spec"]["matchResources"]["namespaceSelector"] for each in bindings] == [
        {
            "matchLabels": {"team": "ml"},
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", "elsewhere", "quiet"],
                }
            ],
        }
    ] * 2
    assert only(manifests, "AllocationPolicy")["spec"] == {
        "namespaceSelector": {"matchLabels": {"team": "ml"}},
        "placement": "FirstFit",
    }


def test_the_default_policy_is_a_hook_only_until_its_definition_is_served() -> None:
    hook = only(rendered({}), "AllocationPolicy")["metadata"]["annotations"]
    served = ("berth.dev/v1alpha1/AllocationPolicy",)
    manifests = rendered({}, served=served)
    plain = only(manifests, "AllocationPolicy")["metadata"]["annotations"]
    assert hook["helm.sh/hook"] == "post-install,post-upgrade,post-rollback"
    assert plain == {
        "meta.helm.sh/release-name": "berth",
        "meta.helm.sh/release-namespace": "berth-system",
    }
    assert "Job" not in {each["kind"] for each in manifests}


@pytest.mark.parametrize(
    ("values", "options", "want_text"),
    [
        pytest.param(
            {"mode": "guarded"},
            {},
            "at '/mode': value must be one of 'observe', 'gated', 'fenced'",
            id="an unknown mode",
        ),
        pytest.param(
            {"opertor": {}},
            {},
            "additional properties 'opertor' not allowed",
            id="a misspelt value",
        ),
        pytest.param(
            {"generateClaims": True},
            {},
            "generateClaims: needs mode gated or fenced, and mode is observe: set mode=gated, or "
            "leave generateClaims out",
            id="claims made without writing",
        ),
        pytest.param(
            {"mode": "gated", "gate": {"by": "policy"}},
            {"kube_version": "1.35.4"},
            "gate.by: policy needs Kubernetes 1.36 or newer (MutatingAdmissionPolicy in v1), and "
            "this is v1.35.4: use webhook, or leave gate.by at auto",
            id="a cluster that is too old for the policy",
        ),
        pytest.param(
            {"mode": "gated", "operator": {"deploy": False}},
            {"kube_version": "1.35.4"},
            "gate.webhook.url: is needed",
            id="a webhook outside the cluster, nobody knows where",
        ),
        pytest.param(
            {"gate": {"webhook": {"url": "http://127.0.0.1:9443"}}},
            {},
            "at '/gate/webhook/url'",
            id="a webhook without TLS",
        ),
        pytest.param(
            {},
            {"kube_version": "1.33.0"},
            "chart requires kubeVersion: >=1.34.0-0 which is incompatible with Kubernetes v1.33.0",
            id="a cluster that is too old",
        ),
        pytest.param(
            {"defaultPolicy": {"deviceClasses": ["*"]}},
            {},
            "at '/defaultPolicy/deviceClasses/0'",
            id="a pattern in the default policy",
        ),
        pytest.param(
            {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
            {},
            "at '/namespaceSelector/matchExpressions/0': missing property 'values'",
            id="a selector without values",
        ),
    ],
)
def test_values_that_cannot_work_are_refused(
    values: dict[str, Any], options: dict[str, Any], want_text: str
) -> None:
    with pytest.raises(HelmError) as caught:
        render_chart(values, **options)
    assert want_text in caught.value.output


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    # Keys of an example list are not settings.
    exempt = {"operator", "values", "requests", "limits"}
    bare = [
        line.strip()
        for before, line in pairwise(lines)
        if line.strip()
        and not line.lstrip().startswith(("#", "-"))
        and not before.lstrip().startswith("#")
        and line.strip().partition(":")[0] not in exempt
    ]
    assert bare == []
