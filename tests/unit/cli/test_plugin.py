# SPDX-License-Identifier: Apache-2.0
"""The installed ``kubectl-berth``, which kubectl runs for ``kubectl berth``, is ``berth``."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
SCENARIO = """
cluster:
  fleets: [{devices: [{count: 2}]}]
claims:
- {name: one, requests: [{name: g, exactly: {deviceClassName: gpu.example.com}}]}
- {name: many, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 5}}]}
pods:
- {name: fits, claims: [one]}
- {name: big, claims: [many]}
"""


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPTS / program, *arguments], capture_output=True, text=True, timeout=50, check=False
    )


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("pod/fits", 0, "pod default/fits fits on node node-0"),
        ("pod/big", 1, "hint: it fits with count 2 instead of 5"),
        ("pod/none", 2, "pod default/none: not found"),
    ],
)
def test_the_plugin_answers_as_the_command_does(
    tmp_path: Path, target: str, code: int, says: str
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SCENARIO)

    command, plugin = (
        run(program, "explain", target, path) for program in ("berth", "kubectl-berth")
    )

    assert (plugin.returncode, plugin.stdout, plugin.stderr) == (
        code,
        command.stdout,
        command.stderr,
    )
    assert command.returncode == code
    assert says in plugin.stdout + plugin.stderr


@pytest.mark.parametrize(
    ("program", "typed", "completes"),
    [("berth", "berth", True), ("kubectl-berth", "kubectl berth", False)],
)
def test_help_names_the_command_as_it_was_typed(
    program: str, typed: str, *, completes: bool
) -> None:
    root, verb, mistake = run(program, "-h"), run(program, "explain", "-h"), run(program, "none")

    assert f"Usage: {typed} [OPTIONS] COMMAND [ARGS]..." in root.stdout
    assert ("--install-completion" in root.stdout) is completes
    assert f"Usage: {typed} explain [OPTIONS] " in verb.stdout
    assert f"Try '{typed} -h' for help." in mistake.stderr
    assert mistake.returncode == 2
