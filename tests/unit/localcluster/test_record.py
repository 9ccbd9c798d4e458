# SPDX-License-Identifier: Apache-2.0
"""What is written down about a cluster, and who may have its name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from berth.localcluster import record
from berth.localcluster.errors import ClusterExistsError, UnknownClusterError
from berth.localcluster.processes import ProcessId
from berth.localcluster.record import Record
from berth.localcluster.spec import ClusterSpec
from berth.localcluster.stop import stop

DEAD = ProcessId(pid=2**22 + 1, started=1, boot="another")


def new(name: str = "a", **fields: object) -> Record:
    made = Record(
        spec=ClusterSpec(name=name),
        version="v1.37.2",
        created="2026-01-01T00:00:00+00:00",
        phase="starting",
        supervisor=None,
        ports=(1, 2, 3),
        components={},
    )
    return made.changed(**fields)


def test_a_record_survives_being_written_down(tmp_path: Path) -> None:
    made = new(components={"etcd": DEAD}, supervisor=DEAD, phase="running")
    folder = record.claim(tmp_path, made)
    assert record.read(folder) == made
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_name_is_given_only_once(tmp_path: Path) -> None:
    me = ProcessId.of(os.getpid())
    record.claim(tmp_path, new(supervisor=me))
    with pytest.raises(ClusterExistsError) as refused:
        record.claim(tmp_path, new())
    assert refused.value.detail == f"process {os.getpid()} is starting it"
    assert record.names(tmp_path) == ("a",)
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_cluster_whose_processes_are_gone_is_called_dead(tmp_path: Path) -> None:
    folder = record.claim(tmp_path, new(components={"etcd": DEAD}, supervisor=DEAD))
    assert record.describe(folder) == record.DEAD


def test_an_unknown_cluster_is_told_with_the_known_ones(tmp_path: Path) -> None:
    record.claim(tmp_path, new("b"))
    record.claim(tmp_path, new("a"))
    with pytest.raises(UnknownClusterError) as unknown:
        record.read(tmp_path / "c")
    assert str(unknown.value) == "cluster c: no such local cluster: existing ones: a, b"


def test_stopping_removes_the_folder_and_may_be_repeated(tmp_path: Path) -> None:
    folder = record.claim(tmp_path, new(components={"etcd": DEAD}))
    stop(folder)
    assert not folder.exists()
    stop(folder)
