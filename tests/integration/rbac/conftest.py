# SPDX-License-Identifier: Apache-2.0
"""An API server that writes an audit log, with what the chart installs but the operator.

Nobody schedules and nobody generates claims here, and no admission policy adds gates and
finalizers: pods come with the gate, and whatever Berth may ever have to do, it has to do.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from berth.localcluster import ClusterSpec, LocalCluster
from tests.support import audit
from tests.support.audit import AuditLog
from tests.support.helm import SYSTEM
from tests.support.kube import Kube
from tests.support.rights import Accounts, manifests_of

ALONE = frozenset({"kube-scheduler", "kube-controller-manager", "kwok"})


@dataclass(frozen=True, slots=True)
class Audited:
    """A cluster, and where its audit log is."""

    local: LocalCluster
    folder: Path


async def prepare(kubeconfig: Path) -> None:
    """Install the definition, and a Lease as the chart has it."""
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
        for manifest in manifests_of({"mode": "gated"}):
            if manifest["kind"] in {"CustomResourceDefinition", "Lease"}:
                await kube.create(manifest)
        await kube.wait_for(
            "customresourcedefinitions",
            "allocationpolicies.berth.dev",
            lambda each: any(
                condition["type"] == "Established" and condition["status"] == "True"
                for condition in each.get("status", {}).get("conditions") or ()
            ),
        )


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    spec = ClusterSpec(
        name=f"rbac-{os.getpid()}",
        nodes=2,
        devices=96,
        without=ALONE,
        extra_flags={"kube-apiserver": audit.flags(folder)},
    )
    with LocalCluster.start(spec) as local:
        asyncio.run(prepare(local.kubeconfig))
        yield Audited(local, folder)


@pytest.fixture
async def kube(audited: Audited) -> AsyncIterator[Kube]:
    async with Kube.from_kubeconfig(audited.local.kubeconfig) as client:
        yield client


@pytest.fixture
def log(audited: Audited) -> AuditLog:
    return AuditLog(audited.folder)


@pytest.fixture
def accounts(kube: Kube, tmp_path: Path) -> Accounts:
    return Accounts(kube, tmp_path)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Operators in this process take over logging; pytest wants it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
