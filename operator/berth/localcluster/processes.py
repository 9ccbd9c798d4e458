# SPDX-License-Identifier: Apache-2.0
"""Starting, recognising and ending operating-system processes.

A process is known by its id together with its start time and the boot that it belongs to, so that
an id that was given to somebody else is never signalled. It knows nothing of Kubernetes.

Source: proc(5), field 22 (``starttime``) of ``/proc/PID/stat``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROC = Path("/proc")
POLL_SECONDS = 0.02
REAP_SECONDS = 2.0
OWNER_VARIABLE = "BERTH_LOCAL_CLUSTER"
"""Environment variable that every component carries: the folder of its cluster."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for ever: a reused pid is another one."""

    pid: int
    started: int
    """Clock ticks since boot."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Return the identity of a running process; ``None`` if there is none."""
        started = start_time(pid)
        return None if started is None else cls(pid, started, boot_id())

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs."""
        return self.boot == boot_id() and start_time(self.pid) == self.started

    def signal(self, number: int) -> bool:
        """Send a signal, unless the process is gone; return whether it was sent."""
        if not self.alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False


def start_time(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; ``None`` if it does not run.

    A zombie does not run: it holds nothing but its entry in the table.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    return parse_stat(stat)


def parse_stat(stat: bytes) -> int | None:
    """Return the start time out of a ``/proc/PID/stat``; ``None`` for a zombie or a dead one."""
    return None if _fields(stat)[0] in (b"Z", b"X") else _start_field(stat)


def _start_field(stat: bytes) -> int:
    return int(_fields(stat)[19])


def _fields(stat: bytes) -> list[bytes]:
    # The second field is the program's name in parentheses and may itself contain any of them.
    return stat[stat.rindex(b")") + 2 :].split()


def boot_id() -> str:
    """Return what tells this boot from others."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def spawn(command: Sequence[str], log: Path, folder: Path) -> ProcessId:
    """Start a program in a session of its own, with its output in ``log``.

    The session keeps a terminal's Ctrl-C from it: whoever started it ends it, in the right order.
    The program is a path; the environment is a small one, which names ``folder``.
    """
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "TZ")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    pid = os.posix_spawn(
        command[0],
        list(command),
        {**environment, OWNER_VARIABLE: str(folder)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    # Of our own child, so that it is there, if only as a zombie.
    started = _start_field((PROC / str(pid) / "stat").read_bytes())
    return ProcessId(pid, started, boot_id())


def end(process: ProcessId, patience: float) -> bool:
    """End a process: SIGTERM, up to ``patience`` seconds, SIGKILL; return whether it is gone."""
    process.signal(signal.SIGTERM)
    if wait_until_gone(process, patience):
        return True
    process.signal(signal.SIGKILL)
    return wait_until_gone(process, 5)


def wait_until_gone(process: ProcessId, patience: float) -> bool:
    """Wait up to ``patience`` seconds; return whether the process is gone, and reap it."""
    gone = wait_until_dead(process, patience)
    reap(process.pid, REAP_SECONDS if gone else 0)
    return gone


def wait_until_dead(process: ProcessId, patience: float) -> bool:
    """Wait up to ``patience`` seconds; return whether the process runs no more."""
    deadline = time.monotonic() + patience
    while process.alive:
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def reap(pid: int, patience: float = 0) -> int | None:
    """Collect a child that ended, so that it does not stay a zombie.

    Args:
        pid: The child; of others nothing is known.
        patience: Seconds to wait for it. A program of many threads looks ended a moment before
            the last of them has gone, and can be collected only then.

    Returns:
        Its exit code, negative for a signal, if it was collected now; else ``None``.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            done, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)


def strays(folder: Path) -> Iterator[ProcessId]:
    """Yield the processes that carry ``folder`` as their cluster, recorded or not."""
    wanted = f"{OWNER_VARIABLE}={folder}".encode()
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # gone meanwhile, or somebody else's
        if wanted in environ and (found := ProcessId.of(int(entry.name))):
            yield found


def describe_exit(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return "exit code unknown"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def tail_of(log: Path, lines: int) -> str:
    """Return the last lines of a log file; a sentence if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64 * 1024))
            text = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"({log}: {error.strerror})"
    return "\n".join(text[-lines:]) or f"({log} is empty)"
