# SPDX-License-Identifier: Apache-2.0
"""Where local clusters keep what they build, what they run, and what they are built from.

It only computes paths; it never creates or removes anything.
"""

from __future__ import annotations

import os
from pathlib import Path

from berth.localcluster.errors import LocalClusterError


def cache_root() -> Path:
    """Return the folder of built programs: ``$BERTH_CACHE``, or ``berth`` in the user's cache."""
    if own := os.environ.get("BERTH_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "berth"


def clusters_root() -> Path:
    """Return the folder with one folder per cluster, under ``$BERTH_STATE`` or the user's state."""
    if own := os.environ.get("BERTH_STATE"):
        return Path(own).absolute() / "clusters"
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "berth" / "clusters"


def tools_root() -> Path:
    """Return the folder with the Go modules that the programs are built from.

    An installed wheel carries them beside this module; a source checkout has them at its top.
    """
    here = Path(__file__).resolve()
    for candidate in (here.parent / "tools", here.parents[3] / "tools"):
        if (candidate / "etcd" / "go.mod").is_file():
            return candidate
    raise LocalClusterError(
        f"{here.parent}: the Go modules of the control plane are missing: "
        "neither beside the package nor at the top of a source checkout"
    )
