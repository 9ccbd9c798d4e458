# SPDX-License-Identifier: Apache-2.0
"""What the chart renders for a fence: its rules, the policy that protects them, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from berth.localcluster.helm import HelmError
from berth.model.fence import FENCE_KEY
from tests.support.helm import render_chart

pytestmark = pytest.mark.timeout(600)

GPU = "gpu.example.com"
FENCED: dict[str, Any] = {
    "mode": "fenced",
    "fence": {"drivers": [GPU], "pools": [{"driver": "nic.example.com", "pool": "rack/1"}]},
}
V1BETA2 = "resource.k8s.io/v1beta2/DeviceTaintRule"


def rendered(values: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(render_chart(values, **options)) if each]


def rules(values: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return [each for each in rendered(values, **options) if each["kind"] == "DeviceTaintRule"]


def test_each_driver_and_pool_becomes_a_rule_that_evicts_nobody() -> None:
    made = rules(FENCED)
    taint = {"key": FENCE_KEY, "value": "reserved", "effect": "NoSchedule"}
    assert [each["spec"] for each in made] == [
        {"deviceSelector": {"driver": GPU}, "taint": taint},
        {"deviceSelector": {"driver": "nic.example.com", "pool": "rack/1"}, "taint": taint},
    ]
    names = [each["metadata"]["name"] for each in made]
    assert names == [f"berth-fence-{GPU}", "berth-fence-nic.example.com-38748e6e94"]


@pytest.mark.parametrize(
    ("options", "want"),
    [
        pytest.param({}, "resource.k8s.io/v1", id="1.37"),
        pytest.param(
            {"kube_version": "1.36.1", "served": (V1BETA2,)}, "resource.k8s.io/v1beta2", id="1.36"
        ),
    ],
)
def test_rules_have_the_version_that_the_cluster_serves(options: dict[str, Any], want: str) -> None:
    assert {each["apiVersion"] for each in rules(FENCED, **options)} == {want}


def test_a_fence_may_stand_beside_the_gate_and_comes_down_in_mode_observe() -> None:
    def kinds(mode: str) -> set[str]:
        return {each["kind"] for each in rendered({**FENCED, "mode": mode})}

    fence = {
        "DeviceTaintRule",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
    assert fence <= kinds("gated")
    assert fence <= kinds("fenced")
    assert fence.isdisjoint(kinds("observe"))


def test_mode_fenced_has_no_gate_and_the_rights_of_mode_gated() -> None:
    fenced, gated = rendered(FENCED), rendered({"mode": "gated"})
    names = {(each["kind"], each["metadata"]["name"]) for each in fenced}
    assert ("MutatingAdmissionPolicy", "berth-gate") not in names
    assert ("MutatingAdmissionPolicy", "berth-claim-finalizer") in names
    for kind in ("ClusterRole", "Role"):
        (in_fenced,) = (each["rules"] for each in fenced if each["kind"] == kind)
        (in_gated,) = (each["rules"] for each in gated if each["kind"] == kind)
        assert in_fenced == in_gated


CONVERT = {"extendedResources": {"convert": [{"resource": "example.com/gpu", "template": "gpu"}]}}


def test_each_converted_resource_has_a_policy_for_the_namespaces_of_berth() -> None:
    made = rendered({**FENCED, **CONVERT})
    (policy,) = (
        each
        for each in made
        if each["kind"] == "MutatingAdmissionPolicy"
        and each["metadata"]["name"].startswith("berth-extended-")
    )
    assert policy["metadata"]["annotations"] == {"berth.dev/extended-resource": "example.com/gpu"}
    bindings = {
        each["metadata"]["name"]: each["spec"]
        for each in made
        if each["kind"] == "MutatingAdmissionPolicyBinding"
    }
    name = policy["metadata"]["name"]
    assert bindings[name] == {**bindings["berth-claim-finalizer"], "policyName": name}


def test_nothing_is_converted_where_berth_does_not_allocate() -> None:
    assert "MutatingAdmissionPolicy" not in {each["kind"] for each in rendered(CONVERT)}


def test_berth_may_not_write_rules_of_the_fence() -> None:
    (role,) = (each for each in rendered(FENCED) if each["kind"] == "ClusterRole")
    verbs = {
        verb
        for rule in role["rules"]
        if "devicetaintrules" in rule["resources"]
        for verb in rule["verbs"]
    }
    assert verbs
    assert verbs <= {"get", "list", "watch"}


@pytest.mark.parametrize(
    ("values", "options", "want_text"),
    [
        pytest.param(
            {"mode": "fenced"},
            {},
            "mode: fenced needs at least one driver or pool to fence: set fence.drivers, for "
            "example fence.drivers={gpu.example.com}, or fence.pools",
            id="nothing to fence",
        ),
        pytest.param(
            FENCED,
            {"kube_version": "1.36.1"},
            "fence: needs DeviceTaintRules, and this cluster (Kubernetes v1.36.1) serves none",
            id="no taint rules",
        ),
        pytest.param(
            {"extendedResources": {"convert": [{"resource": "gpu'", "template": "gpu"}]}},
            {},
            "at '/extendedResources/convert/0/resource'",
            id="a resource that is none",
        ),
        pytest.param(
            {"mode": "fenced", "fence": {"drivers": ["GPU"]}},
            {},
            "at '/fence/drivers/0'",
            id="no driver's name",
        ),
        pytest.param(
            {"mode": "fenced", "fence": {"pools": [{"pool": "p"}]}},
            {},
            "at '/fence/pools/0': missing property 'driver'",
            id="a pool without its driver",
        ),
    ],
)
def test_a_fence_that_cannot_work_is_refused(
    values: dict[str, Any], options: dict[str, Any], want_text: str
) -> None:
    with pytest.raises(HelmError) as caught:
        render_chart(values, **options)
    assert want_text in caught.value.output
