# SPDX-License-Identifier: Apache-2.0
"""``berth local``: real control planes on this computer.

Reads arguments and shows results; ``berth.localcluster`` does the work. Results go to stdout,
everything else to stderr.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from berth.errors import BerthError

if TYPE_CHECKING:
    from types import FrameType

    from berth.localcluster import LocalCluster

app = typer.Typer(no_args_is_help=True, help="Real control planes on this computer.")

WATCH_SECONDS = 0.5
LOG_TAIL_LINES = 20
DEFAULT_NAME = "berth"
MODE_VARIABLE = "BERTH_MODE"
BERTH = "berth"
"""What ``--without`` calls Berth's own chart."""


class Output(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


class Mode(StrEnum):
    """What Berth's chart is installed for."""

    OBSERVE = "observe"
    GATED = "gated"
    FENCED = "fenced"


Name = Annotated[str, typer.Option("--name", help="Which cluster.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="How results are written.")]


@app.command()
def up(  # noqa: PLR0917 - one parameter an option
    name: Annotated[str, typer.Option(help="Name, to have several side by side.")] = DEFAULT_NAME,
    nodes: Annotated[int, typer.Option(help="Simulated nodes.")] = 3,
    devices: Annotated[int, typer.Option(help="Simulated devices per node.")] = 8,
    kubernetes: Annotated[
        str | None, typer.Option(help="Kubernetes release, as MAJOR.MINOR; the newest known one.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out `kube-scheduler`, `kube-controller-manager`, `kwok`, "
            "`resourceclaim-controller`, or `berth` (its CRDs, roles, policies); repeatable."
        ),
    ] = None,
    feature_gate: Annotated[
        list[str] | None,
        typer.Option(help="A gate for all of Kubernetes, like `DRAAdminAccess=true`; repeatable."),
    ] = None,
    flag: Annotated[
        list[str] | None,
        typer.Option(help="A flag for one component, like `kube-apiserver=--v=4`; repeatable."),
    ] = None,
    api: Annotated[
        list[str] | None,
        typer.Option(
            help="Whether the API server serves a version, like "
            "`resource.k8s.io/v1beta1=true`; repeatable."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="What the devices are.")] = "gpu",
    mode: Annotated[
        Mode, typer.Option(help="For which mode Berth's chart is installed.")
    ] = Mode.GATED,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Hold the cluster until Ctrl-C.")
    ] = False,
    output: Format = Output.TEXT,
) -> None:
    """Start a cluster; the first time on a computer this builds its programs."""
    from berth.localcluster import LocalCluster, progress, spec  # noqa: PLC0415 - not for `--help`

    with _errors_shown(), _terminable():
        flags: dict[str, tuple[str, ...]] = {}
        for component, text in map(spec.parse_flag, flag or ()):
            flags[component] = (*flags.get(component, ()), text)
        wanted = spec.ClusterSpec(
            name=name,
            kubernetes=kubernetes or spec.default_release(),
            nodes=nodes,
            devices=devices,
            without=frozenset(without or ()) - {BERTH},
            extra_flags=flags,
            feature_gates=dict(map(spec.parse_gate, feature_gate or ())),
            apis=dict(map(spec.parse_api, api or ())),
            profile=profile,
        )
        cluster = LocalCluster.start(wanted, progress.for_stderr())
        environment = {} if BERTH in (without or ()) else _install_berth(cluster, mode)
        if foreground:
            _hold(cluster, output, environment)
        else:
            cluster.detach()
            _show_up(cluster, output, environment)


def _install_berth(cluster: LocalCluster, mode: Mode) -> Mapping[str, str]:
    """Install the chart without its Deployment, so that `berth run` finds everything in place.

    Returns:
        What `berth run` needs in its environment beside KUBECONFIG.
    """
    from berth.localcluster import install, profiles, progress, webhook  # noqa: PLC0415 - as above

    generates = mode is not Mode.OBSERVE and "resourceclaim-controller" in cluster.spec.without
    values = {
        **install.every_namespace(mode.value, (profiles.DRIVER,)),
        "generateClaims": generates,
    }
    # `berth run` is in mode gated unless it is told otherwise.
    environment = {} if mode is Mode.GATED else {MODE_VARIABLE: mode.value}
    gated_by_webhook = mode is Mode.GATED and webhook.is_needed(cluster.spec.kubernetes)
    port = webhook.free_port() if gated_by_webhook else None
    if port is not None:
        values.update(webhook.values(port))
    try:
        install.install(cluster.kubeconfig, values, progress=progress.for_stderr())
        if port is None:
            return environment
        manifest = install.installed_manifest(cluster.kubeconfig)
        return webhook.save(manifest, cluster.folder, port)
    except BaseException:
        cluster.stop()
        raise


@app.command()
def down(
    name: Name = DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="All clusters that exist.")] = False,
) -> None:
    """End a cluster and remove its folder."""
    from berth.localcluster import LocalCluster, existing  # noqa: PLC0415 - not for `--help`

    with _errors_shown():
        names = existing() if everything else (name,)
        for each in names:
            LocalCluster.open(each).stop()
            typer.echo(f"cluster {each}: stopped", err=True)
        if not names:
            typer.echo("there is no local cluster", err=True)


@app.command()
def status(name: Name = DEFAULT_NAME, output: Format = Output.TEXT) -> None:
    """Show a cluster's components; exit code 1 if one does not run."""
    from berth.localcluster import LocalCluster  # noqa: PLC0415 - not for `--help`
    from berth.localcluster.processes import tail_of  # noqa: PLC0415 - as above

    with _errors_shown():
        cluster = LocalCluster.open(name)
        seen = _described(cluster)
        dead = [each for each in cluster.components if not each.alive]
    if output is Output.JSON:
        for each in dead:
            seen["components"][each.name]["log_tail"] = tail_of(each.log, LOG_TAIL_LINES)
        _print_json(seen)
    else:
        typer.echo(
            f"cluster {name}: {seen['state']}: Kubernetes {seen['version']}, "
            f"{seen['nodes']} nodes with {seen['devices']} devices each"
        )
        typer.echo(f"server {seen['server']}, kubeconfig {seen['kubeconfig']}")
        table = Table(box=None, pad_edge=False)
        for column in ("COMPONENT", "PID", "STATE"):
            table.add_column(column)
        for each in cluster.components:
            table.add_row(each.name, str(each.pid), "running" if each.alive else "ended")
        Console(highlight=False).print(table)
        for each in dead:
            typer.echo(f"\n{each.name}: ended on its own: the end of {each.log}:")
            typer.echo(tail_of(each.log, LOG_TAIL_LINES))
    raise typer.Exit(1 if dead or seen["state"] != "running" else 0)


@app.command("list")
def list_clusters(output: Format = Output.TEXT) -> None:
    """List the clusters that exist on this computer."""
    from berth.localcluster import LocalCluster, existing  # noqa: PLC0415 - not for `--help`

    with _errors_shown():
        seen = [_described(LocalCluster.open(each)) for each in existing()]
    if output is Output.JSON:
        _print_json(seen)
        return
    table = Table(box=None, pad_edge=False)
    columns = ("NAME", "STATE", "KUBERNETES", "NODES", "DEVICES", "SERVER")
    for column in columns:
        table.add_column(column)
    for each in seen:
        keys = ("name", "state", "version", "nodes", "devices", "server")
        table.add_row(*(str(each[key]) for key in keys))
    if seen:
        Console(highlight=False).print(table)
    else:
        typer.echo("there is no local cluster", err=True)


@app.command()
def kubeconfig(
    name: Name = DEFAULT_NAME,
    content: Annotated[
        bool, typer.Option("--content", help="Print the file itself, not its path.")
    ] = False,
) -> None:
    """Print the path of a cluster's kubeconfig: `export KUBECONFIG="$(berth local kubeconfig)"`."""
    from berth.localcluster import LocalCluster  # noqa: PLC0415 - not for `--help`

    with _errors_shown():
        path = LocalCluster.open(name).kubeconfig
        typer.echo(path.read_text() if content else path, nl=not content)


@app.command()
def logs(
    component: Annotated[str, typer.Argument(help="Like `kube-scheduler`.")],
    name: Name = DEFAULT_NAME,
    tail: Annotated[int | None, typer.Option(help="Only so many lines of the end.")] = None,
) -> None:
    """Print the log of a component."""
    from berth.localcluster import LocalCluster  # noqa: PLC0415 - not for `--help`
    from berth.localcluster.processes import tail_of  # noqa: PLC0415 - as above

    with _errors_shown():
        found = {each.name: each.log for each in LocalCluster.open(name).components}
        if component not in found:
            typer.echo(
                f"cluster {name}: has no component `{component}`: "
                f"its components: {', '.join(found)}",
                err=True,
            )
            raise typer.Exit(2)
        if tail is not None:
            typer.echo(tail_of(found[component], tail))
        else:
            _copy(found[component])


@app.command()
def build(
    kubernetes: Annotated[
        str | None, typer.Option(help="Kubernetes release, as MAJOR.MINOR; the newest known one.")
    ] = None,
    helm: Annotated[bool, typer.Option("--helm", help="Helm too, which tests need.")] = False,
) -> None:
    """Build the programs now, so that nobody waits for them later; print where they are."""
    from berth.localcluster import build as builder  # noqa: PLC0415 - not for `--help`
    from berth.localcluster import paths, programs, progress, spec  # noqa: PLC0415 - as above

    with _errors_shown(), _terminable():
        tools = paths.tools_root()
        wanted = programs.control_plane(tools, kubernetes or spec.default_release())
        if helm:
            wanted = (*wanted, programs.helm(tools))
        built = builder.ensure(wanted, paths.cache_root(), progress.for_stderr())
        for path in built.values():
            typer.echo(path)


def _hold(cluster: LocalCluster, output: Output, environment: Mapping[str, str]) -> None:
    """Keep a cluster until a signal, its end by others, or the death of a component."""
    try:
        _show_up(cluster, output, environment)
        sys.stdout.flush()
        typer.echo("Ctrl-C stops it", err=True)
        _watch(cluster)
    finally:
        # A second Ctrl-C must not leave half of it behind.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        cluster.stop()
        typer.echo(f"cluster {cluster.folder.name}: stopped", err=True)


def _watch(cluster: LocalCluster) -> None:
    while not cluster.ended_by_others():
        try:
            cluster.check()
        except BerthError:
            # `down` ends the components one by one: only what it did not end has died.
            if cluster.ended_by_others():
                return
            raise
        time.sleep(WATCH_SECONDS)


def _show_up(cluster: LocalCluster, output: Output, environment: Mapping[str, str]) -> None:
    if output is Output.JSON:
        # The same as `list` and `status` say, unless `berth run` needs to be told something.
        needed = {"environment": dict(environment)} if environment else {}
        _print_json({**_described(cluster), **needed})
        return
    typer.echo(f"export KUBECONFIG={cluster.kubeconfig}")
    for name, value in environment.items():
        typer.echo(f"export {name}={value}")
    if environment.keys() - {MODE_VARIABLE}:
        typer.echo(
            "the gate is a webhook of `berth run`: until that runs, pods with claims are refused",
            err=True,
        )


def _described(cluster: LocalCluster) -> dict[str, Any]:
    record = cluster.record
    alive = [each.alive for each in cluster.components]
    state = record.phase if alive and all(alive) else "broken" if any(alive) else "dead"
    if record.phase != "running" and record.supervisor and record.supervisor.alive:
        state = record.phase
    return {
        "name": record.spec.name,
        "state": state,
        "version": record.version,
        "created": record.created,
        "nodes": record.spec.nodes,
        "devices": record.spec.devices,
        "without": sorted(record.spec.without),
        "server": cluster.server,
        "kubeconfig": str(cluster.kubeconfig),
        "components": {
            each.name: {"pid": each.pid, "running": each.alive, "log": str(each.log)}
            for each in cluster.components
        },
    }


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2))


def _copy(log: Path) -> None:
    with log.open("rb") as file, contextlib.suppress(BrokenPipeError):
        while part := file.read(1 << 16):
            sys.stdout.buffer.write(part)


@contextlib.contextmanager
def _errors_shown() -> Iterator[None]:
    """Show an error of ours as text: 2 for what was asked wrongly, 1 for what went wrong."""
    from berth.localcluster import errors  # noqa: PLC0415 - not for `--help`

    asked_wrongly = (
        errors.InvalidClusterSpecError,
        errors.UnknownClusterError,
        errors.ClusterExistsError,
    )
    try:
        yield
    except BerthError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2 if isinstance(error, asked_wrongly) else 1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM and a closed terminal end us as Ctrl-C does: with everything cleaned up."""

    def interrupt(number: int, _: FrameType | None) -> None:
        raise KeyboardInterrupt(number)

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
