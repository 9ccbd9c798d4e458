# SPDX-License-Identifier: Apache-2.0
"""The operator as one object: builds the parts, starts them in order, stops them in order.

Knows no Kopf; ``berth.controller.app`` calls it from Kopf's handlers. Order matters: nothing is
decided before every kind is listed and leadership is won, and after that claims are listed anew,
because the previous leader may have written a moment ago.

Source: ``docs/architecture.md``, section on the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar

import structlog

from berth.codec.claims import decode_claim
from berth.codec.nodes import decode_node
from berth.codec.pods import decode_pod
from berth.codec.versions import GROUP
from berth.controller.api import ApiClient, require_served
from berth.controller.apierrors import ApiError, Unreachable
from berth.controller.auditor import Auditor
from berth.controller.claim_watch import ClaimWatch
from berth.controller.credentials import Credentials
from berth.controller.events import EventRecorder
from berth.controller.feeds import KopfFedKind, RawObject
from berth.controller.generate import ClaimGenerator, pods_to_touch
from berth.controller.informer import Informer
from berth.controller.kinds import kopf_fed_kinds
from berth.controller.leader import Elector
from berth.controller.metrics import HealthServer, Metrics
from berth.controller.overtaken import overtaken
from berth.controller.paths import claims_path
from berth.controller.policies import PolicyStatusWriter
from berth.controller.reconcile import Reconciler
from berth.controller.served import Served
from berth.controller.settings import Settings
from berth.controller.transport import Timeouts
from berth.controller.writer import Writer
from berth.errors import BerthError, DecodeError
from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.nodes import Node
from berth.model.pods import Pod, PodKey
from berth.state.cluster import Cluster

SYNC_LIMIT_SECONDS = 120
STOP_LIMIT_SECONDS = 5
ELECTOR = "elector"
WRITE_SHARE = 0.8
"""How much of the time between the leader's deadline and the end of its Lease a write may take."""

T = TypeVar("T")
log = structlog.get_logger("berth.operator")


class NotSyncedError(BerthError):
    """A kind could not be listed in time; the text names it."""


class Operator:
    """One replica of Berth.

    ``start`` returns when every kind is listed; ``stop`` when the writes in flight are done or
    given up and the Lease is released. The parts are public for tests and probes.
    """

    def __init__(self, settings: Settings, credentials: Credentials, served: Served) -> None:
        def now() -> datetime.datetime:
            return datetime.datetime.now(datetime.UTC)

        self.settings = settings
        self.served = served
        self.metrics = Metrics()
        self.cluster = Cluster(served.features)
        # A write must have ended before the Lease of a leader that cannot renew can be taken.
        margin = settings.lease_seconds - settings.deadline_seconds
        write = min(Timeouts().write, margin * WRITE_SHARE)
        self.api = ApiClient(credentials, timeouts=Timeouts(write=write))
        self.events = EventRecorder(self.api, instance=settings.identity, metrics=self.metrics)
        self.elector = Elector(
            self.api,
            settings.namespace,
            settings.lease_name,
            settings.identity,
            lease_seconds=settings.lease_seconds,
            renew_seconds=settings.renew_seconds,
            deadline_seconds=settings.deadline_seconds,
        )
        self.writer = Writer(
            self.api,
            self.may_write,
            concurrency=settings.concurrent_writes,
            clock_now=now,
            metrics=self.metrics,
            version=served.resources,
            overtaken=partial(overtaken, self.cluster),
        )
        self.reconciler = Reconciler(
            self.cluster,
            self.writer,
            self.events,
            self.metrics,
            may_write=self.may_write,
            budget=settings.search_budget,
            generates=settings.generate_claims,
            binding_timeout=settings.binding_seconds,
            fenced=settings.mode == "fenced",
        )
        self.claim_watch = ClaimWatch(
            self.cluster, self.events, self.reconciler.avoided, may_write=self.may_write
        )
        self.generator = ClaimGenerator(
            self.cluster,
            self.api,
            self.events,
            may_write=self.may_write,
            version=served.resources,
        )
        self.auditor = Auditor(
            self.cluster,
            self.metrics,
            self.events,
            may_post=self.may_write,
            is_current=self._has_current_claims,
            allocating=settings.mode != "observe",
            clock_now=time.time,
        )
        self.policies = PolicyStatusWriter(
            self.api, self.events, may_write=self.may_write, clock_now=now
        )
        self.kinds = kopf_fed_kinds(
            self.cluster,
            self.policies,
            changed=self._published_changed,
            template_changed=self._template_changed,
            served=served,
        )
        self.claims_feed = KopfFedKind(
            GROUP,
            served.resources,
            "resourceclaims",
            lambda raw: self._on_claim(decode_claim(raw)),
            lambda namespace, name: self._on_claim_gone(name, namespace, ""),
            self._undecodable,
        )
        self.informers = self._informers()
        self.waits_for: dict[str, str] = {}
        """What beside the operator keeps this replica from being ready, and why."""
        self.broken: str | None = None
        """The part that ended on its own, if one did."""
        self._verified = False
        self._tasks: list[asyncio.Task[None]] = []
        self._health = HealthServer(
            settings.http_host, settings.http_port, self.metrics, self.readiness, self.alive
        )

    def _informers(self) -> dict[str, Informer[Any]]:
        def informer(
            path: str,
            decode: Callable[[RawObject], T],
            apply: Callable[[T], None],
            remove: Callable[[str, str, str], None],
        ) -> Informer[T]:
            return Informer(
                self.api,
                path,
                decode=decode,
                on_apply=apply,
                on_remove=remove,
                on_undecodable=self._undecodable,
            )

        informers: dict[str, Informer[Any]] = {
            "pods": informer("/api/v1/pods", decode_pod, self._on_pod, self._on_pod_gone),
            "nodes": informer("/api/v1/nodes", decode_node, self._on_node, self._on_node_gone),
            "namespaces": informer(
                "/api/v1/namespaces", _labels, self._on_namespace, self._on_namespace_gone
            ),
        }
        if self.settings.claims_feed == "informer":
            informers["resourceclaims"] = informer(
                claims_path("", self.served.resources),
                decode_claim,
                self._on_claim,
                self._on_claim_gone,
            )
        return informers

    # --- life

    async def start(self) -> None:
        """Connect, list everything, then take part in the election.

        Raises:
            BerthError: If the cluster cannot be used; the text says what to do.
        """
        await self.api.open()
        await require_served(self.api, "berth.dev/v1alpha1", "allocationpolicies")
        for text in self.served.degraded():
            log.warning("feature is degraded", reason=text)
        await self._relist_kopf_fed()
        for name, informer in self.informers.items():
            self.metrics.watch_informer(name, informer)
            self._spawn(informer.run(), f"informer {name}")
        await self._wait_synced()
        self._spawn(self.events.run(), "events")
        self._spawn(self.reconciler.run(), "reconcile")
        self._spawn(self.policies.run(), "policies")
        self._spawn(self.auditor.run(), "audit")
        self._spawn(self._relist_for_ever(), "relist")
        if self.settings.generate_claims:
            self._spawn(self.generator.run(), "generate")
        if self.settings.mode != "observe":
            self._spawn(self.elector.run(self._on_leading, self._on_following), ELECTOR)
        port = await self._health.start()
        log.info("ready", mode=self.settings.mode, port=port)

    async def stop(self) -> None:
        """Stop deciding, let writes end, release the Lease, close."""
        # In this order: a write that lands after the Lease is released would be nobody's.
        elector = [task for task in self._tasks if task.get_name() == ELECTOR]
        for group in ([task for task in self._tasks if task not in elector], elector):
            for task in group:
                task.cancel()
            if group:
                await asyncio.wait(group, timeout=STOP_LIMIT_SECONDS)
        await self._health.stop()
        await self.api.close()
        log.info("stopped")

    def may_write(self) -> bool:
        """Tell whether a write may be sent now: leading, within the deadline, and verified."""
        return self._verified and self.elector.may_write()

    async def _wait_synced(self) -> None:
        waits = {name: informer.synced.wait() for name, informer in self.informers.items()}
        try:
            async with asyncio.timeout(SYNC_LIMIT_SECONDS):
                await asyncio.gather(*waits.values())
        except TimeoutError as error:
            missing = [n for n, informer in self.informers.items() if not informer.synced.is_set()]
            raise NotSyncedError(
                f"{', '.join(missing)} could not be listed within {SYNC_LIMIT_SECONDS} s: check "
                "the log for the API server's answers, and the ClusterRole"
            ) from error

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._on_task_done)
        self._tasks.append(task)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        # A part that ended by itself is a bug; half an operator would look alive and do nothing.
        log.error("a part of the operator ended; stopping", error=repr(task.exception()))
        self.broken = task.get_name()
        os.kill(os.getpid(), signal.SIGTERM)

    # --- leading

    async def _on_leading(self) -> None:
        """Read anew what the previous leader may have written, then allow writes."""
        await self._relist_kopf_fed()
        if "resourceclaims" in self.informers:
            await self.informers["resourceclaims"].relist()
        await self.informers["pods"].relist()
        for device, holders in self.cluster.overlaps():
            log.error("device is held by several claims", device=str(device), claim=str(holders))
        self._verified = True
        self.metrics.leader.set(1)
        for key in self.cluster.pods:
            self.cluster.mark_dirty(key)
        self.generator.touch_all()
        self.policies.poke()
        self.auditor.post_all()
        self.reconciler.poke()

    def _on_following(self) -> None:
        self._verified = False
        self.metrics.leader.set(0)

    # --- feeding

    @property
    def fed_by_kopf(self) -> tuple[KopfFedKind, ...]:
        """The kinds for which Kopf's handlers must be registered."""
        if self.settings.claims_feed == "kopf":
            return (*self.kinds, self.claims_feed)
        return self.kinds

    def on_kopf_event(self, plural: str, event_type: str | None, raw: RawObject) -> None:
        """Take one event of Kopf's."""
        for kind in self.fed_by_kopf:
            if kind.plural == plural:
                kind.on_event(event_type, raw)

    async def _relist_kopf_fed(self) -> None:
        for kind in self.fed_by_kopf:
            await kind.relist(self.api)

    async def _relist_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self.settings.relist_seconds)
            with contextlib.suppress(ApiError, Unreachable):  # The next round is soon enough.
                await self._relist_kopf_fed()

    def _on_claim(self, claim: ResourceClaim) -> None:
        known = self.cluster.claims.get(claim.key)
        self.cluster.apply_claim(claim)
        self.claim_watch.changed(known, claim)
        self.auditor.claim_changed(claim.key)
        self._claim_changed(claim.key)

    def _on_claim_gone(self, name: str, namespace: str, uid: str) -> None:
        key = ClaimKey(namespace, name)
        touched = pods_to_touch(self.cluster, key)
        self.cluster.remove_claim(key, uid)
        self.auditor.claim_changed(key)
        for pod in touched:
            self.generator.touch(pod)
        self.reconciler.poke()

    def _claim_changed(self, key: ClaimKey) -> None:
        if self.settings.generate_claims:
            self.generator.touch_claim(key)
            for pod in pods_to_touch(self.cluster, key):
                self.generator.touch(pod)
        self.reconciler.poke()

    def _has_current_claims(self) -> bool:
        """Tell whether the claims are those of one moment, and not half those of a new list."""
        informer = self.informers.get("resourceclaims")
        return informer is None or bool(informer.resource_version)

    def _published_changed(self) -> None:
        self.auditor.published()
        self.reconciler.poke()

    def _template_changed(self, namespace: str, name: str) -> None:
        if self.settings.generate_claims:
            for pod in self.cluster.pods_of_template(namespace, name):
                self.generator.touch(pod)

    def _on_pod(self, pod: Pod) -> None:
        self.cluster.apply_pod(pod)
        self._pod_changed(pod.key)

    def _on_pod_gone(self, name: str, namespace: str, uid: str) -> None:
        self.cluster.remove_pod(PodKey(namespace, name), uid)
        self._pod_changed(PodKey(namespace, name))

    def _pod_changed(self, key: PodKey) -> None:
        if self.settings.generate_claims:
            self.generator.touch(key)
        self.reconciler.poke()

    def _on_node(self, node: Node) -> None:
        self.cluster.apply_node(node)
        self.reconciler.poke()

    def _on_node_gone(self, name: str, namespace: str, uid: str) -> None:  # noqa: ARG002 - one shape for all informers
        self.cluster.remove_node(name)
        self.auditor.changed()
        self.reconciler.node_gone(name)

    def _on_namespace(self, labelled: tuple[str, Mapping[str, str]]) -> None:
        self.cluster.apply_namespace(*labelled)
        self.reconciler.poke()

    def _on_namespace_gone(self, name: str, namespace: str, uid: str) -> None:  # noqa: ARG002 - as above
        self.cluster.remove_namespace(name)

    def _undecodable(self, raw: RawObject, error: DecodeError) -> None:  # noqa: ARG002 - as above
        log.warning("object cannot be used", error=str(error))

    # --- health

    def readiness(self) -> Mapping[str, object]:
        """Return what is not ready, by name; empty when the replica can do its work."""
        missing = [n for n, informer in self.informers.items() if not informer.synced.is_set()]
        return {**dict.fromkeys(missing, "not listed yet"), **self.waits_for}

    def alive(self) -> bool:
        """Tell whether every part is still running."""
        return self.broken is None


def _labels(raw: RawObject) -> tuple[str, Mapping[str, str]]:
    metadata = raw["metadata"]
    return metadata["name"], metadata.get("labels") or {}
