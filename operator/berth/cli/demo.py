# SPDX-License-Identifier: Apache-2.0
"""``berth demo``: Berth at work, from nothing; what ``make run`` shows.

Starts a local cluster (or takes that of ``KUBECONFIG``), installs the chart without its
Deployment, runs the operator beside it under the chart's ServiceAccount, applies the examples
into one namespace, and shows what becomes of them. Ends with everything removed that it brought.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live

from berth.cli.demo_view import Expected, Row, missing, rows, table
from berth.errors import BerthError
from berth.localcluster import ClusterSpec, LocalCluster, install
from berth.localcluster.progress import for_stderr

NAMESPACE = "berth-demo"
LABELS = {"berth.dev/allocate": "enabled"}
SECONDS = 120
"""How long ``--once`` waits until everything is as expected."""
LOOK_SECONDS = 0.5
TOKEN_SECONDS = 24 * 3600

EXPECTED = (
    Expected("worker-", 3, 1),
    Expected("trainer", 1, 1),
    Expected("evaluator", 1, 1),
    Expected("picky", 1, 1),
    Expected("reads-by-claim", 1, 1),
    Expected("reads-by-template", 1, 1),
    Expected("flexible", 1, 2),
    Expected("tight", 1, 4),
    Expected("too-big", 1, None, says="needs 9 devices"),
    Expected("impossible", 1, None, says="asks for All"),
)
COLLECTIONS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Pod": "/api/v1/namespaces/{}/pods",
    "ResourceClaim": "/apis/resource.k8s.io/v1/namespaces/{}/resourceclaims",
    "ResourceClaimTemplate": "/apis/resource.k8s.io/v1/namespaces/{}/resourceclaimtemplates",
}


class DemoError(BerthError):
    """The demo cannot go on; the text says why and what to do."""


def demo(
    *,
    once: Annotated[
        bool, typer.Option(help="End by itself; exit 0 only if every pod is as expected.")
    ] = False,
    nodes: Annotated[int, typer.Option(help="Nodes of the local cluster.")] = 3,
    devices: Annotated[int, typer.Option(help="Devices on each of them.")] = 8,
    name: Annotated[str, typer.Option(help="Name of the local cluster.")] = "demo",
) -> None:
    """Show Berth at work on a local cluster, or on that of KUBECONFIG."""
    console = Console()
    # SIGTERM is to clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _cluster(ClusterSpec(name=name, nodes=nodes, devices=devices)) as kubeconfig:
            is_fine = asyncio.run(_show(kubeconfig, console, once=once))
    except KeyboardInterrupt:
        console.print("stopped; everything that the demo brought is removed")
        raise typer.Exit(0 if not once else 130) from None
    except BerthError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if is_fine else 1)


@contextlib.contextmanager
def _cluster(spec: ClusterSpec) -> Iterator[Path]:
    """Yield an administrator's kubeconfig of a cluster with the chart installed."""
    given = os.environ.get("KUBECONFIG")
    progress = for_stderr()
    with contextlib.ExitStack() as stack:
        if given:
            kubeconfig = Path(given)
            if not kubeconfig.is_file():
                raise DemoError(f"KUBECONFIG: `{given}` is no file: name one, or unset it")
            values = install.OUTSIDE
        else:
            kubeconfig = stack.enter_context(LocalCluster.start(spec, progress)).kubeconfig
            values = install.EVERY_NAMESPACE
        if not (given and install.is_installed(kubeconfig)):
            progress.say("installing Berth's chart: CRDs, roles, admission policies")
            if given:
                stack.callback(_uninstall, kubeconfig)
            install.install(kubeconfig, values, progress=progress)
        yield kubeconfig


def _uninstall(kubeconfig: Path) -> None:
    """Take back what the demo installed on somebody's cluster, the namespace included."""

    async def remove_namespace() -> None:
        from berth.controller.api import ApiClient  # noqa: PLC0415 - pulls in Kopf
        from berth.controller.credentials import load_credentials  # noqa: PLC0415 - as above

        async with ApiClient(await load_credentials(str(kubeconfig), None)) as api:
            await _remove_namespace(api, install.NAMESPACE)

    install.uninstall(kubeconfig)
    asyncio.run(remove_namespace())


async def _show(kubeconfig: Path, console: Console, *, once: bool) -> bool:
    # Here, because the controller pulls in Kopf and registers its handlers.
    from berth.controller.api import ApiClient  # noqa: PLC0415
    from berth.controller.credentials import load_credentials  # noqa: PLC0415

    async with ApiClient(await load_credentials(str(kubeconfig), None)) as api:
        async with _operator(api, kubeconfig), _examples(api):
            found, wrong = await _watch(api, console, once=once)
        if once:
            console.print(table(found, "Berth's demo"))
            for line in wrong:
                console.print(f"not as expected: {line}", style="red", markup=False)
        return not wrong


async def _watch(
    api: Any,
    console: Console,
    *,
    once: bool,
) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """Show the pods until everything is as expected (``once``), or for ever."""
    deadline = time.monotonic() + SECONDS
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    shown: tuple[Row, ...] = ()
    with live or contextlib.nullcontext():
        while True:
            found = await _look(api)
            wrong = missing(found, EXPECTED)
            if live is not None:
                live.update(table(found, "Berth's demo (Ctrl-C ends it)"), refresh=True)
            elif not once and found != shown:
                console.print(table(found, "Berth's demo"))
            shown = found
            if once and (not wrong or time.monotonic() > deadline):
                return found, wrong
            await asyncio.sleep(LOOK_SECONDS)


async def _look(api: Any) -> tuple[Row, ...]:
    pods, claims, events = [
        (await api.list(path.format(NAMESPACE)))["items"]
        for path in (
            COLLECTIONS["Pod"],
            COLLECTIONS["ResourceClaim"],
            "/apis/events.k8s.io/v1/namespaces/{}/events",
        )
    ]
    return rows(pods, claims, events)


@contextlib.asynccontextmanager
async def _operator(api: Any, kubeconfig: Path) -> AsyncIterator[None]:
    """Run ``berth run`` beside us, with the rights of the chart's ServiceAccount."""
    account = f"/api/v1/namespaces/{install.NAMESPACE}/serviceaccounts/{install.SERVICE_ACCOUNT}"
    answer = await api.create(
        f"{account}/token",
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        },
    )
    with tempfile.TemporaryDirectory(prefix="berth-demo-") as folder:
        own = Path(folder, "kubeconfig")
        own.touch(mode=0o600)
        own.write_text(install.account_kubeconfig(kubeconfig, answer["status"]["token"]))
        log = Path(folder, "operator.log")
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "berth", "run", "--kubeconfig", str(own)),
                *("--mode", "gated", "--http-port", "0", "--log-format", "json"),
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours: the operator ends after the examples.
            )
        try:
            async with _supervised(process, log):
                yield
        finally:
            if process.returncode is None:
                process.terminate()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(process.wait(), 15)
            if process.returncode is None:
                process.kill()
                await process.wait()


@contextlib.asynccontextmanager
async def _supervised(process: asyncio.subprocess.Process, log: Path) -> AsyncIterator[None]:
    """End the body when the operator ends before its time, and say how it ended."""
    body = asyncio.current_task()
    if body is None:
        raise AssertionError("runs in a task")
    ended = False

    async def supervise() -> None:
        nonlocal ended
        await process.wait()
        ended = True
        body.cancel()

    watcher = asyncio.create_task(supervise())
    try:
        yield
    except asyncio.CancelledError:
        if not ended:
            raise
        body.uncancel()
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise DemoError(
            f"the operator ended with exit code {process.returncode}; its last lines:\n{tail}"
        ) from None
    finally:
        watcher.cancel()


@contextlib.asynccontextmanager
async def _examples(api: Any) -> AsyncIterator[None]:
    """Apply the examples into a namespace of the demo's own, which ends with the body."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": LABELS},
    }
    try:
        await api.create("/api/v1/namespaces", namespace)
        # A new admission policy is in force about a second after it was created.
        await _wait_for_gate(api)
        for manifest in _manifests():
            await api.create(COLLECTIONS[manifest["kind"]].format(NAMESPACE), manifest)
        yield
    finally:
        await asyncio.shield(_remove_namespace(api, NAMESPACE))


async def _wait_for_gate(api: Any) -> None:
    probe = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {
            "containers": [{"name": "main", "image": "none"}],
            "resourceClaims": [{"name": "none", "resourceClaimName": "none"}],
        },
    }
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        path = COLLECTIONS["Pod"].format(NAMESPACE)
        made = await api.create(path, probe, {"dryRun": "All"})
        if made["spec"].get("schedulingGates"):
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise DemoError(
        f"pods in namespace {NAMESPACE} do not get the scheduling gate: is the chart installed "
        "with `mode: gated`, and does its namespaceSelector select the label "
        "`berth.dev/allocate=enabled`?"
    )


def _manifests() -> Iterator[dict[str, Any]]:
    """Yield the objects of all examples, moved into the demo's namespace."""
    for file in sorted(install.examples_root().glob("*/example.yaml")):
        for manifest in yaml.safe_load_all(file.read_text()):
            if manifest["kind"] != "Namespace":
                manifest["metadata"]["namespace"] = NAMESPACE
                yield manifest


async def _remove_namespace(api: Any, name: str) -> None:
    """Delete a namespace and wait until it is gone, for a while."""
    path = f"/api/v1/namespaces/{name}"
    deadline = time.monotonic() + SECONDS
    while await api.delete(path) is not None and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
