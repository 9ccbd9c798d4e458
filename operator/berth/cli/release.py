# SPDX-License-Identifier: Apache-2.0
"""``berth release``: let gated pods go, without allocating anything.

For uninstalling and for emergencies: kube-scheduler allocates the claims of released pods. Pods
that are not held by Berth are left alone; other gates stay.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

import typer

from berth.errors import BerthError
from berth.model.pods import SCHEDULING_GATE

GATE_PATCH = {"spec": {"schedulingGates": [{"name": SCHEDULING_GATE, "$patch": "delete"}]}}


def release(
    *,
    pod: Annotated[str | None, typer.Argument(help="One pod, as namespace/name.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every pod in every namespace that Berth holds.")
    ] = False,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Path of a kubeconfig; else KUBECONFIG, else in-cluster.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
) -> None:
    """Remove Berth's scheduling gate from pods, so that kube-scheduler takes them."""
    if (pod is None) is not everything:
        typer.echo("berth release: give either one pod as namespace/name, or --all", err=True)
        raise typer.Exit(2)
    if pod is not None and pod.count("/") != 1:
        typer.echo(f"berth release: `{pod}` is not of the form namespace/name", err=True)
        raise typer.Exit(2)
    try:
        left = asyncio.run(_release(pod, kubeconfig, context))
    except BerthError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(1 if left else 0)


async def _release(pod: str | None, kubeconfig: str | None, context: str | None) -> int:
    """Release the pods, say what was done, and return how many could not be released."""
    from berth.controller.api import ApiClient, ApiError  # noqa: PLC0415 - pulls in Kopf
    from berth.controller.credentials import load_credentials  # noqa: PLC0415 - as above

    left = 0
    async with ApiClient(await load_credentials(kubeconfig, context)) as api:
        if pod is None:
            found = (await api.list("/api/v1/pods"))["items"]
        else:
            namespace, _, name = pod.partition("/")
            found = [await api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")]
        gated = [each for each in found if _is_held(each)]
        for each in gated:
            metadata = each["metadata"]
            key = f"{metadata['namespace']}/{metadata['name']}"
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            try:
                body = {"metadata": {"uid": metadata["uid"]}, **GATE_PATCH}
                await api.patch(path, body, "strategic")
            except ApiError as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    continue
                left += 1
                typer.echo(f"pod {key}: not released: {error}", err=True)
            else:
                typer.echo(f"pod {key}: released")
        if not gated:
            typer.echo("no pod is held by Berth")
    return left


def _is_held(pod: dict[str, object]) -> bool:
    spec = pod["spec"]
    gates = spec.get("schedulingGates") or () if isinstance(spec, dict) else ()
    return any(gate["name"] == SCHEDULING_GATE for gate in gates)
