# SPDX-License-Identifier: Apache-2.0
"""Placing many, one after the other; and writing a case as a scenario."""

from __future__ import annotations

import random

import pytest
import yaml

from berth.model.pods import PodKey
from berth.scenario.documents import ScenarioText, read_documents
from berth.scenario.load import Loaded
from berth.scenario.parse import parse_scenario
from berth.simulate.answer import Answer
from berth.simulate.ask import ask_pod
from berth.simulate.record import scenario_of
from berth.simulate.run import Wanted, mismatches, open_scenario, simulate


def opened(text: str) -> tuple[Loaded, Wanted]:
    return open_scenario(parse_scenario(ScenarioText("s.yaml", yaml.safe_load(text))))


def random_scenario(seed: int) -> str:
    """Return a cluster that is too small for its pods, which ask for a few different things."""
    choose = random.Random(seed)
    templates = {"one": 1, "two": 2, "three": 3}
    lines = [
        "cluster:",
        "  fleets:",
        *(
            f"  - {{nodes: {choose.randint(1, 3)}, allocatable: {{cpu: {choose.randint(2, 6)}}}, "
            f"devices: [{{count: {choose.randint(1, 3)}}}]}}"
            for _ in range(3)
        ),
        "claims:",
        *(
            f"- {{name: {name}, template: true, requests: [{{name: g, exactly: "
            f"{{deviceClassName: gpu.example.com, count: {count}}}}}]}}"
            for name, count in templates.items()
        ),
        "pods:",
        *(
            f"- {{name: p{index:02}, templates: [{choose.choice([*templates])}], "
            f"requests: {{cpu: {choose.randint(1, 2)}}}, priority: {choose.randint(0, 2)}}}"
            for index in range(20)
        ),
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_remembered_changes_no_answer(seed: int) -> None:
    text = random_scenario(seed)
    loaded, wanted = opened(text)
    answers = simulate(loaded.cluster, wanted)

    again, _ = opened(text)
    one_by_one: list[Answer] = []
    for key in wanted.pods:
        # Without memory: one simulation a pod.
        one_by_one += simulate(again.cluster, Wanted((key,)))

    assert list(answers) == one_by_one
    assert {each.fits for each in answers} == {True, False}


def test_progress_is_told_of_every_answer() -> None:
    loaded, wanted = opened(random_scenario(1))
    seen: list[Answer] = []

    answers = simulate(loaded.cluster, wanted, progress=seen.append)

    assert tuple(seen) == answers
    assert len(answers) == len(wanted) == 20


SECRETIVE = """
cluster:
  fleets:
  - names: [prod-alpha, prod-beta]
    labels: {owner: acme, zone: z1}
    devices: [{count: 2, attributes: {serial: S-123, model: a100}}]
claims:
- name: acme-claim
  namespace: acme
  requests:
  - name: g
    exactly:
      deviceClassName: gpu.example.com
      count: COUNT
      selectors: [{cel: {expression: 'device.attributes["gpu.example.com"].model == "a100"'}}]
  config: [{opaque: {driver: d, parameters: {password: hunter2}}}]
- {name: other, requests: [{name: g, exactly: {deviceClassName: gpu.example.com}}]}
pods:
- {name: acme-pod, namespace: acme, claims: [acme-claim], nodeSelector: {zone: z1}}
- {name: other, claims: [other]}
"""


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("anonymise", [False, True])
def test_a_case_that_is_saved_comes_out_again(count: int, *, anonymise: bool) -> None:
    loaded, _ = opened(SECRETIVE.replace("COUNT", str(count)))
    answer = ask_pod(loaded.cluster, loaded.cluster.pods[PodKey("acme", "acme-pod")])

    text = scenario_of(loaded, answer, anonymise=anonymise)

    (document,) = read_documents("saved.yaml", text.encode())
    assert isinstance(document, ScenarioText)
    scenario = parse_scenario(document)
    again, wanted = open_scenario(scenario)
    answers = simulate(again.cluster, wanted)
    assert [each.fits for each in answers] == [count == 2]
    assert mismatches(scenario, answers) == ()
    assert len(scenario.expect_pods) == 1
    assert ("acme" in text or "prod" in text or "S-123" in text) is not anonymise
    assert "hunter2" not in text
