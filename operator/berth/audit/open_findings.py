# SPDX-License-Identifier: Apache-2.0
"""Which findings are open: what is new, what lasts, and what is gone.

Decides when a finding counts. One whose state may be on its way to a sound one counts when it
was there for `SETTLE_SECONDS`; one that harms at once counts at once. Judges nothing itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from berth.audit.finding import Finding, Key
from berth.audit.sweep import Unit

SETTLE_SECONDS = 10
"""Longer than kube-controller-manager and Berth take for what they do next, under load too."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a new judgement changes."""

    new: tuple[Finding, ...] = ()
    gone: tuple[Finding, ...] = ()


NOTHING = Changes()


@dataclass(slots=True)
class _Known:
    finding: Finding
    since: int
    counts: bool


class OpenFindings:
    """Findings by the unit that they came from."""

    __slots__ = ("_counts", "_known")

    def __init__(self) -> None:
        self._known: dict[Unit, dict[Key, _Known]] = {}
        self._counts: Counter[str] = Counter()

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units about which something is known, whether it counts yet or not."""
        return tuple(self._known)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many findings of each kind are open."""
        return MappingProxyType(self._counts)

    @property
    def is_settled(self) -> bool:
        """Tell whether every finding counts; those that do not have to be looked at again."""
        return all(each.counts for known in self._known.values() for each in known.values())

    def of(self, unit: Unit) -> tuple[Finding, ...]:
        """Return the findings of one unit that count."""
        return tuple(each.finding for each in self._known.get(unit, {}).values() if each.counts)

    def open(self) -> tuple[Finding, ...]:
        """Return the findings that count, in no particular order."""
        return tuple(
            each.finding for known in self._known.values() for each in known.values() if each.counts
        )

    def update(self, unit: Unit, findings: Iterable[Finding], now: int) -> Changes:
        """Replace what is known of ``unit``; ``now`` is in seconds."""
        before = self._known.get(unit, {})
        after: dict[Key, _Known] = {}
        new: list[Finding] = []
        for finding in findings:
            known = before.get(finding.key)
            since = now if known is None else known.since
            counted = known is not None and known.counts
            counts = counted or not finding.settles or now - since >= SETTLE_SECONDS
            after[finding.key] = _Known(finding, since, counts)
            if counts and not counted:
                new.append(finding)
        if not before and not after:
            return NOTHING
        gone = [known.finding for key, known in before.items() if known.counts and key not in after]
        if after:
            self._known[unit] = after
        else:
            del self._known[unit]
        self._counts.update(finding.kind for finding in new)
        self._counts.subtract(finding.kind for finding in gone)
        return Changes(tuple(new), tuple(gone)) if new or gone else NOTHING
