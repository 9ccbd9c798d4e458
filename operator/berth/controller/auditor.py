# SPDX-License-Identifier: Apache-2.0
"""The standing audit: judges the ledger in every mode, and says what is new and what is gone.

Decides when what is judged. Devices that two claims hold are found in the very event that makes
it so; counters and capacities in the next turn; everything else in sweeps. Says it in metrics
and log lines, and where this replica may write, in events. Changes nothing, whatever it finds.

Source: ``docs/guides/audit.md``; what is a fault is ``berth.audit``'s to say.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable

import structlog

from berth.audit.devices import overlaps
from berth.audit.finding import Finding, ObjectRef
from berth.audit.kinds import KINDS
from berth.audit.open_findings import Changes, OpenFindings
from berth.audit.sweep import DeviceUnit, PoolUnit, Unit, judge, units_of
from berth.audit.view import Publications, Scope, View
from berth.controller.events import EventRecorder, ObjectReference
from berth.controller.metrics import Metrics
from berth.explain.messages import fit_event
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID, PoolID
from berth.state.cluster import Cluster

SLICE_SECONDS = 0.005
"""How long the audit may work before it lets the event loop turn."""
PAUSE_SECONDS = 0.01
"""Between two slices, so that the audit never takes more than a third of the loop."""
POOL_SECONDS = 0.25
"""Least time between two rounds over pools of which something was allocated or freed."""
LISTING_SECONDS = 0.05
"""How often the audit looks whether a new list is complete."""
CHANGED_SECONDS = 10.0
"""Least time between two sweeps, where something has changed."""
SWEEP_SECONDS = 60.0
"""Time between two sweeps where nothing has changed: some findings come with time alone."""
COST_SHARE = 20
"""A sweep that took a second is not followed by the next one for so many seconds."""
API_VERSIONS = {"ResourceClaim": "resource.k8s.io/v1", "Pod": "v1"}
MAX_OBJECTS = 8
"""Events for the first so many objects of one finding."""

log = structlog.get_logger("berth.audit")


class Auditor:
    """Keeps the open findings; ``claim_changed`` may be called for every event, the rest too.

    Args:
        cluster: The ledger; read only.
        metrics: Gets the number of findings by kind.
        events: Gets a warning for each new finding, if ``may_post`` says so.
        may_post: Whether this replica may write events: it leads, and the mode is not `observe`.
        is_current: Whether the ledger's claims are those of one moment: while they are listed
            anew, one that is gone may still be there, and look like a second holder.
        allocating: Whether Berth's mode lets it remove gates.
        clock_now: Seconds since 1970.
    """

    def __init__(  # noqa: PLR0913 - the parts it connects, each named
        self,
        cluster: Cluster,
        metrics: Metrics,
        events: EventRecorder,
        *,
        may_post: Callable[[], bool],
        is_current: Callable[[], bool],
        allocating: bool,
        clock_now: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._events = events
        self._may_post = may_post
        self._is_current = is_current
        self._scope = Scope(allocating=allocating)
        self._clock_now = clock_now
        self._found = OpenFindings()
        self._contended: dict[str, set[DeviceID]] = {}
        self._publications = Publications()
        self._is_refreshed = False
        self._later: set[DeviceID] = set()
        self._pools: set[PoolID] = set()
        self._changed = True
        self._wake = asyncio.Event()
        self._slice_began = 0.0
        self._spent = 0.0
        for kind in KINDS:
            self._metrics.audit_findings.labels(kind).set(0)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings that are open, in no particular order."""
        return self._found.open()

    # --- events

    def claim_changed(self, key: ClaimKey) -> None:
        """Take note of an event of a claim, after the ledger has; also where it is gone."""
        claim = self._cluster.claims.get(key)
        allocation = None if claim is None else claim.allocation
        devices = {
            each.device_id
            for each in (() if allocation is None else allocation.devices)
            if not each.admin_access
        }
        self._pools.update(device.pool_id for device in devices)
        devices |= self._contended.get(str(key), set())
        if not self._is_current():
            self._later |= devices
        else:
            self._judge_devices(devices)
        if devices:
            self._wake.set()
        self.changed()

    def published(self) -> None:
        """Take note of an event of a slice, or of another thing that is published."""
        self._is_refreshed = False
        self.changed()

    def changed(self) -> None:
        """Take note of any other event: the next sweep comes sooner."""
        if not self._changed:
            self._changed = True
            self._wake.set()

    def post_all(self) -> None:
        """Have events posted for everything that is open: nobody has before this replica."""
        for finding in self._found.open():
            self._post(finding)

    # --- work

    async def run(self) -> None:
        """Judge until cancelled, beginning with everything."""
        loop = asyncio.get_running_loop()
        swept = loop.time() - SWEEP_SECONDS
        while True:
            await self._wait_current()
            soon = self._changed or not self._found.is_settled
            pause = CHANGED_SECONDS if soon else SWEEP_SECONDS
            due = swept + max(pause, self._spent * COST_SHARE)
            if loop.time() >= due:
                swept = loop.time()
                await self._sweep()
            elif self._pools:
                await self._judge_pools()
                await asyncio.sleep(POOL_SECONDS)
            else:
                self._wake.clear()
                await self._wait(due - loop.time())

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _wait_current(self) -> None:
        """Return when the ledger is no mixture of two lists, with what came meanwhile judged."""
        while not self._is_current():  # noqa: ASYNC110 - lists are rare, and short
            await asyncio.sleep(LISTING_SECONDS)
        later, self._later = self._later, set()
        self._judge_devices(later)

    async def _sweep(self) -> None:
        self._changed = False
        self._spent = 0.0
        self._slice_began = asyncio.get_running_loop().time()
        for unit in itertools.chain(units_of(self._view()), self._found.units):
            self._update(unit, judge(self._view(), unit))
            # What was just allocated does not wait for the end of a sweep.
            if await self._turned() and self._pools:
                await self._judge_pools()

    async def _judge_pools(self) -> None:
        # Those with open findings too: what was freed does not say of which pool it was.
        pools, self._pools = self._pools, set()
        pools.update(each.pool for each in self._found.units if isinstance(each, PoolUnit))
        self._slice_began = asyncio.get_running_loop().time()
        for pool in sorted(pools):
            unit = PoolUnit(pool)
            self._update(unit, judge(self._view(), unit))
            await self._turned()

    def _judge_devices(self, devices: Iterable[DeviceID]) -> None:
        for device in sorted(devices):
            self._update(DeviceUnit(device), overlaps(self._cluster, device))

    async def _turned(self) -> bool:
        """Let the event loop turn if it is time; tell whether it has."""
        loop = asyncio.get_running_loop()
        spent = loop.time() - self._slice_began
        if spent < SLICE_SECONDS:
            return False
        self._spent += spent
        await asyncio.sleep(PAUSE_SECONDS)
        await self._wait_current()
        self._slice_began = loop.time()
        return True

    def _view(self) -> View:
        """Return the view of this moment; the loop may have turned since the last one."""
        if not self._is_refreshed:
            self._publications.refresh(self._cluster.slices)
            self._is_refreshed = True
        return View(self._cluster, self._publications, int(self._clock_now()), self._scope)

    # --- what is new, what is gone

    def _update(self, unit: Unit, findings: Iterable[Finding]) -> None:
        try:
            found = tuple(findings)
        except Exception as error:
            # A mistake of ours about one object must neither stop the operator nor its feeds.
            log.exception("audit failed", reason=str(unit), error=repr(error))
            return
        changes = self._found.update(unit, found, int(self._clock_now()))
        if not changes.new and not changes.gone:
            return
        self._note_contended(unit, changes)
        for finding in changes.new:
            _log(finding, "audit found a fault", is_new=True)
            self._post(finding)
        for finding in changes.gone:
            _log(finding, "fault found by the audit is gone", is_new=False)
        for kind in {each.kind for each in (*changes.new, *changes.gone)}:
            self._metrics.audit_findings.labels(kind).set(self._found.counts[kind])

    def _note_contended(self, unit: Unit, changes: Changes) -> None:
        """Remember whose events may end an overlap: the claim may have let go of the device."""
        if not isinstance(unit, DeviceUnit):
            return
        for finding in changes.gone:
            for each in finding.objects:
                devices = self._contended.get(each.full_name, set())
                devices.discard(unit.device)
                if not devices:
                    self._contended.pop(each.full_name, None)
        # All that are open, not the new ones alone: two shares of one device may be held twice.
        for finding in self._found.of(unit):
            for each in finding.objects:
                self._contended.setdefault(each.full_name, set()).add(unit.device)

    def _post(self, finding: Finding) -> None:
        if not self._may_post():
            return
        message = fit_event(f"{finding.evidence}; {finding.remedy}")
        for each in finding.objects[:MAX_OBJECTS]:
            self._events.post_about(_about(each), "Warning", finding.kind, message, "Audit")


def _about(ref: ObjectRef) -> ObjectReference:
    return ObjectReference(API_VERSIONS[ref.kind], ref.kind, ref.namespace, ref.name, ref.uid)


def _log(finding: Finding, event: str, *, is_new: bool) -> None:
    claims = ", ".join(each.full_name for each in finding.objects if each.kind == "ResourceClaim")
    pods = ", ".join(each.full_name for each in finding.objects if each.kind == "Pod")
    write = log.info if not is_new else log.error if not finding.settles else log.warning
    write(event, reason=finding.kind, claim=claims, pod=pods, error=finding.evidence)
