# SPDX-License-Identifier: Apache-2.0
"""Runs the operator as a process of its own, as a user would, and can kill it as hard as wished.

``OperatorProcess.start(...)`` returns when the operator says that it is ready. Its log is kept in
a file, shown when a wait is in vain.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

COMMANDS: Mapping[str, Sequence[str]] = {
    "berth run": (sys.executable, "-m", "berth", "run"),
    "kopf run": (
        sys.executable,
        "-m",
        "kopf",
        "run",
        "-m",
        "berth.controller",
        "--all-namespaces",
    ),
}


PATIENCE = float(os.environ.get("BERTH_TEST_PATIENCE", "1"))
"""By how much waits are longer than usual, on a computer that does other things too."""


@dataclass(slots=True)
class OperatorProcess:
    """A running operator; ``log_path`` holds its output, one JSON object a line."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @classmethod
    def start(
        cls,
        kubeconfig: Path,
        log_path: Path,
        *,
        command: str = "berth run",
        settings: Mapping[str, str] | None = None,
        within: float = 30,
    ) -> Self:
        """Start it, and wait until it is ready.

        Args:
            kubeconfig: Whose rights the operator has.
            log_path: Where its output goes; appended to.
            command: A key of ``COMMANDS``.
            settings: ``BERTH_*`` variables beside those that every test needs.
            within: Seconds until an operator that is not ready is a failure.
        """
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BERTH_")},
            "KUBECONFIG": str(kubeconfig),
            "BERTH_HTTP_PORT": "0",
            "BERTH_LOG_FORMAT": "json",
            # Short, so that a killed leader is followed in seconds.
            "BERTH_LEASE_SECONDS": "4",
            "BERTH_DEADLINE_SECONDS": "3",
            "BERTH_RENEW_SECONDS": "0.5",
            **(settings or {}),
        }
        with log_path.open("ab") as log:
            already = log.tell()
            process = subprocess.Popen(COMMANDS[command], env=environment, stdout=log, stderr=log)
        started = cls(process, log_path)
        try:
            started.wait_for_log("ready", after=already, within=within)
        except BaseException:
            started.kill()
            raise
        return started

    @classmethod
    @contextmanager
    def running(
        cls,
        kubeconfig: Path,
        log_path: Path,
        *,
        settings: Mapping[str, str] | None = None,
        within: float = 30,
        stops_within: float = 15,
    ) -> Iterator[Self]:
        """An operator as ``start`` starts it, that has to run until it is stopped here."""
        running = cls.start(kubeconfig, log_path, settings=settings, within=within)
        yield running
        # An operator that ended before its time has failed the test, whatever else passed.
        assert running.process.poll() is None, log_path.read_text()[-3000:]
        assert running.stop(within=stops_within) == 0

    def lines(self, after: int = 0) -> list[dict[str, object]]:
        """Return the log lines that are JSON, from byte ``after`` on."""
        text = self.log_path.read_bytes()[after:].decode(errors="replace")
        found = []
        for line in text.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def wait_for_log(self, event: str, *, after: int = 0, within: float = 30) -> None:
        """Wait until a line with this event was logged."""
        deadline = time.monotonic() + within * PATIENCE
        while all(line.get("event") != event for line in self.lines(after)):
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = self.log_path.read_text(errors="replace")[-3000:]
                raise AssertionError(
                    f"no log line `{event}` within {within} s "
                    f"(exit code {self.process.returncode}):\n{tail}"
                )
            time.sleep(0.05)

    def stop(self, within: float = 15) -> int:
        """Ask it to stop, wait, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the operator did not stop within {within} s") from None

    def kill(self) -> None:
        """Kill it without a chance to clean up."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
