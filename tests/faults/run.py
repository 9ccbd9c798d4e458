# SPDX-License-Identifier: Apache-2.0
"""``make test-faults``: kills, pauses and everything else, and what the API server's history says.

Exit code 0 if every rule held, 1 if one did not; the history is then kept and its folder named.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from berth.localcluster import build, paths, programs, spec
from berth.localcluster.progress import Plain
from tests.faults.lane import Plan, run
from tests.faults.stage import faults_cluster

KINDS = ("kill", "pause", "mixed", "hostile", "all")


def _plan(options: argparse.Namespace) -> Plan:
    seconds, kind = options.minutes * 60, options.kind
    every = kind == "all"
    return Plan(
        seed=options.seed,
        kills=options.rounds if every or kind == "kill" else 0,
        pauses=options.rounds if every or kind == "pause" else 0,
        mixed_seconds=seconds if every or kind == "mixed" else 0.0,
        hostile_seconds=seconds if kind == "hostile" else 0.0,
        replicas=options.replicas or (2 if kind == "pause" else 3),
        module=tuple(options.module),
    )


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, default="kill")
    parser.add_argument("--rounds", type=int, default=20, help="of kills, or of pauses")
    parser.add_argument("--minutes", type=float, default=1, help="of the mixed or hostile run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the history goes; kept in any case")
    parser.add_argument(
        "--module", nargs="+", default=["tests.faults.clock"], help="what is run in Berth's place"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run one plan on a cluster of its own, and print the report."""
    options = _arguments(arguments)
    tools = paths.tools_root()
    wanted = (*programs.control_plane(tools, spec.DEFAULT_KUBERNETES), programs.helm(tools))
    build.ensure(wanted, paths.cache_root(), Plain())
    folder = options.folder or Path(tempfile.mkdtemp(prefix="berth-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)  # noqa: T201 - its output

    with faults_cluster(f"faults-{os.getpid()}") as cluster:
        say("the cluster is up")
        report = uvloop.run(run(cluster, folder, _plan(options), say))
    for line in report.lines():
        say(line)
    if not report.failures and options.folder is None:
        shutil.rmtree(folder)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
