# SPDX-License-Identifier: Apache-2.0
"""Scenario files."""

from __future__ import annotations

import pytest
import yaml

from berth.errors import DecodeError
from berth.model.features import Features
from berth.scenario.documents import ScenarioText
from berth.scenario.parse import Expected, Scenario, parse_scenario


def parse(text: str) -> Scenario:
    return parse_scenario(ScenarioText("s.yaml", yaml.safe_load(text)))


def test_a_fleet_becomes_nodes_slices_and_a_class() -> None:
    found = parse("""
cluster:
  fleets:
  - nodes: 2
    labels: {zone: a}
    devices:
    - {count: 1, attributes: {model: a100, numa: 0, ecc: true}, capacity: {memory: 80Gi}}
    - {count: 1}
""")

    objects = [each.obj for each in found.cluster]
    assert [(each["kind"], each["metadata"]["name"]) for each in objects] == [
        ("Node", "node-0"),
        ("ResourceSlice", "node-0-gpu.example.com-0"),
        ("Node", "node-1"),
        ("ResourceSlice", "node-1-gpu.example.com-0"),
        ("DeviceClass", "gpu.example.com"),
    ]
    assert objects[0]["metadata"]["labels"] == {"kubernetes.io/hostname": "node-0", "zone": "a"}
    assert objects[1]["spec"] == {
        "driver": "gpu.example.com",
        "nodeName": "node-0",
        "pool": {"name": "node-0", "generation": 1, "resourceSliceCount": 1},
        "devices": [
            {
                "name": "gpu-0",
                "attributes": {
                    "model": {"string": "a100"},
                    "numa": {"int": 0},
                    "ecc": {"bool": True},
                },
                "capacity": {"memory": {"value": "80Gi"}},
            },
            {"name": "gpu-1", "attributes": {}, "capacity": {}},
        ],
    }


def test_fleets_are_numbered_on_with_one_width_and_large_ones_split() -> None:
    found = parse("cluster: {fleets: [{nodes: 11, devices: [{count: 130}]}]}")

    names = [each.obj["metadata"]["name"] for each in found.cluster if each.kind == "Node"]
    slices = [each.obj["spec"] for each in found.cluster if each.kind == "ResourceSlice"]
    assert (names[0], names[-1]) == ("node-00", "node-10")
    assert [len(each["devices"]) for each in slices[:2]] == [128, 2]
    assert slices[0]["pool"]["resourceSliceCount"] == 2


def test_a_class_that_the_file_defines_is_not_made_up() -> None:
    found = parse("""
cluster:
  fleets: [{devices: [{count: 1}]}]
  objects: [{kind: DeviceClass, metadata: {name: gpu.example.com}, spec: {}}]
""")

    assert [each.obj["spec"] for each in found.cluster if each.kind == "DeviceClass"] == [{}]


def test_gates_are_features() -> None:
    assert parse("{pods: [], features: {DRAListTypeAttributes: true}}").features == Features(
        list_type_attributes=True
    )


def test_expectations_are_read() -> None:
    found = parse("""
expect:
  pods:
    a: {node: n}
    x/b: {fits: false, says: [never]}
  claims:
    c: {devices: {c: [d/p/x]}}
""")

    assert found.expect_pods == (
        Expected("default/a", fits=True, node="n"),
        Expected("x/b", fits=False, says=("never",)),
    )
    assert found.expect_claims == (Expected("default/c", fits=True, devices={"c": ("d/p/x",)}),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{pods: [], colour: red}", "colour: is no field of the scenario format"),
        ("{cluster: []}", "cluster: expected an object"),
        (
            "{cluster: {fleets: [{colour: red}]}}",
            "cluster.fleets[0].colour: is no field of the scenario format",
        ),
        ("{cluster: {fleets: [{nodes: two}]}}", "cluster.fleets[0].nodes: expected a whole number"),
        (
            "{cluster: {fleets: [{nodes: 99999999}]}}",
            "cluster.fleets[0].nodes: 99999999 is not within 0 to 20000",
        ),
        (
            "{cluster: {fleets: [{nodes: 2, names: [a]}]}}",
            "cluster.fleets[0].nodes: give either the number of nodes, or their `names`",
        ),
        (
            "{cluster: {fleets: [{devices: [{attributes: {x: 1.5}}]}]}}",
            "cluster.fleets[0].devices[0].attributes.x: expected a string, a whole number, "
            "a boolean or an API value",
        ),
        ("{pods: [{claims: [a]}]}", "pods[0].name: is required"),
        ("{pods: [{name: a, count: -1}]}", "pods[0].count: -1 is not within 0 to 100000"),
        (
            "{expect: {pods: {a: {devices: {x: 1.5}}}}}",
            "expect.pods.a.devices.x: expected a list",
        ),
        (
            "{claims: [{name: a, colour: b}]}",
            "claims[0].colour: is no field of the scenario format",
        ),
        (
            "{expect: {pods: {a: {}}}}",
            "expect.pods.a.fits: is required where no node and no devices are expected",
        ),
        (
            "{pods: [], features: {DRAAdminAccess: 1}}",
            "features.DRAAdminAccess: expected a boolean",
        ),
    ],
)
def test_a_mistake_names_file_and_field(text: str, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        parse(text)

    assert str(caught.value) == f"s.yaml: {message}"


def test_an_unknown_gate_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DecodeError, match=r"features\.DRAMagic: is no known gate: known ones: DRA"):
        parse("{pods: [], features: {DRAMagic: true}}")
