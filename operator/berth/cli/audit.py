# SPDX-License-Identifier: Apache-2.0
"""``berth audit``: what is wrong in the cluster, and on demand the repairs that are safe.

Works where Berth allocates nothing, too. What is wrong is ``berth.audit``'s to say; this reads,
writes the answer, and asks before anything is repaired.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from berth.audit.finding import VERSION, Finding, Severity
from berth.audit.sweep import audit as audit_cluster
from berth.audit.view import ALL_KINDS, Scope
from berth.audit.words import printable, seconds_of
from berth.cli.cluster_source import (
    Context,
    Files,
    Kubeconfig,
    Source,
    from_cluster,
    from_files,
)
from berth.cli.output import (
    NO,
    YES,
    Format,
    Output,
    bad_input,
    console,
    usable_input,
    warn,
    write_data,
)
from berth.cli.repair import Done, is_allocating, repair_all, repairs_of

SETTLE_SECONDS = 3.0
"""Pause between two looks at a live cluster; what is wrong in one of them only is on its way."""
STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}
UNKNOWN = {
    "Pod": "consumers and finished pods",
    "Node": "nodes that are gone",
    "ResourceSlice": "whether devices are published, and counters and capacity",
    "AllocationPolicy": "whose claims they are",
    "Namespace": "which policies cover them",
}
"""What cannot be judged without each kind."""


def audit(
    files: Files = None,
    *,
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", "-n", help="Only what concerns objects of this namespace."),
    ] = None,
    output: Format = Output.TEXT,
    complete: Annotated[
        bool,
        typer.Option(
            "--complete", help="The files have every object: a kind without any has none."
        ),
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="Time of the dump, as 2026-11-24T10:00:00Z; else ages count up to now."
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Do what is provably safe, after asking.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say what is wrong with allocations, whoever made them."""
    if repair and files:
        bad_input("berth audit: `--repair` works on the live cluster only, not on files")
    if yes and not repair:
        bad_input("berth audit: `--yes` needs `--repair`")
    now = None if at is None else seconds_of(at)
    if at is not None and now is None:
        bad_input(f"berth audit: `--at {printable(at)}`: expected a time like 2026-11-24T10:00:00Z")
    with usable_input():
        if files:
            source = from_files(files, namespace)
            scope = Scope(complete=ALL_KINDS if complete else _kinds_of(source))
            found = audit_cluster(source.loaded.cluster, now or int(time.time()), scope)
        else:
            scope = Scope(allocating=asyncio.run(is_allocating(kubeconfig, context)))
            source, found = _live(scope, kubeconfig, context)
        if namespace is not None:
            found = tuple(each for each in found if _concerns(each, namespace))
        done: tuple[Done, ...] = ()
        if repair and repairs_of(found):
            _show_if_text(found, source, output)
            done = asyncio.run(_repair(found, kubeconfig, context, ask=not yes))
    left = _left(found, done)
    if output is not Output.TEXT:
        write_data(
            {
                "version": VERSION,
                "source": source.name,
                "notJudged": sorted(ALL_KINDS - scope.complete),
                "findings": [each.as_json() for each in found],
                "repairs": [each.as_json() for each in done],
            },
            output,
        )
    elif not done:
        _show_if_text(found, source, output)
    for kind in sorted(ALL_KINDS - scope.complete):
        warn(
            f"note: {source.name}: no {kind}: not judged: {UNKNOWN[kind]}; "
            "`--complete` says that there are none"
        )
    raise typer.Exit(NO if left else YES)


def _live(
    scope: Scope, kubeconfig: str | None, context: str | None
) -> tuple[Source, tuple[Finding, ...]]:
    """Return the cluster and what is wrong with it; what does not last does not count."""
    source = from_cluster(kubeconfig, context)
    found = audit_cluster(source.loaded.cluster, int(time.time()), scope)
    if not any(each.settles for each in found):
        return source, found
    seen = {each.key for each in found}
    time.sleep(SETTLE_SECONDS)
    source = from_cluster(kubeconfig, context)
    again = audit_cluster(source.loaded.cluster, int(time.time()), scope)
    return source, tuple(each for each in again if not each.settles or each.key in seen)


async def _repair(
    found: tuple[Finding, ...], kubeconfig: str | None, context: str | None, *, ask: bool
) -> tuple[Done, ...]:
    repairs = repairs_of(found)
    for each in repairs:
        warn(f"would {each.text}")
    if ask and not typer.confirm(
        f"carry out {len(repairs)} repair{'' if len(repairs) == 1 else 's'}?", err=True
    ):
        return tuple(Done(each, done=False, detail="not wanted") for each in repairs)
    done = await repair_all(repairs, kubeconfig, context)
    for outcome in done:
        warn(f"{'done' if outcome.done else 'not done'}: {outcome.repair.text}: {outcome.detail}")
    return done


def _left(found: tuple[Finding, ...], done: tuple[Done, ...]) -> bool:
    carried_out = [each.repair for each in done if each.done]
    return any(each.repair is None or each.repair not in carried_out for each in found)


def _kinds_of(source: Source) -> frozenset[str]:
    return ALL_KINDS & {each.kind for each in source.loaded.objects}


def _concerns(finding: Finding, namespace: str) -> bool:
    return any(each.namespace == namespace for each in finding.objects)


def _show_if_text(found: tuple[Finding, ...], source: Source, output: Output) -> None:
    if output is Output.TEXT:
        show(found, source, console())


def show(found: tuple[Finding, ...], source: Source, out: Console) -> None:
    """Write the findings as text, by severity."""
    cluster = source.loaded.cluster
    allocated = sum(each.allocation is not None for each in cluster.claims.values())
    looked_at = f"{allocated} of {len(cluster.claims)} claims are allocated"
    if not found:
        out.print(Text(f"nothing is wrong: {looked_at}", "bold green"))
        return
    for severity in Severity:
        those = [each for each in found if each.severity is severity]
        if not those:
            continue
        count = f"{len(those)} {severity.value}{'' if len(those) == 1 else 's'}"
        out.print(Text(count, STYLES[severity]))
        for finding in those:
            _show_one(finding, out)
    out.print(Text(looked_at))


def _show_one(finding: Finding, out: Console) -> None:
    style = STYLES[finding.severity]
    out.print(Text.assemble("  ", (finding.kind, style), f" {finding.evidence}"))
    for each in finding.objects:
        uid = printable(each.uid) or "not known"
        out.print(Text.assemble("    ", (str(each), "cyan"), f" (uid {uid})"))
    out.print(Text.assemble(("    remedy: ", "bold"), printable(finding.remedy)))
    if finding.repair is not None:
        out.print(Text.assemble(("    --repair: ", "green"), finding.repair.text))
