# SPDX-License-Identifier: Apache-2.0
"""A tenant who means harm costs others little and breaks no output; at size: make test-tenants."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tenants.lane import Plan, run, tenants_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

PLAN = Plan(pods=160, tenants=4, rate=8.0)
SLACK_SECONDS = 2.0
"""What the p99 of few pods may differ by on a busy computer; without limits it is minutes."""


async def test_others_are_served_beside_a_tenant_who_means_harm(tmp_path: Path) -> None:
    said: list[str] = []
    with tenants_cluster(f"tenants-test-{os.getpid()}", PLAN) as cluster:
        report = await run(cluster, tmp_path, PLAN, said.append)
    assert (report.without.missing, report.beside.missing) == (0, 0)
    assert report.broken == []
    limit = 2 * report.without.percentile(99) + SLACK_SECONDS
    assert report.beside.percentile(99) <= limit, said
