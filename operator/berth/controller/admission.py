# SPDX-License-Identifier: Apache-2.0
"""The gate as a mutating webhook, for releases without MutatingAdmissionPolicies.

Decides the same as the chart's policies: which pods get Berth's scheduling gate, and that claims
get the delete protection, when they are created. Which namespaces it is asked about is in the
chart's MutatingWebhookConfiguration, and its conditions keep the API server from asking where the
answer is no. Every replica answers, leader or not: an answer needs nothing but the question.

Kopf serves it; certificate and key are files, which the chart mounts (``docs/adr``), and they are
read anew when they change. Never writes into the cluster.

Source: ``admission.k8s.io/v1`` AdmissionReview; KEP-3521 for scheduling gates.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import kopf

from berth.codec.versions import GROUP
from berth.controller.settings import Settings
from berth.errors import BerthError
from berth.model.claims import DELETE_PROTECTION_FINALIZER
from berth.model.pods import SCHEDULING_GATE

WEBHOOK = "webhook"
"""What a replica waits for until it listens, in its readiness."""
GATE_ID = "gate"
"""Last part of the URL that the API server asks about pods."""
FINALIZER_ID = "finalizer"
"""The same for claims."""
CERTIFICATE = "tls.crt"
KEY = "tls.key"

Raw = Mapping[str, Any]


class WebhookError(BerthError):
    """The webhook cannot be served; the text names the file and the setting."""


def gates_of_new_pod(pod: Raw) -> list[Raw] | None:
    """Return the scheduling gates that a new pod shall have; ``None`` where it stays as it is.

    A pod without claims is not Berth's, and one that has a node cannot have a gate.
    """
    spec = pod.get("spec") or {}
    gates = list(spec.get("schedulingGates") or ())
    gated = any(gate.get("name") == SCHEDULING_GATE for gate in gates)
    if not spec.get("resourceClaims") or spec.get("nodeName") or gated:
        return None
    return [*gates, {"name": SCHEDULING_GATE}]


def finalizers_of_new_claim(claim: Raw) -> list[str] | None:
    """Return the finalizers that a new claim shall have; ``None`` where it has them."""
    finalizers = list((claim.get("metadata") or {}).get("finalizers") or ())
    if DELETE_PROTECTION_FINALIZER in finalizers:
        return None
    return [*finalizers, DELETE_PROTECTION_FINALIZER]


def register_webhook(registry: kopf.OperatorRegistry, version: str) -> None:
    """Register the two handlers; ``version`` is the one in which claims are served."""

    @kopf.on.mutate("", "v1", "pods", id=GATE_ID, operations=["CREATE"], registry=registry)
    async def gate(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        gates = gates_of_new_pod(body)
        if gates is not None:
            patch.spec["schedulingGates"] = gates

    @kopf.on.mutate(
        GROUP,
        version,
        "resourceclaims",
        id=FINALIZER_ID,
        operations=["CREATE"],
        registry=registry,
    )
    async def protect(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        finalizers = finalizers_of_new_claim(body)
        if finalizers is not None:
            patch.metadata["finalizers"] = finalizers


def webhook_server(
    settings: Settings, listening: Callable[[], object]
) -> kopf.WebhookServerProtocol | None:
    """Return what Kopf shall serve the handlers with; ``None`` where no port is set.

    ``listening`` is called whenever it has begun to listen.

    Raises:
        WebhookError: If certificate and key cannot be used.
    """
    if settings.webhook_port is None:
        return None
    folder = Path(settings.webhook_certificates or "")
    certificate, key = folder / CERTIFICATE, folder / KEY
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise WebhookError(
            f"webhook: `{certificate}` and `{key}` cannot be used: {error}: setting "
            "`webhook_certificates` (BERTH_WEBHOOK_CERTIFICATES) names the folder of both"
        ) from error
    server = kopf.WebhookServer(
        addr=settings.webhook_host,
        port=settings.webhook_port,
        certfile=certificate,
        pkeyfile=key,
    )

    async def serve(fn: kopf.WebhookFn) -> AsyncIterator[kopf.WebhookClientConfig]:
        async for config in server(fn):
            listening()
            yield config

    return serve
