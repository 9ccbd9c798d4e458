# SPDX-License-Identifier: Apache-2.0
"""Every scenario file of this folder comes out as it expects."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth.scenario.documents import ScenarioText, read_documents
from berth.scenario.parse import parse_scenario
from berth.simulate.run import mismatches, open_scenario, simulate

FILES = sorted(Path(__file__).parent.glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_scenario_comes_out_as_it_expects(file: Path) -> None:
    (document,) = read_documents(file.name, file.read_bytes())
    assert isinstance(document, ScenarioText)
    scenario = parse_scenario(document)
    loaded, wanted = open_scenario(scenario)

    answers = simulate(loaded.cluster, wanted)

    assert mismatches(scenario, answers) == ()


def test_every_scenario_expects_something_and_says_why_it_exists() -> None:
    for file in FILES:
        (document,) = read_documents(file.name, file.read_bytes())
        assert isinstance(document, ScenarioText)
        scenario = parse_scenario(document)
        assert scenario.expect_pods or scenario.expect_claims, file.name
        assert scenario.description, file.name


def test_an_expectation_that_does_not_hold_is_reported() -> None:
    text = b"""
cluster: {fleets: [{devices: [{count: 1}]}]}
claims: [{name: one, requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}]
pods: [{name: pod, claims: [one]}]
expect:
  pods:
    pod: {node: elsewhere, devices: {one: [gpu.example.com/node-0/gpu-7]}}
    absent: {fits: true}
  claims: {one: {fits: false}}
"""
    (document,) = read_documents("s.yaml", text)
    assert isinstance(document, ScenarioText)
    scenario = parse_scenario(document)
    loaded, wanted = open_scenario(scenario)

    found = mismatches(scenario, simulate(loaded.cluster, wanted))

    assert found == (
        "s.yaml: pod default/pod: expected on node elsewhere, goes to node-0",
        "s.yaml: pod default/pod: claim one: expected gpu.example.com/node-0/gpu-7, "
        "gets gpu.example.com/node-0/gpu-0",
        "s.yaml: pod default/absent: is expected, but nothing of that name was to be placed",
        "s.yaml: claim default/one: is expected, but nothing of that name was to be placed",
    )
