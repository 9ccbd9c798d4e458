# SPDX-License-Identifier: Apache-2.0
"""``berth run``: the operator, with a tuned event loop.

The same application as ``kopf run -m berth.controller --all-namespaces``; here options can be
given, and they win over the environment.
"""

from __future__ import annotations

import gc
from typing import Annotated

import typer

from berth.errors import BerthError

GC_THRESHOLDS = (200_000, 50, 100)
"""Fewer collections: the ledger is large, long-lived and free of cycles."""


def run(
    *,
    mode: Annotated[
        str | None, typer.Option(help="What Berth may do: `observe`, `gated` or `fenced`.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Namespace of the Lease.")] = None,
    generate_claims: Annotated[
        bool | None,
        typer.Option(
            "--generate-claims/--no-generate-claims",
            help="Generate per-pod claims in place of kube-controller-manager.",
        ),
    ] = None,
    claims_feed: Annotated[
        str | None, typer.Option(help="Where claim events come from: `informer` or `kopf`.")
    ] = None,
    kubeconfig: Annotated[
        str | None, typer.Option(help="Path of a kubeconfig; else KUBECONFIG, else in-cluster.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context in the kubeconfig.")] = None,
    http_host: Annotated[str | None, typer.Option(help="Address of probes and metrics.")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Port of probes and metrics; 0 takes a free one.")
    ] = None,
    webhook_port: Annotated[
        int | None,
        typer.Option(help="Port of the webhook that gates pods before Kubernetes 1.36."),
    ] = None,
    webhook_host: Annotated[str | None, typer.Option(help="Address of the webhook.")] = None,
    webhook_certificates: Annotated[
        str | None, typer.Option(help="Folder with the webhook's `tls.crt` and `tls.key`.")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="`auto`, `json` or `pretty`.")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="`debug`, `info`, `warning` or `error`.")
    ] = None,
) -> None:
    """Run the operator until it is interrupted."""
    try:
        # Imported here: the other verbs must not pay for Kopf, nor register its handlers.
        import uvloop  # noqa: PLC0415

        from berth.controller.app import run as run_operator  # noqa: PLC0415
        from berth.controller.settings import Settings  # noqa: PLC0415

        settings = Settings.from_environment(
            mode=mode,
            namespace=namespace,
            generate_claims=generate_claims,
            claims_feed=claims_feed,
            kubeconfig=kubeconfig,
            context=context,
            http_host=http_host,
            http_port=http_port,
            webhook_port=webhook_port,
            webhook_host=webhook_host,
            webhook_certificates=webhook_certificates,
            log_format=log_format,
            log_level=log_level,
        )
    except BerthError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    gc.set_threshold(*GC_THRESHOLDS)
    uvloop.run(run_operator(settings))
