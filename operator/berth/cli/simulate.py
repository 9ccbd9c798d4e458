# SPDX-License-Identifier: Apache-2.0
"""``berth simulate``: what would go where, and what would not.

Places pods and claims of files on a cluster in memory; no cluster is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from berth.cli.cluster_source import (
    Context,
    Kubeconfig,
    Namespace,
    Source,
    add_files,
    from_cluster,
    from_files,
    get_source,
    read_objects,
)
from berth.cli.cluster_source import context_namespace as namespace_of_context
from berth.cli.output import (
    NO,
    YES,
    Format,
    Output,
    bad_input,
    console,
    one_line,
    print_table,
    progress,
    usable_input,
    warn,
    write_data,
)
from berth.scenario.load import DEFAULT_NAMESPACE, load
from berth.scenario.parse import Scenario
from berth.simulate.answer import Answer
from berth.simulate.run import Wanted, mismatches
from berth.simulate.run import simulate as run_simulation

CLUSTER_KINDS = frozenset({"Node", "ResourceSlice"})


def simulate(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Manifests, dumps or a scenario; `-` is standard input. None: the pending pods "
            "of the cluster.",
            show_default=False,
        ),
    ] = None,
    *,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            "--cluster",
            "-c",
            help="Where to place them: dumps or a scenario; repeatable. None: the files "
            "themselves where they have nodes or slices, else the live cluster.",
        ),
    ] = None,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Place pods and claims of files on a cluster in memory, and print what goes where."""
    with usable_input():
        source = _source(files or [], cluster or [], namespace, kubeconfig, context)
        if not len(source.wanted):
            bad_input(f"{source.name}: nothing to place: no pending pod, no unallocated claim")
        with progress() as display:
            task = display.add_task("placing", total=len(source.wanted))
            answers = run_simulation(
                source.loaded.cluster,
                source.wanted,
                progress=lambda _: display.advance(task),
            )
    if output is Output.TEXT:
        _show(answers, console())
    else:
        write_data(_data(answers), output)
    wrong = () if source.scenario is None else mismatches(source.scenario, answers)
    for line in wrong:
        for part in f"not as expected: {line}".split("\n"):
            warn(part)
    raise typer.Exit(YES if _is_yes(source, answers, wrong) else NO)


def _is_yes(source: Source, answers: Sequence[Answer], wrong: Sequence[str]) -> bool:
    """Tell whether all is as the scenario expects; without an expectation, whether all fits."""
    scenario = source.scenario
    if scenario is not None and (scenario.expect_pods or scenario.expect_claims):
        return not wrong
    return all(each.fits for each in answers)


def _source(
    files: list[str],
    cluster: list[str],
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> Source:
    if not files:
        return get_source(cluster, namespace, kubeconfig, context)[0]
    wanted = read_objects(files)
    if isinstance(wanted, Scenario):
        if cluster:
            bad_input(f"{wanted.source}: a scenario has its own cluster: leave out `--cluster`")
        return from_files(files, namespace)
    if cluster:
        base = from_files(cluster, namespace)
    elif any(each.kind in CLUSTER_KINDS for each in wanted):
        base = Source(load(()), ", ".join(files), Wanted())
    else:
        base = from_cluster(kubeconfig, context)
        namespace = namespace or namespace_of_context(kubeconfig, context)
    return add_files(base, wanted, namespace or DEFAULT_NAMESPACE)


def _show(answers: tuple[Answer, ...], out: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "what", "node", "devices, or why not"):
        table.add_column(heading, overflow="fold")
    for each in answers:
        held = "; ".join(f"{one.claim.name}: {', '.join(one.devices)}" for one in each.held)
        table.add_row(
            Text("yes", "green") if each.fits else Text("no", "red"),
            one_line(f"{each.kind} {each.name}"),
            one_line(each.node or "-"),
            one_line(held or "no claims") if each.fits else one_line(each.reason),
        )
    print_table(table, out)
    out.print(f"{sum(each.fits for each in answers)} of {len(answers)} placed")


def _data(answers: tuple[Answer, ...]) -> dict[str, object]:
    placed = sum(each.fits for each in answers)
    return {
        "version": "berth.dev/simulation/v1",
        "placed": placed,
        "notPlaced": len(answers) - placed,
        "answers": [each.as_json() for each in answers],
    }
