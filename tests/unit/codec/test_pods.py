# SPDX-License-Identifier: Apache-2.0
"""Pods: what they ask for is summed as kube-scheduler sums it."""

from typing import Any

import pytest

from berth.codec.pods import decode_pod
from berth.errors import DecodeError
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.pods import HostPort, Pod, PodClaimReference, PodToleration


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": "ml"}, "spec": spec}


def asking(**requests: str) -> dict[str, Any]:
    return {"resources": {"requests": requests}}


def test_a_pod_is_read_with_everything_that_berth_uses() -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
    assert decode_pod(
        {
            "metadata": {
                "name": "p",
                "namespace": "ml",
                "uid": "u",
                "resourceVersion": "7",
                "creationTimestamp": "t",
                "deletionTimestamp": "t",
                "ownerReferences": [
                    {"kind": "Other", "name": "o", "uid": "o"},
                    {"kind": "Job", "name": "j", "uid": "j", "controller": True},
                ],
            },
            "spec": {
                "priority": 10,
                "nodeName": "n",
                "schedulerName": "mine",
                "schedulingGates": [{"name": "berth.dev/dra"}, {"name": "other"}],
                "resourceClaims": [
                    {"name": "a", "resourceClaimName": "shared"},
                    {"name": "b", "resourceClaimTemplateName": "t"},
                    {"name": "c", "resourceClaimTemplateName": "t"},
                ],
                "nodeSelector": {"zone": "z"},
                "affinity": {
                    "nodeAffinity": {required: {"nodeSelectorTerms": [term]}},
                    "podAffinity": {required: [{"topologyKey": "x"}]},
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]},
                },
                "tolerations": [{"key": "k"}],
                "topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "v"}}],
                "schedulingGroup": {"podGroupName": "g"},
                "resources": {"requests": {"cpu": "3"}},
                "initContainers": [{"resources": {"claims": [{"name": "a"}]}}],
                "containers": [
                    {
                        "resources": {
                            "requests": {"cpu": "1"},
                            "claims": [
                                {"name": "a", "request": "x"},
                                {"name": "a", "request": "y"},
                            ],
                        }
                    }
                ],
            },
            "status": {
                "phase": "Pending",
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "x", "message": "no"},
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes",
                    },
                ],
                "resourceClaimStatuses": [
                    {"name": "b", "resourceClaimName": "p-b-x"},
                    {"name": "c"},
                ],
            },
        }
    ) == Pod(
        namespace="ml",
        name="p",
        uid="u",
        resource_version="7",
        created="t",
        priority=10,
        phase="Pending",
        node_name="n",
        deleting=True,
        scheduler_name="mine",
        gates=("berth.dev/dra", "other"),
        claims=(
            PodClaimReference("a", claim_name="shared", containers=2),
            PodClaimReference("b", template_name="t"),
            PodClaimReference("c", template_name="t"),
        ),
        claim_names={"b": "p-b-x", "c": None},
        node_selector={"zone": "z"},
        required_affinity=NodeSelector(
            (
                NodeSelectorTerm(
                    match_fields=(NodeSelectorRequirement("metadata.name", "In", ("n",)),)
                ),
            )
        ),
        tolerations=(PodToleration("k", "Equal"),),
        requests={"cpu": 3000},
        pod_level_room={"cpu": 2000},
        unmodelled=("podAffinity", "topologySpreadConstraints", "volumes"),
        unschedulable_message="0/3 nodes",
        owner_kind="Job",
        pod_group="g",
    )


def test_a_pod_that_is_only_gated_is_not_unschedulable() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    decoded = decode_pod({**pod(), "status": {"conditions": [{**condition, "message": "gated"}]}})
    assert decoded.unschedulable_message == ""


SIDECAR = {"restartPolicy": "Always", **asking(cpu="1")}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            {"containers": [asking(cpu="100m", memory="1Ki"), asking(cpu="0.5")]},
            {"cpu": 600, "memory": 1024},
            id="containers-are-summed",
        ),
        pytest.param(
            {"containers": [asking(cpu="1")], "initContainers": [asking(cpu="3"), asking(cpu="2")]},
            {"cpu": 3000},
            id="the-largest-init-container-counts-where-it-is-more",
        ),
        pytest.param(
            {"containers": [asking(cpu="2")], "initContainers": [SIDECAR, asking(cpu="1")]},
            {"cpu": 3000},
            id="a-sidecar-runs-beside-the-containers",
        ),
        pytest.param(
            {"containers": [asking(cpu="1")], "initContainers": [SIDECAR, asking(cpu="3")]},
            {"cpu": 4000},
            id="a-sidecar-runs-beside-the-init-containers-that-follow",
        ),
        pytest.param(
            {"containers": [asking(cpu="1")], "initContainers": [asking(cpu="3"), SIDECAR]},
            {"cpu": 3000},
            id="a-sidecar-does-not-run-beside-the-init-containers-before-it",
        ),
        pytest.param(
            {"containers": [asking(cpu="1")], "overhead": {"cpu": "250m", "memory": "1"}},
            {"cpu": 1250, "memory": 1},
            id="overhead-comes-on-top",
        ),
        pytest.param(
            {
                "containers": [asking(cpu="4", memory="10", **{"example.com/x": "1"})],
                "resources": {"requests": {"cpu": "2", "example.com/x": "9"}},
                "overhead": {"cpu": "1"},
            },
            {"cpu": 3000, "memory": 10, "example.com/x": 1},
            id="pod-level-requests-win-for-cpu-and-memory",
        ),
        pytest.param(
            {"containers": [asking(cpu="100u"), asking(cpu="100u")]},
            {"cpu": 1},
            id="rounding-up-comes-after-the-sum",
        ),
        pytest.param(
            {"containers": [{"resources": {"limits": {"cpu": "2"}, "requests": {"memory": "1"}}}]},
            {"cpu": 2000, "memory": 1},
            id="a-limit-without-request-is-the-request",
        ),
        pytest.param({"containers": [{}]}, {}, id="nothing-is-asked"),
    ],
)
def test_requests_are_summed_as_the_scheduler_does(
    spec: dict[str, Any], expected: dict[str, int]
) -> None:
    assert decode_pod(pod(**spec)).requests == expected


def test_host_ports_are_those_of_containers_and_sidecars() -> None:
    decoded = decode_pod(
        pod(
            containers=[
                {
                    "ports": [
                        {"containerPort": 80},
                        {"containerPort": 81, "hostPort": 8081},
                        {"containerPort": 82, "hostPort": 53, "protocol": "UDP", "hostIP": "::1"},
                    ]
                }
            ],
            initContainers=[
                {"ports": [{"containerPort": 1, "hostPort": 1}]},
                {**SIDECAR, "ports": [{"containerPort": 2, "hostPort": 2}]},
            ],
        )
    )
    assert decoded.host_ports == (
        HostPort("TCP", 8081),
        HostPort("UDP", 53, "::1"),
        HostPort("TCP", 2),
    )


def test_on_the_hosts_network_every_port_is_a_host_port() -> None:
    decoded = decode_pod(pod(hostNetwork=True, containers=[{"ports": [{"containerPort": 80}]}]))
    assert decoded.host_ports == (HostPort("TCP", 80),)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, ()),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, ("volumes",)),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}, ()),
        (
            {
                "affinity": {
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}
                }
            },
            ("podAntiAffinity",),
        ),
    ],
)
def test_what_berth_does_not_weigh_is_named(spec: dict[str, Any], expected: tuple[str]) -> None:
    assert decode_pod(pod(**spec)).unmodelled == expected


def test_a_pod_that_cannot_be_read_is_refused_with_its_path() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_pod(pod(containers=[{}, {"resources": {"requests": {"cpu": []}}}]))
    assert str(caught.value) == (
        "pod ml/p: spec.containers[1].resources.requests[cpu]: expected a quantity, found a list"
    )
