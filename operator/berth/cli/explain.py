# SPDX-License-Identifier: Apache-2.0
"""``berth explain``: where a pod or claim is or would go, or why it cannot.

Works where Berth allocates nothing, too: it reads what kube-scheduler reads. The answer is
``berth.simulate``'s; this writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from berth.cli.cluster_source import (
    Context,
    Files,
    Kubeconfig,
    Namespace,
    NotInClusterError,
    Source,
    get_source,
)
from berth.cli.output import (
    NO,
    YES,
    Format,
    Output,
    bad_input,
    coloured,
    console,
    one_line,
    usable_input,
    warn,
    write_data,
)
from berth.explain.tree import tree_lines
from berth.model.claims import ClaimKey
from berth.model.pods import PodKey
from berth.simulate.answer import Answer
from berth.simulate.ask import ask_claim, ask_pod
from berth.simulate.record import scenario_of

KINDS = {
    "pod": "pod",
    "pods": "pod",
    "po": "pod",
    "claim": "claim",
    "resourceclaim": "claim",
    "resourceclaims": "claim",
}


def explain(
    target: Annotated[str, typer.Argument(help="`pod/NAME` or `claim/NAME`.")],
    files: Files = None,
    *,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    save_scenario: Annotated[
        Path | None, typer.Option(help="Write the case to this file, as a scenario.")
    ] = None,
    anonymise: Annotated[
        bool, typer.Option("--anonymise", help="With other names in the scenario.")
    ] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say where a pod or claim is or would go, or why it cannot be allocated."""
    kind, given_namespace, name = _target(target)
    if anonymise and save_scenario is None:
        bad_input("berth explain: `--anonymise` needs `--save-scenario FILE`")
    with usable_input():
        source, default_namespace = get_source(files, namespace, kubeconfig, context)
        answer = _ask(source, kind, given_namespace or default_namespace, name)
        if save_scenario is not None:
            text = scenario_of(source.loaded, answer, anonymise=anonymise)
            save_scenario.write_text(text, encoding="utf-8")
            warn(f"{save_scenario}: scenario written")
    if output is Output.TEXT:
        show(answer, console())
    else:
        write_data(answer.as_json(), output)
    raise typer.Exit(YES if answer.fits else NO)


def show(answer: Answer, out: Console) -> None:
    """Write one answer as text."""
    who = f"{answer.kind} {answer.name}"
    if answer.conflict is not None:
        out.print(coloured(tree_lines(answer.conflict)))
    elif not answer.fits:
        out.print(one_line((answer.message, "bold red")))
    else:
        out.print(one_line((f"{who} {_verdict(answer)}", "bold green")))
        for held in answer.held:
            verb = "holds" if held.is_now else "would get"
            devices = ", ".join(held.devices) or "no devices"
            out.print(one_line("  claim ", (str(held.claim), "cyan"), f" {verb} {devices}"))
    for note in answer.notes:
        out.print(one_line(("note: ", "bold"), note))


def _verdict(answer: Answer) -> str:
    if answer.is_now:
        if answer.kind == "claim":
            return "is allocated"
        return f"is on node {answer.node}" if answer.node else "is not waiting"
    return f"fits on node {answer.node}"


def _target(target: str) -> tuple[str, str, str]:
    """Return kind, namespace (empty if not given) and name."""
    kind, _, rest = target.partition("/")
    namespace, _, name = rest.rpartition("/")
    if kind.lower() not in KINDS or not name or "/" in namespace:
        bad_input(
            f"berth explain: `{target}` is not understood: it reads like `pod/NAME`, "
            "`claim/NAME` or `pod/NAMESPACE/NAME`"
        )
    return KINDS[kind.lower()], namespace, name


def _ask(source: Source, kind: str, namespace: str, name: str) -> Answer:
    cluster = source.loaded.cluster
    if kind == "pod":
        pod = cluster.pods.get(PodKey(namespace, name))
        if pod is not None:
            return ask_pod(cluster, pod, fully=True)
        known = [str(key) for key in sorted(cluster.pods) if key.name == name] or [
            str(key) for key in sorted(cluster.pods) if key.namespace == namespace
        ]
    else:
        claim = cluster.claims.get(ClaimKey(namespace, name))
        if claim is not None:
            return ask_claim(cluster, claim, fully=True)
        known = [str(key) for key in sorted(cluster.claims) if key.name == name] or [
            str(key) for key in sorted(cluster.claims) if key.namespace == namespace
        ]
    raise NotInClusterError(f"{kind} {namespace}/{name}", source.name, known)
