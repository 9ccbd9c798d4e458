# SPDX-License-Identifier: Apache-2.0
"""A short run of the fault lane; ``make test-faults`` runs it for as long as one wishes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from berth.localcluster import LocalCluster
from tests.faults.lane import Plan, run
from tests.faults.report import Report
from tests.faults.stage import clear
from tests.support.kube import Kube

pytestmark = pytest.mark.timeout(600)

long = pytest.mark.skipif(
    "BERTH_FAULTS" not in os.environ, reason="takes minutes: make test-faults-checker"
)


@pytest.fixture
async def emptied(cluster_for_faults: LocalCluster) -> LocalCluster:
    async with Kube.from_kubeconfig(cluster_for_faults.kubeconfig) as kube:
        await clear(kube)
    return cluster_for_faults


def shown(report: Report) -> str:
    return "\n".join(report.lines())


async def test_nothing_is_given_twice_and_nothing_is_left_behind(
    emptied: LocalCluster, tmp_path: Path
) -> None:
    plan = Plan(seed=5, kills=4, pauses=2, mixed_seconds=12)
    report = await run(emptied, tmp_path, plan)
    assert report.failures == [], shown(report)
    # A run in which nothing happened would prove nothing.
    assert len(report.rounds["kill"]) == 4
    assert len(report.rounds["pause"]) == 2
    assert report.taken_over >= 6, shown(report)
    assert report.writes > 20, shown(report)
    assert report.events["resourceclaims"] > 100, shown(report)


@long
@pytest.mark.parametrize(
    ("safeguard", "plan", "rule"),
    [
        ("lease-check", {"pauses": 6, "replicas": 2}, "fence"),
        ("assumed-state", {"kills": 2}, "overlap"),
        ("finalizer-first", {"kills": 2}, "finalizer"),
    ],
)
async def test_a_build_without_a_safeguard_fails(
    emptied: LocalCluster, tmp_path: Path, safeguard: str, plan: dict[str, int], rule: str
) -> None:
    module = ("tests.faults.broken", f"--without={safeguard}")
    report = await run(emptied, tmp_path, Plan(seed=5, module=module, **plan))
    assert rule in {each.rule for each in report.by_berth}, shown(report)


@long
async def test_every_overlap_that_another_writer_causes_is_reported_within_two_seconds(
    emptied: LocalCluster, tmp_path: Path
) -> None:
    report = await run(emptied, tmp_path, Plan(seed=5, hostile_seconds=30))
    assert report.failures == [], shown(report)
    assert len(report.reported) > 0, shown(report)
