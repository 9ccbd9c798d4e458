# SPDX-License-Identifier: Apache-2.0
"""Processes are known by more than their id."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from berth.localcluster import processes
from berth.localcluster.processes import ProcessId

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True);"
    "time.sleep(60)",
]


def test_a_reused_pid_is_somebody_else_and_is_not_signalled(tmp_path: Path) -> None:
    mine = processes.spawn(SLEEPER, tmp_path / "log", tmp_path)
    earlier = dataclasses.replace(mine, started=mine.started - 1)
    other_boot = dataclasses.replace(mine, boot="another")
    assert (mine.alive, earlier.alive, other_boot.alive) == (True, False, False)
    assert not earlier.signal(signal.SIGKILL)
    assert not other_boot.signal(signal.SIGKILL)
    assert mine.alive
    assert processes.end(mine, patience=5)
    assert not mine.alive


def test_the_name_of_a_program_cannot_confuse_the_start_time() -> None:
    fields = b" ".join(str(number).encode() for number in range(4, 53))
    assert processes.parse_stat(b"7 (a ) R (x) S " + fields) == 22
    assert processes.parse_stat(b"7 (gone) Z " + fields) is None


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    deaf = processes.spawn(DEAF, log, tmp_path)
    deadline = time.monotonic() + 10
    while not log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert processes.end(deaf, patience=0.3)
    assert not deaf.alive


def test_an_unrecorded_process_is_found_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a2").mkdir()
    mine = processes.spawn(SLEEPER, tmp_path / "log", tmp_path / "a")
    other = processes.spawn(SLEEPER, tmp_path / "log", tmp_path / "a2")
    try:
        deadline = time.monotonic() + 10
        while list(processes.strays(tmp_path / "a")) != [mine]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        processes.end(mine, patience=5)
        processes.end(other, patience=5)
    assert list(processes.strays(tmp_path / "a")) == []


def test_we_are_alive() -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    assert me.alive
    assert ProcessId.of(2**22 + 1) is None


@pytest.mark.parametrize(
    ("code", "want"),
    [(1, "exit code 1"), (-9, "killed by SIGKILL"), (None, "exit code unknown")],
)
def test_an_end_is_told_in_words(code: int | None, want: str) -> None:
    assert processes.describe_exit(code) == want


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(10_000)))
    assert processes.tail_of(log, 2) == "line 9998\nline 9999"
    log.write_text("")
    assert processes.tail_of(log, 2) == f"({log} is empty)"
    assert (
        processes.tail_of(tmp_path / "no", 2) == f"({tmp_path / 'no'}: No such file or directory)"
    )
