# SPDX-License-Identifier: Apache-2.0
"""The command lines of a control plane."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from berth.localcluster import components
from berth.localcluster.components import Layout
from berth.localcluster.spec import COMPONENTS, ClusterSpec

LAYOUT = Layout(Path("/state/a"), 1001, 1002, 1003)


def line(component: str, spec: ClusterSpec | None = None) -> tuple[str, ...]:
    stages = (Path("/bin/stages/a.yaml"),)
    return components.command(component, Path("/bin/x"), LAYOUT, spec or ClusterSpec(), stages)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_names_its_folder_and_no_address_but_loopback(component: str) -> None:
    flags = line(component)
    assert flags[0] == "/bin/x"
    assert any("/state/a" in each for each in flags)
    assert not any("0.0.0.0" in each for each in flags)  # noqa: S104 - what must not be there


@pytest.mark.parametrize("component", ["kube-controller-manager", "kube-scheduler"])
def test_no_component_but_the_api_server_opens_a_port(component: str) -> None:
    assert "--secure-port=0" in line(component)


def test_the_own_flags_come_last_and_gates_reach_all_of_kubernetes() -> None:
    spec = ClusterSpec(
        feature_gates={"B": False, "A": True}, extra_flags={"kube-apiserver": ("--v=4",)}
    )
    assert line("kube-apiserver", spec)[-2:] == ("--feature-gates=A=true,B=false", "--v=4")
    assert line("kube-scheduler", spec)[-1] == "--feature-gates=A=true,B=false"
    assert not any("feature-gates" in each for each in (*line("etcd", spec), *line("kwok", spec)))


def test_what_is_served_besides_is_for_the_api_server_alone() -> None:
    spec = ClusterSpec(apis={"b.k8s.io/v1": False, "a.k8s.io/v1beta1": True})
    wanted = "--runtime-config=a.k8s.io/v1beta1=true,b.k8s.io/v1=false"
    assert [name for name in COMPONENTS if wanted in line(name, spec)] == ["kube-apiserver"]
    assert not any(each.startswith("--runtime-config") for each in line("kube-apiserver"))


@pytest.mark.parametrize(
    ("without", "want"),
    [
        ((), "--controllers=*"),
        (("resourceclaim-controller",), "--controllers=*,-resourceclaim-controller"),
        (("kwok",), "--controllers=*,-node-lifecycle-controller"),
        (
            ("kwok", "resourceclaim-controller"),
            "--controllers=*,-resourceclaim-controller,-node-lifecycle-controller",
        ),
    ],
)
def test_controllers_without_their_partner_are_switched_off(
    without: tuple[str, ...], want: str
) -> None:
    flags = line("kube-controller-manager", ClusterSpec(without=frozenset(without)))
    assert [each for each in flags if each.startswith("--controllers")] == [want]


def test_new_nodes_are_not_tainted_where_nobody_would_take_the_taint_away() -> None:
    plain, bare = (
        line("kube-apiserver"),
        line("kube-apiserver", ClusterSpec(without=frozenset({"kwok"}))),
    )
    assert "--disable-admission-plugins=ServiceAccount" in plain
    assert "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition" in bare


def test_the_scheduler_has_its_limits_in_its_file() -> None:
    config = components.scheduler_config(LAYOUT)
    assert config["clientConnection"] == {
        "kubeconfig": "/state/a/kube-scheduler.kubeconfig",
        "qps": 1000,
        "burst": 2000,
    }
    assert config["leaderElection"] == {"leaderElect": False}


def test_the_scheduler_alone_is_no_administrator() -> None:
    tokens = {name: f"t-{name}" for name in components.USERS}
    assert components.token_file(tokens) == (
        't-admin,berth-local-admin,berth-local-admin,"system:masters"\n'
        "t-kube-controller-manager,system:kube-controller-manager,"
        'system:kube-controller-manager,"system:masters"\n'
        "t-kube-scheduler,system:kube-scheduler,system:kube-scheduler\n"
        't-kwok,berth-local-kwok,berth-local-kwok,"system:masters"\n'
    )


def test_a_kubeconfig_carries_the_authority_and_the_token() -> None:
    made = json.loads(components.kubeconfig(LAYOUT, "a", "secret", b"PEM"))
    assert made["current-context"] == "berth-a"
    assert made["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1003",
        "certificate-authority-data": base64.b64encode(b"PEM").decode(),
    }
    assert made["users"][0]["user"] == {"token": "secret"}
