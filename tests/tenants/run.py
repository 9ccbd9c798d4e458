# SPDX-License-Identifier: Apache-2.0
"""``make test-tenants``: what a tenant who means harm costs all others.

Exit code 0 if the others' p99 from creation to allocation is within twice that without the tenant,
everybody of them was served, and nothing of the tenant's broke logs and events.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tests.tenants.lane import Plan, run, tenants_cluster

MOST = 2.0


def main(arguments: Sequence[str]) -> int:
    """Run both phases on a cluster of their own, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.tenants.run", description=__doc__)
    parser.add_argument("--pods", type=int, default=10_000, help="of all tenants, in each phase")
    parser.add_argument("--tenants", type=int, default=20, help="one of them is the hostile one")
    parser.add_argument("--rate", type=float, default=40.0, help="pods a second, of all tenants")
    options = parser.parse_args(arguments)
    plan = Plan(options.pods, options.tenants, options.rate)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True)  # noqa: T201 - its output

    folder = Path(tempfile.mkdtemp(prefix="berth-tenants-"))
    with tenants_cluster(f"tenants-{os.getpid()}", plan) as cluster:
        say(f"{plan.pods} pods of {plan.tenants} tenants, {plan.rate:g} a second, twice")
        report = uvloop.run(run(cluster, folder, plan, say))
    say(f"p99 with / without: {report.ratio:.2f} (at most {MOST:g})")
    for each in report.broken[:20]:
        say(each)
    missing = report.without.missing + report.beside.missing
    good = report.ratio <= MOST and not missing and not report.broken
    say(f"{'good' if good else 'NOT GOOD'}; the log is in {folder}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
