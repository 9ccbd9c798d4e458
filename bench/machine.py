# SPDX-License-Identifier: Apache-2.0
"""On what the figures were taken: machine, load, versions, date."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("berth-dra", "cel-python", "google-re2", "kopf", "lark", "orjson")


def load() -> list[float]:
    """Return the load averages of one, five and fifteen minutes."""
    return [round(each, 2) for each in os.getloadavg()]


def describe() -> dict[str, Any]:
    """Return what does not change during a run."""
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": _cpu(),
            "memory_mib": _memory(),
            "kernel": platform.release(),
        },
        "versions": {
            "commit": _commit(),
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in PACKAGES},
        },
    }


def _cpu() -> str:
    return _field(Path("/proc/cpuinfo"), "model name") or platform.processor() or "unknown"


def _memory() -> int | None:
    text = _field(Path("/proc/meminfo"), "MemTotal")
    return int(text.split()[0]) // 1024 if text else None


def _field(path: Path, name: str) -> str:
    if not path.is_file():
        return ""
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _commit() -> str:
    """Return the commit, with a ``+`` where files differ from it."""
    root = Path(__file__).parents[1]
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],  # noqa: S607 - git is found on PATH
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.strip() or "unknown"
