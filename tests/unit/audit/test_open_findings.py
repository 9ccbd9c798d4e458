# SPDX-License-Identifier: Apache-2.0
"""When a finding counts, and when it is gone."""

from __future__ import annotations

from berth.audit.finding import ObjectRef
from berth.audit.findings_claims import FinalizerMissing, StaleConsumer
from berth.audit.findings_devices import DeviceHeldTwice
from berth.audit.kinds import KINDS
from berth.audit.open_findings import NOTHING, SETTLE_SECONDS, Changes, OpenFindings
from berth.audit.sweep import ClaimUnit, DeviceUnit
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID
from tests.support.audits import consumer

DEVICE = DeviceID("d", "p", "x")
A, B, C = (ObjectRef("ResourceClaim", "ml", name, f"uid-{name}") for name in "abc")
UNIT, OVERLAP = ClaimUnit(ClaimKey("ml", "a")), DeviceUnit(DEVICE)
SLOW, FAST = FinalizerMissing(A), DeviceHeldTwice(DEVICE, (A, B))


def test_an_overlap_counts_at_once_and_is_told_once() -> None:
    known = OpenFindings()

    assert known.update(OVERLAP, [FAST], 100) == Changes(new=(FAST,))
    assert known.update(OVERLAP, [FAST], 101) == NOTHING
    assert known.open() == (FAST,)
    assert known.counts["DeviceHeldTwice"] == 1
    assert known.update(OVERLAP, [], 102) == Changes(gone=(FAST,))
    assert known.counts["DeviceHeldTwice"] == 0
    assert known.units == ()


def test_other_holders_are_another_finding() -> None:
    known = OpenFindings()
    known.update(OVERLAP, [FAST], 100)
    other = DeviceHeldTwice(DEVICE, (B, C))

    assert known.update(OVERLAP, [other], 101) == Changes(new=(other,), gone=(FAST,))
    assert known.counts["DeviceHeldTwice"] == 1


def test_what_may_pass_counts_when_it_lasts() -> None:
    known = OpenFindings()

    assert known.update(UNIT, [SLOW], 100) == NOTHING
    assert not known.is_settled
    assert known.open() == ()
    assert known.update(UNIT, [SLOW], 100 + SETTLE_SECONDS - 1) == NOTHING
    assert known.update(UNIT, [SLOW], 100 + SETTLE_SECONDS) == Changes(new=(SLOW,))
    assert known.is_settled
    assert known.of(UNIT) == (SLOW,)


def test_what_has_passed_begins_anew() -> None:
    known = OpenFindings()
    known.update(UNIT, [SLOW], 100)

    assert known.update(UNIT, [], 105) == NOTHING
    assert known.update(UNIT, [SLOW], 100 + SETTLE_SECONDS) == NOTHING


def test_more_stale_consumers_of_a_claim_are_the_same_finding() -> None:
    known = OpenFindings()
    known.update(UNIT, [StaleConsumer(A, (consumer("x"),))], 100)
    more = StaleConsumer(A, (consumer("x"), consumer("y")))

    assert known.update(UNIT, [more], 100 + SETTLE_SECONDS) == Changes(new=(more,))


def test_every_kind_is_listed_under_its_name() -> None:
    assert all(name == kind.kind == kind.__name__ for name, kind in KINDS.items())
    assert len(KINDS) == 14
