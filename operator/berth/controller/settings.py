# SPDX-License-Identifier: Apache-2.0
"""The operator's settings: what can be set, the defaults, and how the environment names them.

Every field can be set by an environment variable ``BERTH_<FIELD>`` (``kopf run`` reads only
those) and, for ``berth run``, by an option of the same name, which wins.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from berth.engine.outcomes import DEFAULT_BUDGET
from berth.errors import BerthError

PREFIX = "BERTH_"


class SettingsError(BerthError):
    """A setting that cannot be used; the text names each setting, its value and what is allowed."""


def _identity() -> str:
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


class Settings(BaseModel):
    """Everything that can be set from outside; immutable once the operator runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["observe", "gated", "fenced"] = Field(
        default="gated",
        description="What Berth may do: watch and explain, allocate gated pods, or allocate also "
        "pods without a gate whose devices are fenced.",
    )
    namespace: str = Field(
        default="berth-system", description="Namespace of the Lease; the operator's own."
    )
    generate_claims: bool = Field(
        default=False,
        description="Generate per-pod claims from templates and clean up after finished pods, in "
        "place of kube-controller-manager's resourceclaim controller.",
    )
    claims_feed: Literal["informer", "kopf"] = Field(
        default="informer",
        description="Where ResourceClaim events come from; `kopf` is for small clusters and "
        "debugging.",
    )
    kubeconfig: str | None = Field(
        default=None, description="Path of a kubeconfig; else KUBECONFIG, else the cluster's own."
    )
    context: str | None = Field(default=None, description="Context in that kubeconfig.")
    http_host: str = Field(
        default="127.0.0.1", description="Address on which probes and metrics listen."
    )
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="Port of probes and metrics; 0 takes a free one."
    )
    webhook_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the webhook that gates pods where no admission policy can "
        "(Kubernetes before 1.36); unset: none is served.",
    )
    webhook_host: str = Field(
        default="127.0.0.1", description="Address on which the webhook listens."
    )
    webhook_certificates: str | None = Field(
        default=None, description="Folder with the webhook's `tls.crt` and `tls.key`."
    )
    log_format: Literal["auto", "json", "pretty"] = Field(
        default="auto", description="`auto` is pretty on a terminal, JSON elsewhere."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    lease_name: str = Field(default="berth", description="Name of the leader's Lease.")
    lease_seconds: float = Field(default=15, gt=0, description="How long a Lease lasts unrenewed.")
    renew_seconds: float = Field(default=2, gt=0, description="How often the leader renews.")
    deadline_seconds: float = Field(
        default=10,
        gt=0,
        description="How long a leader goes on writing without a renewal; shorter than the lease.",
    )
    concurrent_writes: int = Field(default=32, ge=1, le=256, description="Writes in flight.")
    search_budget: int = Field(
        default=DEFAULT_BUDGET, ge=1, description="Steps for one pod on one node."
    )
    binding_seconds: float = Field(
        default=600,
        gt=0,
        description="How long devices with binding conditions may take to be ready for a gated pod "
        "before others are tried.",
    )
    relist_seconds: float = Field(
        default=300,
        gt=0,
        description="How often kinds that Kopf feeds are listed, to find missed deletions.",
    )
    identity: str = Field(
        default_factory=_identity, description="Name of this replica in the Lease."
    )

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] | None = None, **overrides: object
    ) -> Settings:
        """Return the settings of ``BERTH_*`` variables, with ``overrides`` on top.

        An override of ``None`` leaves the environment's value, or the default.

        Raises:
            SettingsError: If a value is not allowed; all mistakes are named at once.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, object] = {
            name: environment[PREFIX + name.upper()]
            for name in cls.model_fields
            if PREFIX + name.upper() in environment
        }
        values.update({name: value for name, value in overrides.items() if value is not None})
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError(
                "\n".join(
                    f"setting `{'.'.join(str(part) for part in mistake['loc'])}` "
                    f"({PREFIX}{str(mistake['loc'][0]).upper()}): {mistake['msg']}, "
                    f"not `{mistake['input']}`"
                    for mistake in error.errors()
                )
            ) from error
        if not settings.renew_seconds < settings.deadline_seconds < settings.lease_seconds:
            raise SettingsError(
                "settings `renew_seconds` < `deadline_seconds` < `lease_seconds` must hold, not "
                f"{settings.renew_seconds:g}, {settings.deadline_seconds:g}, "
                f"{settings.lease_seconds:g}: else two replicas could write at once"
            )
        if settings.webhook_port is not None and not settings.webhook_certificates:
            raise SettingsError(
                f"setting `webhook_certificates` ({PREFIX}WEBHOOK_CERTIFICATES): must be set where "
                "`webhook_port` is: the API server talks to webhooks over TLS only"
            )
        return settings
