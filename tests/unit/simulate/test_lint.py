# SPDX-License-Identifier: Apache-2.0
"""What selectors do on the published devices."""

from __future__ import annotations

import yaml

from berth.scenario.documents import ScenarioText
from berth.scenario.parse import parse_scenario
from berth.simulate.lint import Checked, Level, lint
from berth.simulate.run import open_scenario

SCENARIO = """
cluster:
  fleets:
  - devices:
    - {count: 3, attributes: {model: a100, numa: 0}}
    - {count: 1, attributes: {model: h100, numa: 0, fast: true}}
    - {count: 2, driver: nic.example.com, name: nic}
"""


def checked(expression: str) -> Checked:
    data = yaml.safe_load(SCENARIO)
    data["claims"] = [
        {
            "name": "c",
            "requests": [
                {
                    "name": "g",
                    "exactly": {
                        "deviceClassName": "gpu.example.com",
                        "selectors": [{"cel": {"expression": expression}}],
                    },
                }
            ],
        }
    ]
    loaded, _ = open_scenario(parse_scenario(ScenarioText("s.yaml", data)))
    *classes, found = lint(loaded.cluster)
    assert [(each.where, each.asked, each.matches) for each in classes] == [
        ("deviceclass gpu.example.com, selector #0", 6, 4),
        ("deviceclass nic.example.com, selector #0", 6, 2),
    ]
    assert found.where == "claim default/c, request g, selector #0"
    return found


def findings(expression: str) -> list[tuple[Level, str, str]]:
    """Return level, code and the part of the expression of each finding."""
    return [
        (each.level, each.code, expression[slice(*each.span)] if each.span else "")
        for each in checked(expression).findings
    ]


def test_a_selector_of_a_claim_is_asked_about_the_devices_of_its_class() -> None:
    found = checked('device.attributes["gpu.example.com"].model == "a100"')

    assert (found.asked, found.matches, found.errors, found.findings) == (4, 3, 0, ())


def test_what_does_not_compile_is_an_error_with_its_place() -> None:
    expression = "device.drivr == 'x'"

    found = checked(expression)

    assert found.is_bad
    assert [(each.code, each.span) for each in found.findings] == [("DoesNotCompile", (0, 12))]


def test_a_failure_names_the_device_and_how_many_more() -> None:
    found = checked('device.attributes["gpu.example.com"].fast')

    assert found.is_bad
    assert found.errors == 3
    (finding,) = found.findings
    assert finding.code == "FailsOnDevices"
    assert finding.detail.startswith("fails on device gpu.example.com/node-0/gpu-0 and 2 others: ")


def test_a_selector_that_matches_nothing_is_a_warning() -> None:
    assert findings('device.attributes["gpu.example.com"].model == "b200"') == [
        (Level.WARNING, "MatchesNothing", "")
    ]


def test_parts_that_are_always_the_same_are_told() -> None:
    expression = (
        'device.driver == "gpu.example.com" && '
        '(device.attributes["gpu.example.com"].model == "a100" || device.driver == "x")'
    )

    assert findings(expression) == [
        (Level.INFO, "AlwaysTrue", 'device.driver == "gpu.example.com"'),
        (Level.INFO, "AlwaysFalse", 'device.driver == "x"'),
    ]
