# SPDX-License-Identifier: Apache-2.0
"""A cluster of the fault lane's own: components are killed in it, and Berth is uninstalled."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from berth.localcluster import LocalCluster
from tests.faults.stage import faults_cluster


@pytest.fixture(scope="session")
def cluster_for_faults() -> Iterator[LocalCluster]:
    with faults_cluster(f"faults-{os.getpid()}") as cluster:
        yield cluster
