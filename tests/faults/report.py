# SPDX-License-Identifier: Apache-2.0
"""What a run of the fault lane found, and how it is said."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.checker import Finding, Overlap

SHOWN = 20


@dataclass(slots=True)
class Report:
    """The outcome of one run; ``failures`` is empty if everything held."""

    seed: int
    folder: Path
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """Kind to the seconds of each round."""
    faults: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    actions: int = 0
    taken_over: int = 0
    """How often the Lease changed hands."""
    findings: list[Finding] = field(default_factory=list)
    overlaps: list[Overlap] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)
    """Overlaps by others that Berth did not report in time."""
    reported: list[float] = field(default_factory=list)
    """Seconds from each overlap by others to Berth's report."""
    broken_off: str = ""
    lag: float = 0.0

    @property
    def by_berth(self) -> list[Finding]:
        return [each for each in self.findings if each.by_berth]

    @property
    def failures(self) -> list[str]:
        return [
            *([f"broken off: {self.broken_off}"] if self.broken_off else []),
            *map(str, self.by_berth),
            *(f"stuck: {each}" for each in self.stuck),
            *(f"left: {each}" for each in self.left),
            *(f"not reported in time: {each}" for each in self.unreported),
        ]

    def lines(self) -> list[str]:
        twice = [each for each in self.by_berth if each.rule == "overlap"]
        other = [each for each in self.by_berth if each.rule != "overlap"]
        by_others = len([f for f in self.findings if f.rule == "overlap" and not f.by_berth])
        lines = [f"seed {self.seed}"]
        for kind, took in self.rounds.items():
            mean = sum(took) / len(took) if took else 0.0
            lines.append(f"{kind}: {len(took)} rounds, {mean:.1f} s each")
        lines.append("faults:")
        lines += [f"  {count:6} {fault}" for fault, count in sorted(self.faults.items())]
        events = ", ".join(f"{count} of {kind}" for kind, count in sorted(self.events.items()))
        lines += [
            f"recorded: {sum(self.events.values())} events ({events})",
            f"load: {self.actions} actions; Berth's writes carried out: {self.writes}; "
            f"the Lease changed hands {self.taken_over} times",
            f"devices in two claims by Berth: {len(twice)}",
            f"devices in two claims by others: {by_others}",
            f"other rules broken by Berth (gate, in-use, finalizer, fence, amount, gap): "
            f"{len(other)}",
            f"pods stuck: {len(self.stuck)}",
            f"left after uninstall: {len(self.left)}",
        ]
        if self.reported or self.unreported:
            slowest = max(self.reported, default=0.0)
            lines.append(
                f"overlaps by others reported by Berth: {len(self.reported)}, the slowest after "
                f"{slowest:.2f} s; not reported in time: {len(self.unreported)}"
            )
        failures = self.failures
        lines += [f"  {each}" for each in failures[:SHOWN]]
        if len(failures) > SHOWN:
            lines.append(f"  and {len(failures) - SHOWN} more")
        if failures:
            lines.append(f"FAILED; the history is kept in {self.folder}")
        else:
            lines.append("ok")
        return lines
