# SPDX-License-Identifier: Apache-2.0
"""The upstream allocator and CEL, asked through a Go program of our own.

Decides how it is built (once, into the cache of local clusters) and how it is asked. Both happen
with what is in ``bench/go``; it reads the JSON that Berth reads.

Source: ``k8s.io/dynamic-resource-allocation``, packages ``structured`` and ``cel``.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from berth.errors import BerthError
from berth.localcluster import build
from berth.localcluster.paths import cache_root
from berth.localcluster.programs import Program, required_version
from berth.localcluster.progress import Progress, Silent

MODULE = Path(__file__).parent / "go"
PINNED = "k8s.io/dynamic-resource-allocation"


class UpstreamError(BerthError):
    """The Go program could not answer."""


def program() -> Program:
    """Return what is built: another source is another build."""
    sources = sorted((*MODULE.glob("*.go"), MODULE / "go.mod", MODULE / "go.sum"))
    digest = hashlib.sha256(b"\0".join(each.read_bytes() for each in sources)).hexdigest()
    version = required_version((MODULE / "go.mod").read_text(), PINNED)
    return Program("bench-upstream", version, ".", MODULE, digest, "-s -w")


def ensure(progress: Progress | None = None) -> Path:
    """Return the built program, after building it where that is needed.

    Raises:
        BuildError: If there is no usable Go, or the build fails.
    """
    wanted = program()
    return build.ensure([wanted], cache_root(), progress or Silent())[wanted.name]


def ask(binary: Path, what: str, question: Any) -> Any:
    """Return the answer of ``bench/go`` to one question.

    Args:
        binary: The built program.
        what: ``allocate`` or ``cel``.
        question: Its input, to be written as JSON.

    Raises:
        UpstreamError: If it ends with an error.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(question, file)
        file.flush()
        answer = subprocess.run(  # noqa: S603 - our own program
            [str(binary), what, file.name], capture_output=True, text=True, check=False
        )
    if answer.returncode:
        raise UpstreamError(f"upstream {what}: {answer.stderr.strip()[-2000:]}")
    return json.loads(answer.stdout)
