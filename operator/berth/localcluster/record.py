# SPDX-License-Identifier: Apache-2.0
"""What is written down about a cluster, so that another process can find, judge and end it.

One file ``cluster.json`` per folder, replaced as a whole at each change. It signals nobody.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from berth.localcluster.components import Layout
from berth.localcluster.errors import ClusterExistsError, UnknownClusterError
from berth.localcluster.processes import ProcessId
from berth.localcluster.spec import ClusterSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "cluster.json"

DEAD = "none of its processes runs"

Phase = Literal["starting", "running", "stopping"]


@dataclass(frozen=True, slots=True)
class Record:
    """One cluster, as written down."""

    spec: ClusterSpec
    version: str
    """Full version of Kubernetes, with its ``v``."""
    created: str
    """RFC 3339."""
    phase: Phase
    supervisor: ProcessId | None
    """Who holds it in the foreground or starts it; ``None`` once it runs on its own."""
    ports: tuple[int, int, int]
    """Of etcd, of etcd's peers, of the API server."""
    components: Mapping[str, ProcessId]
    """In the order in which they were started."""

    def layout(self, folder: Path) -> Layout:
        """Return where the files are, given the cluster's folder."""
        return Layout(folder, *self.ports)

    def changed(self, **fields: Any) -> Record:
        """Return this with some fields replaced."""
        return replace(self, **fields)

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON."""
        return {
            "spec": self.spec.to_json(),
            "version": self.version,
            "created": self.created,
            "phase": self.phase,
            "supervisor": asdict(self.supervisor) if self.supervisor else None,
            "ports": list(self.ports),
            "components": {name: asdict(each) for name, each in self.components.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Return what ``to_json`` made."""
        etcd, peer, api = data["ports"]
        return cls(
            spec=ClusterSpec.from_json(data["spec"]),
            version=data["version"],
            created=data["created"],
            phase=data["phase"],
            supervisor=ProcessId(**data["supervisor"]) if data["supervisor"] else None,
            ports=(etcd, peer, api),
            components={name: ProcessId(**each) for name, each in data["components"].items()},
        )


def read(folder: Path) -> Record:
    """Return the record of a cluster's folder.

    Raises:
        UnknownClusterError: If there is none.
    """
    try:
        return Record.from_json(json.loads((folder / FILE).read_text()))
    except FileNotFoundError:
        raise UnknownClusterError(folder.name, names(folder.parent)) from None


def write(folder: Path, record: Record) -> None:
    """Replace the record of a folder that exists."""
    new = folder / f".{FILE}.{os.getpid()}"
    new.write_text(json.dumps(record.to_json(), indent=1) + "\n")
    new.replace(folder / FILE)


def claim(root: Path, record: Record) -> Path:
    """Create the folder of a new cluster, at once with its record, and return it.

    Raises:
        ClusterExistsError: If there is a cluster of that name, whatever its state.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / record.spec.name
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=root))  # mode 0700: it will hold tokens
    try:
        write(draft, record)
        # Renaming onto a folder that is not empty fails: of two that start at once one wins.
        draft.rename(folder)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not folder.is_dir():
            raise
        raise ClusterExistsError(record.spec.name, describe(folder)) from None
    return folder


def names(root: Path) -> tuple[str, ...]:
    """Return the names of all clusters, sorted."""
    return tuple(sorted(each.parent.name for each in root.glob(f"[!.]*/{FILE}")))


def describe(folder: Path) -> str:
    """Return the state of a cluster in a few words."""
    try:
        record = read(folder)
    except UnknownClusterError:
        return "its folder has no record"
    if record.phase == "starting" and record.supervisor and record.supervisor.alive:
        return f"process {record.supervisor.pid} is starting it"
    dead = [name for name, process in record.components.items() if not process.alive]
    if not record.components or len(dead) == len(record.components):
        return DEAD
    if dead:
        return f"it runs without {', '.join(dead)}"
    return "it is running" if record.phase == "running" else f"it is {record.phase}"
