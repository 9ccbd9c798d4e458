# SPDX-License-Identifier: Apache-2.0
"""Each right of each mode's role is needed: one is taken away at a time, and something fails.

``make test-rbac`` takes away every right, and with ``BERTH_GOLDEN=write`` writes
docs/reference/rbac.md; ``make test`` takes away some, one of each sort.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.audit import AuditLog
from tests.support.embedded import Embedded
from tests.support.helm import ROOT, SYSTEM
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.rights import MODES, READS, Accounts, Right, manifests_of, rights_of
from tests.support.rights_job import News, Replica, Stuck, read, write
from tests.support.rights_page import page

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.needs("taint rules"),
]

READING_GRACE = 6.0
WRITING_GRACE = 2.0
PAGE = ROOT / "docs" / "reference" / "rbac.md"
SOME = {
    "list pods",
    "watch resourceclaims.resource.k8s.io",
    "watch deviceclasses.resource.k8s.io",
    "get pods",
    "patch resourceclaims.resource.k8s.io",
    "patch resourceclaims/binding.resource.k8s.io",
    "delete resourceclaims.resource.k8s.io",
    "update leases.coordination.k8s.io",
}
FINE = ""
"""What a right costs that nobody misses."""


def settings_of(mode: str) -> dict[str, Any]:
    values = MODES[mode]
    return {
        "mode": values.get("mode", "observe"),
        "generate_claims": values.get("generateClaims", False),
    }


class Role:
    """One mode's rights, and replicas that have all of them but one."""

    def __init__(self, mode: str, accounts: Accounts, log: AuditLog, *, prefix: str = "") -> None:
        self.mode = mode
        self.prefix = prefix
        self.rights = rights_of(manifests_of(MODES[mode]))
        self._accounts = accounts
        self._log = log

    async def replica(self, without: Right | None, *, grace: float) -> Replica:
        left = [each for each in self.rights if each != without]
        number = "all" if without is None else str(self.rights.index(without))
        user = f"{self.prefix}{self.mode}-{'r' if grace == READING_GRACE else 'w'}-{number}"
        kubeconfig = await self._accounts.make(user, left)
        embedded = Embedded.start(kubeconfig, user, namespace=SYSTEM, **settings_of(self.mode))
        return Replica(user, embedded, self._log, grace)


async def costs_of_reading(role: Role, kube: Kube, rights: Sequence[Right]) -> dict[Right, str]:
    """Let replicas stand by side by side, each without one of ``rights``; one has them all."""
    await hold_lease(kube, "somebody else")
    news = News(f"news-{role.mode}")
    created = asyncio.Event()
    started: list[str] = []
    replicas = {right: await role.replica(right, grace=READING_GRACE) for right in (*rights, None)}
    days = [asyncio.ensure_future(read(each, news, created, started)) for each in replicas.values()]
    try:
        while len(started) < len(replicas):
            await asyncio.sleep(0.05)
        for manifest in news.manifests():
            await kube.create(manifest)
        created.set()
        ends = await asyncio.gather(*days, return_exceptions=True)
    finally:
        await asyncio.gather(*(each.embedded.stop() for each in replicas.values()))
        await forget(kube, news.name)
    costs = dict(zip(replicas, map(cost, ends), strict=True))
    assert costs.pop(None) == FINE
    return {right: text for right, text in costs.items() if right is not None}


def cost(end: BaseException | None) -> str:
    if end is None:
        return FINE
    if isinstance(end, Stuck):
        return str(end)
    raise end


async def cost_of_writing(role: Role, kube: Kube, without: Right | None) -> str:
    """Let one replica lead and work, without the right."""
    await hold_lease(kube, "")
    replica = await role.replica(without, grace=WRITING_GRACE)
    name = replica.user.replace("_", "-")
    try:
        await write(replica, kube, name, generate=bool(MODES[role.mode].get("generateClaims")))
    except Stuck as stuck:
        return str(stuck)
    else:
        return FINE
    finally:
        await replica.embedded.stop()
        await forget(kube, name)


async def hold_lease(kube: Kube, holder: str) -> None:
    """Give the Lease to ``holder``, nobody if empty; far longer than a test lasts."""
    spec: Json = {"holderIdentity": holder, "leaseDurationSeconds": 3600}
    await kube.patch("leases", "berth", {"spec": spec}, SYSTEM)


async def forget(kube: Kube, name: str) -> None:
    """Leave no pods and policies for the next operator; nobody would delete the namespace."""
    if await kube.find("namespaces", name) is not None:
        await kube.delete_all("pods", name)
    for plural in ("allocationpolicies", "devicetaintrules"):
        await kube.delete(plural, name)


async def costs_of(role: Role, kube: Kube, chosen: Sequence[Right]) -> dict[Right, str]:
    """Take away each of ``chosen``, and return what it costs."""
    leads = any(each.verb not in READS for each in role.rights)
    reading = [each for each in chosen if each.verb != "get"] if leads else list(chosen)
    reading = [each for each in reading if each.verb in READS]
    costs = await costs_of_reading(role, kube, reading)
    if leads:
        assert await cost_of_writing(role, kube, None) == FINE
    for right in chosen:
        if right not in reading:
            costs[right] = await cost_of_writing(role, kube, right)
    return {right: costs[right] for right in chosen}


async def test_every_right_is_missed_when_it_is_taken_away(
    kube: Kube, accounts: Accounts, log: AuditLog, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = bool(os.environ.get("BERTH_RBAC"))
    costs: dict[str, dict[Right, str]] = {}
    for mode in MODES if complete else ("gated-generate-claims",):
        role = Role(mode, accounts, log)
        chosen = [each for each in role.rights if complete or str(each) in SOME]
        costs[mode] = await costs_of(role, kube, chosen)
        with capsys.disabled():
            for right in chosen:
                sys.stdout.write(f"\n{mode}: {right} > {costs[mode][right] or 'NOTHING FAILS'}")
    unneeded = [
        f"{mode}: {right}"
        for mode, of_mode in costs.items()
        for right, text in of_mode.items()
        if text == FINE
    ]
    assert unneeded == []
    if complete:
        made = page(costs)
        if os.environ.get("BERTH_GOLDEN") == "write":
            PAGE.write_text(made, encoding="utf-8")
        assert PAGE.read_text(encoding="utf-8") == made
