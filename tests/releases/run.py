# SPDX-License-Identifier: Apache-2.0
"""``make test-releases``: the integration tests on each Kubernetes release, one after the other.

Prints versions and counts, and writes docs/reference/releases.json and the page that is made from
it. Exit code 0 if nothing failed on any release. ``RELEASES="1.36 1.37"`` runs only some and
leaves the results of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from berth.localcluster import paths, programs
from tests.releases import record, results
from tests.support.releases import RELEASES

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "reference" / "releases.json"
PAGE = RESULTS.with_suffix(".md")
EVERY = "tests/integration"
TEST_SECONDS = 900


def say(text: str) -> None:
    """Print at once: the tests print in between."""
    print(text, flush=True)  # noqa: T201 - its output


def run_release(release: str, tests: Sequence[str]) -> results.Json:
    """Run the tests on one release and return what they amount to."""
    programs_ = programs.control_plane(paths.tools_root(), release)
    version = next(each.version for each in programs_ if each.name == "kube-apiserver")
    say(f"== Kubernetes {release} ({version})")
    with tempfile.TemporaryDirectory(prefix="berth-releases-") as folder:
        file = Path(folder) / "record.jsonl"
        file.touch()
        command = [sys.executable, "-m", "pytest", "-n0", "-q", f"--timeout={TEST_SECONDS}"]
        command += ["-p", "tests.releases.record", *tests]
        environment = {
            "BERTH_TEST_PATIENCE": "2",
            **os.environ,
            "BERTH_KUBERNETES": release,
            record.VARIABLE: str(file),
        }
        subprocess.run(command, cwd=ROOT, env=environment, check=False)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    return results.summary(version, lines)


def write(tests: Sequence[str], release: str, found: results.Json) -> None:
    """Put one release's result into the table; results of other tests do not stay in it."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept = known["releases"] if known.get("tests") == tests else {}
    kept[release] = found
    made = {"tests": tests, "releases": {each: kept[each] for each in RELEASES if each in kept}}
    RESULTS.write_text(json.dumps(made, indent=2) + "\n")
    PAGE.write_text(results.page(made))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="make test-releases", description=__doc__)
    parser.add_argument("--releases", nargs="+", default=list(RELEASES), choices=RELEASES)
    parser.add_argument("--print-only", action="store_true", help="write no results")
    parser.add_argument("tests", nargs="*", default=[EVERY], help="paths for pytest")
    options = parser.parse_args(arguments)
    found = {}
    for release in options.releases:
        found[release] = run_release(release, options.tests)
        if not options.print_only:
            # At once: a run of all releases takes long, and may be cut off.
            write(options.tests, release, found[release])
    for release, each in found.items():
        say(results.report(release, each))
    return 1 if any(each["failed"] or not each["passed"] for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
