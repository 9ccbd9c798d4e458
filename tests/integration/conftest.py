# SPDX-License-Identifier: Apache-2.0
"""What integration tests share: one local cluster for all, a client, a namespace per test.

With ``BERTH_TEST_KUBECONFIG`` in the environment ``cluster`` is that one, which is left as it was;
tests of local clusters start their own all the same.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from berth.localcluster import ClusterSpec, LocalCluster, build, paths, programs, spec
from berth.localcluster.progress import Plain
from tests.support import gatekeeper, releases
from tests.support.kube import Kube

GIVEN = "BERTH_TEST_KUBECONFIG"


@dataclass(frozen=True, slots=True)
class ClusterUnderTest:
    """The cluster that tests run against; ``local`` is absent when it was given from outside."""

    kubeconfig: Path
    local: LocalCluster | None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the programs before the first test: that takes minutes, and tests have a deadline."""
    here = Path(__file__).parent
    if session.config.option.collectonly or not any(
        here in item.path.parents for item in session.items
    ):
        return
    tools = paths.tools_root()
    wanted = (*programs.control_plane(tools, spec.default_release()), programs.helm(tools))
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        build.ensure(wanted, paths.cache_root(), Plain())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the release under test lacks, each with the feature that it lacks."""
    release = spec.default_release()
    for item in items:
        for mark in item.iter_markers("needs"):
            for feature in mark.args:
                if reason := releases.lack(feature, release):
                    item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """End what serves the gate for clusters of the session."""
    gatekeeper.stop_all()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterUnderTest]:
    """Three nodes of eight GPUs, shared by all tests of the session that ask for it."""
    if given := os.environ.get(GIVEN):
        yield ClusterUnderTest(Path(given), None)
        return
    with LocalCluster.start(ClusterSpec(name=f"tests-{os.getpid()}")) as local:
        yield ClusterUnderTest(local.kubeconfig, local)
        # A component that ended in the middle would explain many a failure.
        local.check()


@pytest.fixture
async def kube(cluster: ClusterUnderTest) -> AsyncIterator[Kube]:
    """The administrator's client of ``cluster``."""
    async with Kube.from_kubeconfig(cluster.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """A namespace of the test's own, emptied and deleted afterwards, so that devices are free."""
    made = await kube.create(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    )
    name = made["metadata"]["name"]
    yield name
    await kube.delete_all("pods", name)
    await kube.wait_all("pods", lambda items: not items, name, what="no pods")
    await kube.delete_all("resourceclaims", name)
    await kube.wait_all("resourceclaims", lambda items: not items, name, what="no claims")
    await kube.delete("namespaces", name)
