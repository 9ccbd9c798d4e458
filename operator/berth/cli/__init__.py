# SPDX-License-Identifier: Apache-2.0
"""The command ``berth``, also ``kubectl berth``: one module a verb, joined here.

Exit codes of every verb: 0 yes, 1 no, 2 bad input. A verb imports what is heavy only when it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import berth
from berth.cli import audit, demo, explain, lint, local, release, run, simulate

# kubectl runs a plugin by the name of its file; what a user typed has a space in it.
IS_PLUGIN = Path(sys.argv[0]).stem == "kubectl-berth"

app = typer.Typer(
    name="berth",
    no_args_is_help=True,
    # The shell completes `kubectl`, which does not ask plugins in this way.
    add_completion=not IS_PLUGIN,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Allocates Kubernetes DRA devices from the control plane, and says why not.",
)
app.command("run")(run.run)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)
app.command("lint")(lint.lint)
app.command("audit")(audit.audit)
app.command("release")(release.release)
app.command("demo")(demo.demo)
app.add_typer(local.app, name="local")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"berth {berth.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options that belong to no verb."""


def main() -> None:
    """Run the command that the arguments name."""
    app(prog_name="kubectl berth" if IS_PLUGIN else "berth")
