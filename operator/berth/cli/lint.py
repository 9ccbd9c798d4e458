# SPDX-License-Identifier: Apache-2.0
"""``berth lint``: what selectors do on the published devices.

The findings are ``berth.simulate.lint``'s; this writes them.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from berth.cli.cluster_source import Context, Files, Kubeconfig, Namespace, get_source
from berth.cli.output import (
    NO,
    YES,
    Format,
    Output,
    bad_input,
    console,
    one_line,
    usable_input,
    write_data,
)
from berth.simulate.lint import VERSION, Checked, Level
from berth.simulate.lint import lint as lint_cluster

STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.INFO: "blue"}


def lint(
    files: Files = None,
    *,
    live: Annotated[bool, typer.Option("--live", help="Read the live cluster.")] = False,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Check the selectors of classes, claims and templates against the published devices."""
    if live is bool(files):
        bad_input("berth lint: give either files, or `--live`")
    with usable_input():
        source, _ = get_source(files, namespace, kubeconfig, context)
        found = lint_cluster(source.loaded.cluster)
    if not found:
        bad_input(f"{source.name}: no selector in any class, claim or template")
    if output is Output.TEXT:
        _show(found, console())
    else:
        data = {"version": VERSION, "selectors": [each.as_json() for each in found]}
        write_data(data, output)
    raise typer.Exit(NO if any(each.is_bad for each in found) else YES)


def _show(found: tuple[Checked, ...], out: Console) -> None:
    for each in found:
        out.print(one_line((each.where, "bold"), f": {_summary(each)}"))
        for finding in each.findings:
            style = STYLES[finding.level]
            out.print(one_line("  ", (finding.level.value, style), f": {finding.detail}"))
            if finding.span is not None:
                _show_span(each.expression, finding.span, style, out)
    errors = sum(each.is_bad for each in found)
    selectors = "selector" if len(found) == 1 else "selectors"
    out.print(f"{len(found)} {selectors}, {errors} with errors")


def _summary(each: Checked) -> str:
    if any(finding.code == "DoesNotCompile" for finding in each.findings):
        return "does not compile"
    failing = f", fails on {each.errors}" if each.errors else ""
    cost = "" if each.cost is None else f", costs {each.cost} at most"
    return f"matches {each.matches} of {each.asked} devices{failing}{cost}"


def _show_span(expression: str, span: tuple[int, int], style: str, out: Console) -> None:
    start, end = span
    line_start = expression.rfind("\n", 0, start) + 1
    line_end = expression.find("\n", start)
    line_end = len(expression) if line_end < 0 else line_end
    width = max(1, min(end, line_end) - start)
    out.print(one_line(f"    {expression[line_start:line_end]}"))
    out.print(Text(f"    {' ' * (start - line_start)}{'^' * width}", style))
