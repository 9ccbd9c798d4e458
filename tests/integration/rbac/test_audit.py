# SPDX-License-Identifier: Apache-2.0
"""What Berth asks the API server for, from the audit log: its role, all of it, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.rbac.test_removal import (
    FINE,
    READING_GRACE,
    Role,
    cost_of_writing,
    hold_lease,
)
from tests.support.audit import AuditLog
from tests.support.kube import Kube
from tests.support.manifests import claim, device_request, pod
from tests.support.rights import MODES, READS, Accounts, manifests_of, outside, rights_of, unused
from tests.support.rights_job import News, read

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.needs("taint rules"),
]

LEADING = [mode for mode in MODES if mode != "observe"]
IDLE_SECONDS = 2.0
"""How long an observer is left alone with work that is not for it."""


@pytest.mark.parametrize("mode", LEADING)
async def test_a_leader_asks_for_its_role_and_nothing_else(
    mode: str, kube: Kube, accounts: Accounts, log: AuditLog
) -> None:
    role = Role(mode, accounts, log, prefix="audit-")
    assert await cost_of_writing(role, kube, None) == FINE
    requests = log.requests(f"audit-{mode}-w-all")
    assert [each for each in requests if each.code == 403] == []
    assert outside(requests, role.rights) == []
    assert unused(requests, role.rights) == []


async def test_an_observer_writes_nothing_and_reads_no_secrets(
    kube: Kube, accounts: Accounts, log: AuditLog
) -> None:
    role = Role("observe", accounts, log, prefix="audit-")
    await hold_lease(kube, "")
    replica = await role.replica(None, grace=READING_GRACE)
    news, created, started = News("news-observed"), asyncio.Event(), list[str]()
    try:
        day = asyncio.ensure_future(read(replica, news, created, started))
        while not started:
            await asyncio.sleep(0.05)
        for manifest in news.manifests():
            await kube.create(manifest)
        await kube.create(claim("work", device_request()), news.name)
        gates = [{"name": "berth.dev/dra"}]
        await kube.create(pod("work", claims=("work",), schedulingGates=gates), news.name)
        created.set()
        await day
        await asyncio.sleep(IDLE_SECONDS)
    finally:
        await replica.embedded.stop()
    requests = log.requests(replica.user)
    assert len(requests) >= len(role.rights)
    assert [each for each in requests if each.verb not in READS] == []
    assert [each for each in requests if each.code == 403] == []
    assert outside(requests, role.rights) == []
    assert unused(requests, role.rights) == []
    assert "secrets" not in {each.resource for each in requests}


def test_no_role_may_read_secrets_or_config() -> None:
    for values in MODES.values():
        resources = {each.resource for each in rights_of(manifests_of(values))}
        assert resources.isdisjoint({"secrets", "configmaps", "*", "serviceaccounts/token"})
