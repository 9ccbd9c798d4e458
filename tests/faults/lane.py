# SPDX-License-Identifier: Apache-2.0
"""One run of the fault lane: the plan, carried out on a cluster, recorded and judged."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from berth.localcluster import LocalCluster
from tests.faults import schedule
from tests.faults.checker import check
from tests.faults.history import History, read_writes
from tests.faults.report import Report
from tests.faults.reported import match_reports
from tests.faults.stage import Stage

HOSTILE_SECONDS = 2.0
"""Within which an overlap that somebody else causes must be reported."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does, one after the other; what is 0 is left out."""

    seed: int = 1
    kills: int = 0
    pauses: int = 0
    mixed_seconds: float = 0.0
    hostile_seconds: float = 0.0
    replicas: int = 3
    module: tuple[str, ...] = ("tests.faults.clock",)


async def run(
    cluster: LocalCluster, folder: Path, plan: Plan, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Carry out a plan; the cluster is as new afterwards but for its namespaces."""
    report = Report(plan.seed, folder)
    async with Stage.on(
        cluster, folder, seed=plan.seed, replicas=plan.replicas, module=plan.module
    ) as stage:
        try:
            await _carry_out(stage, plan, report, say)
        except Exception as error:  # noqa: BLE001 - it is reported, and the rest is still judged
            report.broken_off = repr(error)
            (folder / "broken-off.txt").write_text(traceback.format_exc())
        report.actions = stage.load.actions
        await _stop_load(stage)
        say("faults end")
        try:
            report.stuck = await stage.settle()
            report.left = await stage.leave()
        except Exception as error:  # noqa: BLE001 - the same
            report.broken_off = report.broken_off or repr(error)
            (folder / "broken-off.txt").open("a").write(traceback.format_exc())
        await stage.stop_recording()
        report.faults, report.lag = stage.faults, stage.lag
    await asyncio.to_thread(_judge, stage, plan, report)
    return report


async def _carry_out(stage: Stage, plan: Plan, report: Report, say: Callable[[str], None]) -> None:
    if plan.kills:
        report.rounds["kill"] = await schedule.rounds(stage, schedule.kill_round, plan.kills, say)
    if plan.pauses:
        report.rounds["pause"] = await schedule.rounds(
            stage, schedule.pause_round, plan.pauses, say
        )
    if plan.mixed_seconds:
        began = time.monotonic()
        episodes = await schedule.mixed(stage, plan.mixed_seconds, say)
        report.rounds["mixed"] = [(time.monotonic() - began) / max(1, episodes)] * episodes
    if plan.hostile_seconds:
        await schedule.hostile(stage, plan.hostile_seconds)
        report.rounds["hostile"] = [plan.hostile_seconds]


async def _stop_load(stage: Stage) -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == "load":
            task.cancel()
    await asyncio.sleep(0)


def _judge(stage: Stage, plan: Plan, report: Report) -> None:
    writes = read_writes(stage.writes)
    checker = check(History(stage.history), writes, settled=stage.settled)
    report.writes = len(writes)
    report.events = checker.events
    report.findings = checker.findings
    report.overlaps = checker.overlaps
    report.taken_over = checker.taken_over
    if plan.hostile_seconds and not plan.mixed_seconds:
        logs = [each.log for each in stage.replicas]
        match_reports(report, logs, HOSTILE_SECONDS)
