# SPDX-License-Identifier: Apache-2.0
"""Berth as a Kopf application: settings, login, handlers, start and stop.

Handlers on objects of others are ``on.event`` only, return
nothing and take no patch: anything else would make Kopf write annotations or finalizers into
those objects. ``kopf run -m berth.controller`` finds the handlers in Kopf's default registry;
``berth run`` gives a registry of its own.

Source: ``docs/adr/0004-on-event-only.md``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import kopf

from berth.controller.admission import WEBHOOK, register_webhook, webhook_server
from berth.controller.api import ApiClient
from berth.controller.credentials import Credentials, load_credentials
from berth.controller.feeds import KopfFedKind
from berth.controller.logs import configure_logging
from berth.controller.operator import Operator
from berth.controller.served import Served, discover
from berth.controller.settings import Settings
from berth.errors import BerthError


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing on objects: Berth compares nothing through Kopf, and writes no annotation."""

    def build(self, **_: Any) -> Any:
        """Return an empty essence; building the real one costs a deep copy per event."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Find nothing, ever."""

    def store(self, **_: Any) -> None:
        """Write nothing, ever."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no progress on objects: ``on.event`` handlers have none."""

    def fetch(self, **_: Any) -> None:
        """Find nothing, ever."""

    def store(self, **_: Any) -> None:
        """Write nothing, ever."""

    def purge(self, **_: Any) -> None:
        """Remove nothing: nothing was written."""

    def touch(self, **_: Any) -> None:
        """Write nothing, ever."""

    def clear(self, *, essence: Any) -> Any:
        """Return ``essence`` as it is: there is no progress in it."""
        return essence


def register(registry: kopf.OperatorRegistry, settings: Settings) -> Mapping[str, Operator]:
    """Register Berth's handlers in ``registry``.

    Args:
        registry: Kopf's default registry, or one of its own for each operator in a process.
        settings: What this replica shall do.

    Returns:
        A live view: holds ``operator`` as long as one runs.
    """
    running: dict[str, Operator] = {}

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        credentials = await load_credentials(settings.kubeconfig, settings.context)
        return await credentials.connection_info()

    @kopf.on.startup(registry=registry)
    async def start(**kwargs: Any) -> None:
        _tune(kwargs["settings"])
        configure_logging(settings.log_format, settings.log_level)
        try:
            credentials = await load_credentials(settings.kubeconfig, settings.context)
            served = await _served(credentials)
            operator = running["operator"] = Operator(settings, credentials, served)
            server = webhook_server(settings, lambda: operator.waits_for.pop(WEBHOOK, None))
            if server is not None:
                operator.waits_for[WEBHOOK] = "not listening yet"
                kwargs["settings"].admission.server = server
                register_webhook(registry, served.resources)
            await operator.start()
            # Only now is it known which kinds there are, and Kopf looks for handlers only later.
            register_feeds(registry, running, operator.fed_by_kopf)
        except BaseException as error:
            # Kopf cleans up only what has started; an interrupted start has not.
            if (half := running.pop("operator", None)) is not None:
                await half.stop()
            if isinstance(error, BerthError):
                # Permanent: Kopf would otherwise try the start-up again for ever.
                raise kopf.PermanentError(str(error)) from error
            raise

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        operator = running.pop("operator", None)
        if operator is None:
            return
        await operator.stop()
        if operator.broken is not None:
            # Kopf then ends with an error, and whoever supervises the process can tell.
            raise kopf.PermanentError(f"a part of the operator ended on its own: {operator.broken}")

    @kopf.on.probe(id="ready", registry=registry)
    async def ready(**_: Any) -> Mapping[str, object]:
        return (
            running["operator"].readiness() if "operator" in running else {"operator": "starting"}
        )

    return running


async def _served(credentials: Credentials) -> Served:
    async with ApiClient(credentials) as api:
        await api.open()
        return await discover(api)


def register_feeds(
    registry: kopf.OperatorRegistry, running: Mapping[str, Operator], kinds: Iterable[KopfFedKind]
) -> None:
    """Register a handler for each kind that Kopf feeds to the operator in ``running``."""
    for kind in kinds:
        _register_event(registry, running, kind.group, kind.version, kind.plural)


def _register_event(
    registry: kopf.OperatorRegistry,
    running: Mapping[str, Operator],
    group: str,
    version: str,
    plural: str,
) -> None:
    @kopf.on.event(group, version, plural, id=f"feed-{plural}", registry=registry)
    async def feed(event: kopf.RawEvent, **_: Any) -> None:
        if "operator" in running:
            running["operator"].on_kopf_event(plural, event["type"], event["object"])


def _tune(settings: kopf.OperatorSettings) -> None:
    """Set what is measured to matter, and switch off everything that writes."""
    settings.peering.standalone = True  # Leader election is a Lease; peering is no lock.
    settings.scanning.disabled = True  # The kinds are fixed; no watch of CRDs and namespaces.
    settings.posting.enabled = False  # Events are posted on purpose, by our own recorder.
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)


def register_default() -> None:
    """Register with Kopf's default registry, with the settings of the environment."""
    register(kopf.get_default_registry(), Settings.from_environment())


async def run(settings: Settings) -> None:
    """Run Berth with a registry of its own until SIGINT or SIGTERM; what ``berth run`` does."""
    registry = kopf.OperatorRegistry()
    register(registry, settings)
    await kopf.operator(registry=registry, clusterwide=True, standalone=True)
