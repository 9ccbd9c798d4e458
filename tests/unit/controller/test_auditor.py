# SPDX-License-Identifier: Apache-2.0
"""When the standing audit finds what, and how it says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from berth.audit.open_findings import SETTLE_SECONDS
from berth.controller.auditor import CHANGED_SECONDS, SWEEP_SECONDS, Auditor
from berth.controller.events import ObjectReference
from berth.controller.metrics import Metrics
from berth.model.claims import ClaimKey
from tests.support.audits import (
    NOW,
    a_pod,
    a_result,
    a_sound_cluster,
    holding,
)
from tests.support.builders import a_device, a_slice

pytestmark = pytest.mark.looptime

B = ClaimKey("ml", "b")


class Recorder:
    """Keeps what would be posted."""

    def __init__(self) -> None:
        self.posted: list[tuple[ObjectReference, str, str]] = []

    def post_about(
        self, about: ObjectReference, type_: str, reason: str, message: str, action: str
    ) -> None:
        assert (type_, action) == ("Warning", "Audit")
        self.posted.append((about, reason, message))


class Setting:
    def __init__(self, *objects: object) -> None:
        self.cluster = a_sound_cluster(*objects)
        self.metrics = Metrics()
        self.events = Recorder()
        self.leads = True
        self.is_current = True
        self.auditor = Auditor(
            self.cluster,
            self.metrics,
            self.events,  # type: ignore[arg-type] # the one method that the auditor uses
            may_post=lambda: self.leads,
            is_current=lambda: self.is_current,
            allocating=True,
            clock_now=lambda: NOW + asyncio.get_running_loop().time(),
        )

    def counted(self, kind: str) -> float | None:
        return self.metrics.registry.get_sample_value("berth_audit_findings", {"kind": kind})

    def apply(self, claim: Any) -> None:
        """What the operator does with an event."""
        self.cluster.apply_claim(claim)
        self.auditor.claim_changed(claim.key)

    def remove(self, key: ClaimKey) -> None:
        self.cluster.remove_claim(key)
        self.auditor.claim_changed(key)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(self.auditor.run())
        yield
        assert not task.done(), task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_every_kind_is_shown_with_0_from_the_start() -> None:
    setting = Setting()

    assert setting.counted("DeviceHeldTwice") == 0
    assert setting.counted("StuckGate") == 0


async def test_an_overlap_is_found_in_its_event_and_gone_in_the_one_that_ends_it() -> None:
    setting = Setting()
    with capture_logs() as lines:
        setting.apply(holding("b"))
        assert setting.counted("DeviceHeldTwice") == 1
        setting.apply(replace(holding("b"), allocation=None, reserved_for=()))

    assert setting.counted("DeviceHeldTwice") == 0
    evidence = "device gpu.example.com/node-1/gpu-0: held by 2 claims: ml/a, ml/b"
    assert lines == [
        {
            "event": "audit found a fault",
            "log_level": "error",
            "reason": "DeviceHeldTwice",
            "claim": "ml/a, ml/b",
            "pod": "",
            "error": evidence,
        },
        {
            "event": "fault found by the audit is gone",
            "log_level": "info",
            "reason": "DeviceHeldTwice",
            "claim": "ml/a, ml/b",
            "pod": "",
            "error": evidence,
        },
    ]
    assert [(about.name, about.uid, reason) for about, reason, _ in setting.events.posted] == [
        ("a", "uid-of-a", "DeviceHeldTwice"),
        ("b", "uid-of-b", "DeviceHeldTwice"),
    ]
    assert setting.events.posted[0][2].startswith(f"{evidence}; delete the pods of all but one")


async def test_an_overlap_ends_when_the_other_holder_is_deleted() -> None:
    setting = Setting()
    setting.apply(holding("b"))
    setting.remove(ClaimKey("ml", "a"))

    assert setting.auditor.findings == ()
    assert setting.counted("DeviceHeldTwice") == 0


async def test_an_event_that_changes_nothing_says_nothing_again() -> None:
    setting = Setting()
    setting.apply(holding("b"))
    with capture_logs() as lines:
        setting.apply(holding("b", pods=("p", "q")))

    assert lines == []


async def test_a_replica_that_may_not_write_posts_nothing_until_it_leads() -> None:
    setting = Setting()
    setting.leads = False
    setting.apply(holding("b"))
    assert (setting.events.posted, setting.counted("DeviceHeldTwice")) == ([], 1)
    setting.leads = True
    setting.auditor.post_all()

    assert [reason for _, reason, _ in setting.events.posted] == ["DeviceHeldTwice"] * 2


async def test_while_claims_are_listed_anew_nothing_is_said_that_the_list_may_undo() -> None:
    setting = Setting()
    setting.is_current = False
    async with setting.running():
        setting.apply(holding("b"))
        setting.apply(holding("c"))
        await asyncio.sleep(1)
        assert setting.counted("DeviceHeldTwice") == 0
        setting.remove(ClaimKey("ml", "a"))
        setting.remove(B)
        setting.is_current = True
        await asyncio.sleep(1)
        assert setting.counted("DeviceHeldTwice") == 0
        setting.is_current = False
        setting.apply(holding("b"))
        setting.is_current = True
        await asyncio.sleep(1)

        (finding,) = setting.auditor.findings
        assert [each.name for each in finding.objects] == ["b", "c"]


async def test_what_may_pass_is_said_when_it_has_lasted() -> None:
    setting = Setting(replace(holding("b", a_result("gpu-1")), finalizers=()))
    async with setting.running():
        await asyncio.sleep(SETTLE_SECONDS - 1)
        assert setting.counted("FinalizerMissing") == 0
        await asyncio.sleep(CHANGED_SECONDS + 2)
        assert setting.counted("FinalizerMissing") == 1
        setting.apply(replace(holding("b", a_result("gpu-1")), resource_version="9"))
        await asyncio.sleep(CHANGED_SECONDS + 1)

        assert setting.counted("FinalizerMissing") == 0


async def test_time_alone_brings_findings_too() -> None:
    unused = replace(holding("b", a_result("gpu-1"), pods=()), reserved_for=())
    allocation = replace(unused.allocation, timestamp="2026-11-24T11:59:00Z")  # type: ignore[type-var] # allocated
    setting = Setting(replace(unused, allocation=allocation))
    async with setting.running():
        await asyncio.sleep(500)
        assert setting.counted("UnusedAllocation") == 0
        await asyncio.sleep(60 + 2 * SWEEP_SECONDS)

        assert setting.counted("UnusedAllocation") == 1


async def test_counters_are_judged_in_the_next_turn_and_again_when_something_is_freed() -> None:
    pool = a_slice(
        [a_device(name, consumes={"card": {"cores": "3"}}) for name in ("x", "y")],
        pool="cards",
        name="cards",
        counter_sets={"card": {"cores": "4"}},
    )
    setting = Setting(pool, holding("b", a_result("x", pool="cards")))
    async with setting.running():
        await asyncio.sleep(1)
        setting.apply(holding("c", a_result("y", pool="cards")))
        await asyncio.sleep(0.5)
        assert setting.counted("CountersOverCommitted") == 1
        setting.remove(B)
        await asyncio.sleep(CHANGED_SECONDS + 1)

        assert setting.counted("CountersOverCommitted") == 0


async def test_slices_that_change_are_seen() -> None:
    setting = Setting(holding("b", a_result("x", pool="late")), a_pod("q", "b"))
    async with setting.running():
        await asyncio.sleep(2 * CHANGED_SECONDS + 2)
        assert setting.counted("DeviceNotPublished") == 1
        setting.cluster.apply_slice(a_slice([a_device("x")], pool="late", name="late"))
        setting.auditor.published()
        await asyncio.sleep(CHANGED_SECONDS + 1)

        assert setting.counted("DeviceNotPublished") == 0
