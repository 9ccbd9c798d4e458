# SPDX-License-Identifier: Apache-2.0
"""``berth explain``, ``simulate`` and ``lint`` on files: exit codes, forms of output, mistakes."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from berth.cli import app, main
from berth.cli.cluster_source import context_namespace

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "tests" / "integration" / "kubernetes-docs"
SCENARIO = """
cluster:
  fleets: [{nodes: 2, devices: [{count: 2, attributes: {model: a100}}]}]
claims:
- {name: pair, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 2}}]}
- {name: many, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 5}}]}
pods:
- {name: fits, claims: [pair]}
- {name: big, claims: [many]}
"""
NODE = """
apiVersion: v1
kind: Node
metadata: {name: cluster-1-node-1}
status: {allocatable: {cpu: "4", memory: 8Gi, pods: "110"}}
"""


def berth(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture
def dump(tmp_path: Path) -> tuple[Path, ...]:
    """The documentation's Job on a node, as a dump of its cluster and a manifest."""
    node = tmp_path / "node.yaml"
    node.write_text(NODE)
    return node, DOCS / "resourceslice.yaml", DOCS / "deviceclass.yaml"


def test_explain_says_where_a_pod_would_go(scenario: Path) -> None:
    result = berth("explain", "pod/fits", scenario)

    assert result.exit_code == 0
    assert result.stdout == (
        "pod default/fits fits on node node-0\n"
        "  claim default/pair would get "
        "gpu.example.com/node-0/gpu-0, gpu.example.com/node-0/gpu-1\n"
    )


def test_explain_says_why_not_with_a_hint(scenario: Path) -> None:
    result = berth("explain", "claim/many", scenario)

    assert result.exit_code == 1
    assert "needs 5 devices" in result.stdout
    assert "hint: it fits with count 2 instead of 5" in result.stdout
    assert "\x1b" not in result.stdout


def test_explain_reads_a_pipe_and_writes_json_and_yaml() -> None:
    as_json = berth("explain", "pod/big", "-", "-o", "json", stdin=SCENARIO)
    as_yaml = berth("explain", "pod/big", "-", "-o", "yaml", stdin=SCENARIO)

    assert (as_json.exit_code, as_yaml.exit_code) == (1, 1)
    data = json.loads(as_json.stdout)
    assert data == yaml.safe_load(as_yaml.stdout)
    assert (data["fits"], data["name"]) == (False, "default/big")


def test_explain_writes_a_scenario_that_simulate_confirms(scenario: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.yaml"

    explained = berth("explain", "pod/big", scenario, "--save-scenario", saved, "--anonymise")
    confirmed = berth("simulate", saved)

    assert explained.exit_code == 1
    # The scenario expects the "no", so it is as expected.
    assert confirmed.exit_code == 0
    assert "0 of 1 placed" in confirmed.stdout
    assert "big" not in saved.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("node/a",), "berth explain: `node/a` is not understood: it reads like `pod/NAME`, "),
        (("pod/",), "berth explain: `pod/` is not understood"),
        (
            ("pod/none",),
            "pod default/none: not found in S: there is default/big, default/fits",
        ),
        (("claim/x/none",), "claim x/none: not found in S: there is none in that namespace"),
        (("pod/fits", "--anonymise"), "berth explain: `--anonymise` needs `--save-scenario FILE`"),
    ],
)
def test_explain_ends_with_2_on_bad_input(
    scenario: Path, arguments: tuple[str, ...], message: str
) -> None:
    target, *options = arguments

    result = berth("explain", target, scenario, *options)

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(message.replace(" S:", f" {scenario}:"))


def test_a_file_that_is_absent_or_wrong_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": 5}}')
    other = tmp_path / "other.yaml"
    other.write_text("kind: ConfigMap\n")

    absent = berth("explain", "pod/a", tmp_path / "absent.json")
    mistaken = berth("explain", "pod/a", wrong)
    nothing = berth("explain", "pod/a", other)

    assert {absent.exit_code, mistaken.exit_code, nothing.exit_code} == {2}
    assert absent.stderr == (f"{tmp_path}/absent.json: cannot be read: No such file or directory\n")
    assert mistaken.stderr == f"{wrong}: node n: spec.taints: expected a list, found a number\n"
    assert nothing.stderr.startswith(f"{other}: no object that matters here: found ConfigMap")


def test_a_scenario_is_not_mixed_with_other_files(scenario: Path) -> None:
    result = berth("explain", "pod/a", scenario, DOCS / "deviceclass.yaml")

    assert result.exit_code == 2
    assert result.stderr == f"{scenario}: a scenario is complete: give it alone\n"


def test_the_documentation_s_job_is_explained_on_files(dump: tuple[Path, ...]) -> None:
    manifests = [
        DOCS / name
        for name in ("dra-example-job.yaml", "resourceclaim.yaml", "resourceclaimtemplate.yaml")
    ]

    result = berth("simulate", *manifests, *(part for file in dump for part in ("--cluster", file)))

    assert result.exit_code == 1
    assert "0 of 2 placed" in result.stdout
    assert "asks for All 2 matching devices" in result.stdout


def test_simulate_prints_what_goes_where(scenario: Path) -> None:
    result = berth("simulate", scenario)

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[1].split(maxsplit=3) == [
        "yes",
        "pod",
        "default/fits",
        "node-0  pair: gpu.example.com/node-0/gpu-0, gpu.example.com/node-0/gpu-1",
    ]
    assert lines[2].startswith("no   pod default/big   -       claim default/many")
    assert lines[3:] == ["1 of 2 placed"]


def test_simulate_writes_json(scenario: Path) -> None:
    data = json.loads(berth("simulate", scenario, "-o", "json").stdout)

    assert (data["placed"], data["notPlaced"]) == (1, 1)
    assert [each["node"] for each in data["answers"]] == ["node-0", ""]


def test_simulate_tells_what_is_not_as_expected(scenario: Path) -> None:
    scenario.write_text(f"{SCENARIO}\nexpect: {{pods: {{big: {{fits: true}}}}}}\n")

    result = berth("simulate", scenario)

    assert result.exit_code == 1
    assert "not as expected: " in result.stderr


def test_simulate_needs_something_to_place(dump: tuple[Path, ...]) -> None:
    result = berth("simulate", *dump)

    assert result.exit_code == 2
    assert "nothing to place: no pending pod, no unallocated claim" in result.stderr


def test_lint_shows_the_place_of_a_mistake(tmp_path: Path) -> None:
    path = tmp_path / "class.yaml"
    path.write_text(
        "apiVersion: resource.k8s.io/v1\nkind: DeviceClass\nmetadata: {name: c}\n"
        "spec: {selectors: [{cel: {expression: 'device.drivr == \"x\"'}}]}\n"
    )

    result = berth("lint", path)

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "deviceclass c, selector #0: does not compile"
    assert lines[2:] == [
        '    device.drivr == "x"',
        "    ^^^^^^^^^^^^",
        "1 selector, 1 with errors",
    ]


def test_lint_is_content_with_good_selectors(scenario: Path) -> None:
    text = berth("lint", scenario)
    data = json.loads(berth("lint", scenario, "-o", "json").stdout)

    assert text.exit_code == 0
    assert text.stdout.startswith(
        "deviceclass gpu.example.com, selector #0: matches 4 of 4 devices"
    )
    assert [each["matches"] for each in data["selectors"]] == [4]


@pytest.mark.parametrize("arguments", [(), ("--live", "file.yaml")])
def test_lint_wants_files_or_the_cluster(arguments: tuple[str, ...]) -> None:
    result = berth("lint", *arguments)

    assert result.exit_code == 2
    assert result.stderr == "berth lint: give either files, or `--live`\n"


def test_the_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        "current-context: b\n"
        "contexts: [{name: a, context: {namespace: left}}, {name: b, context: {namespace: right}},"
        " {name: c, context: {}}]\n"
    )

    assert context_namespace(str(path), None) == "right"
    assert context_namespace(str(path), "a") == "left"
    assert context_namespace(str(path), "c") == "default"
    assert context_namespace(str(tmp_path / "absent"), None) == "default"


def test_kubectl_finds_berth_as_a_plugin() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert {
        EntryPoint(name, value, "console_scripts").load()
        for name, value in scripts.items()
        if name in {"berth", "kubectl-berth"}
    } == {main}
    assert {"berth", "kubectl-berth"} <= scripts.keys()
