# SPDX-License-Identifier: Apache-2.0
"""Ending a cluster: its processes in the right order, then its folder.

It needs nothing but the folder, so that whoever finds it can clean up after a crash.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from berth.localcluster import processes, record
from berth.localcluster.errors import LocalClusterError, UnknownClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    with _held(folder) as there:
        if there:
            _stop(folder, patience)


def _stop(folder: Path, patience: float) -> None:
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
    left.extend(
        f"process {process.pid}"
        for process in list(processes.strays(folder))
        if not processes.end(process, patience)
    )
    if left:
        raise LocalClusterError(f"cluster {folder.name}: does not end: {', '.join(left)}")
    for process in known.values():
        processes.reap(process.pid)
    if folder.is_dir():
        shutil.rmtree(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder against others who stop it too; yield whether it is still there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Whoever held it before us may have removed it, and a new one may have its name.
        yield folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat())
    finally:
        os.close(descriptor)
