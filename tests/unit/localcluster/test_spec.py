# SPDX-License-Identifier: Apache-2.0
"""What can be asked of a local cluster, and how a mistake is named."""

from __future__ import annotations

from typing import Any

import pytest

from berth.localcluster.errors import InvalidClusterSpecError
from berth.localcluster.spec import (
    DEFAULT_KUBERNETES,
    ClusterSpec,
    parse_api,
    parse_flag,
    parse_gate,
)


def test_a_spec_survives_being_written_down() -> None:
    spec = ClusterSpec(
        name="a-b",
        nodes=5,
        without=frozenset({"kwok", "kube-scheduler"}),
        extra_flags={"etcd": ("--x=1", "--y=2")},
        feature_gates={"DRAAdminAccess": True},
        apis={"resource.k8s.io/v1beta1": True},
    )
    assert ClusterSpec.from_json(spec.to_json()) == spec


def test_components_start_in_the_order_of_their_dependencies() -> None:
    spec = ClusterSpec(without=frozenset({"kube-scheduler", "resourceclaim-controller"}))
    assert spec.components == ("etcd", "kube-apiserver", "kube-controller-manager", "kwok")


@pytest.mark.parametrize(
    ("fields", "want_message"),
    [
        pytest.param(
            {"name": "Nope"},
            "cluster Nope: the name is not usable: it needs 1 to 30 lower-case letters, digits "
            "and `-`, and a letter or digit at both ends",
            id="a name with a capital letter",
        ),
        pytest.param(
            {"name": "../x"},
            "cluster ../x: the name is not usable: it needs 1 to 30 lower-case letters, digits "
            "and `-`, and a letter or digit at both ends",
            id="a name that would leave the folder",
        ),
        pytest.param(
            {"nodes": 5001}, "cluster berth: nodes: 5001 is not within 0 to 5000", id="many nodes"
        ),
        pytest.param(
            {"devices": -1}, "cluster berth: devices: -1 is not within 0 to 16384", id="negative"
        ),
        pytest.param(
            {"without": frozenset({"etcd"})},
            "cluster berth: without: `etcd` is unknown: known ones: kube-scheduler, "
            "kube-controller-manager, kwok, resourceclaim-controller",
            id="etcd cannot be left out",
        ),
        pytest.param(
            {"extra_flags": {"kubelet": ("--v=4",)}},
            "cluster berth: flag: `kubelet` is unknown: known ones: etcd, kube-apiserver, "
            "kube-controller-manager, kube-scheduler, kwok",
            id="a flag for nobody",
        ),
        pytest.param(
            {"extra_flags": {"etcd": ("v=4",)}},
            "cluster berth: flag: `v=4` does not start with `-`",
            id="a flag that is none",
        ),
        pytest.param(
            {"feature_gates": {"A,B": True}},
            "cluster berth: feature gate: `A,B` is no gate's name",
            id="a gate that would smuggle in another",
        ),
        pytest.param(
            {"profile": "tpu"},
            "cluster berth: profile: `tpu` is unknown: known ones: gpu",
            id="an unknown profile",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(
    fields: dict[str, Any], want_message: str
) -> None:
    with pytest.raises(InvalidClusterSpecError) as refused:
        ClusterSpec(**fields)
    assert str(refused.value) == want_message


def test_gates_and_flags_are_read_as_they_are_written() -> None:
    assert parse_gate("DRAAdminAccess=False") == ("DRAAdminAccess", False)
    assert parse_flag("kube-apiserver=--runtime-config=a/v1=true") == (
        "kube-apiserver",
        "--runtime-config=a/v1=true",
    )


@pytest.mark.parametrize("text", ["DRAAdminAccess", "DRAAdminAccess=yes", ""])
def test_a_gate_without_a_truth_value_is_refused(text: str) -> None:
    with pytest.raises(InvalidClusterSpecError) as refused:
        parse_gate(text)
    assert str(refused.value) == (
        f"feature gate `{text}`: not understood: it reads like `DRAAdminAccess=true`"
    )


@pytest.mark.parametrize("text", ["kube-apiserver", "kube-apiserver=v", "--v=4"])
def test_a_flag_without_its_component_is_refused(text: str) -> None:
    with pytest.raises(InvalidClusterSpecError) as refused:
        parse_flag(text)
    assert str(refused.value) == (
        f"flag `{text}`: not understood: it reads like `kube-apiserver=--v=4`"
    )


def test_apis_are_read_as_they_are_written() -> None:
    assert parse_api("resource.k8s.io/v1beta1=True") == ("resource.k8s.io/v1beta1", True)
    for text in ("resource.k8s.io/v1beta1", "resource.k8s.io/v1=on"):
        with pytest.raises(InvalidClusterSpecError, match=r"reads like `resource\.k8s\.io"):
            parse_api(text)
    with pytest.raises(InvalidClusterSpecError, match="api: `v1,x` is no group and version"):
        ClusterSpec(apis={"v1,x": True})


def test_the_environment_names_the_release_where_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BERTH_KUBERNETES", raising=False)
    assert ClusterSpec().kubernetes == DEFAULT_KUBERNETES
    monkeypatch.setenv("BERTH_KUBERNETES", "1.34")
    assert (ClusterSpec().kubernetes, ClusterSpec(kubernetes="1.36").kubernetes) == ("1.34", "1.36")
