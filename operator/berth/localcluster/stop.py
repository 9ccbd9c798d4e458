# SPDX-License-Identifier: Apache-2.0
"""Ending a cluster: its processes in the right order, then its folder.

It needs nothing but the folder, so that whoever finds it can clean up after a crash.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from berth.localcluster import processes, record
from berth.localcluster.errors import LocalClusterError, UnknownClusterError

if TYPE_CHECKING:
    from pathlib import Path

ORDER = ("kwok", "kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
"""Each before what it depends on."""
PATIENCE_SECONDS = 5.0


def stop(folder: Path, patience: float = PATIENCE_SECONDS) -> None:
    """End the cluster of ``folder`` and remove the folder; nothing happens if it is gone.

    Args:
        folder: The cluster's folder.
        patience: Seconds between SIGTERM and SIGKILL, for each component.

    Raises:
        LocalClusterError: If a process outlives SIGKILL; the folder stays then.
    """
    try:
        found = record.read(folder)
    except UnknownClusterError:
        known = {}
    else:
        # Says to a supervisor in the foreground that what it will see is meant.
        record.write(folder, found.changed(phase="stopping"))
        known = dict(found.components)
    left = [name for name in ORDER if name in known and not processes.end(known[name], patience)]
    # What a starter had no time to write down before it was killed.
    for process in list(processes.strays(folder)):
        if not processes.end(process, patience):
            left.append(f"process {process.pid}")
    if left:
        raise LocalClusterError(f"cluster {folder.name}: does not end: {', '.join(left)}")
    for process in known.values():
        processes.reap(process.pid)
    if folder.is_dir():
        shutil.rmtree(folder)
