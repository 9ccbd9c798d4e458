# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane on this computer, as plain processes.

    with LocalCluster.start(ClusterSpec(name="demo", nodes=3, devices=8)) as cluster:
        use(cluster.kubeconfig)

Blocking: it manages processes; from asyncio call it in a thread. A cluster in the foreground ends
with its holder, however that one dies (``berth.localcluster.guard``); a detached one stays until
``stop``.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from berth.localcluster import build, paths, populate, processes, programs, record
from berth.localcluster.components import HOST
from berth.localcluster.errors import ClusterExistsError, LocalClusterError, UnknownClusterError
from berth.localcluster.guard import Guard
from berth.localcluster.processes import ProcessId
from berth.localcluster.progress import Progress, Silent
from berth.localcluster.record import Record
from berth.localcluster.start import PortTakenError, Starter, died, free_ports
from berth.localcluster.stop import stop as stop_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from berth.localcluster.api import Api
    from berth.localcluster.spec import ClusterSpec

TRIES = 3
"""Of starting, when somebody else takes a port that was free."""
USABLE_SECONDS = 90.0
USABLE_SECONDS_PER_NODE = 0.1


@dataclass(frozen=True, slots=True)
class Component:
    """One process of a cluster, as seen now."""

    name: str
    pid: int
    alive: bool
    log: Path


class LocalCluster:
    """One cluster that exists; made by ``start`` or ``open``."""

    def __init__(self, folder: Path, guard: Guard | None = None) -> None:
        """Take over the cluster of ``folder``."""
        self.folder = folder
        self._guard = guard
        self._record = record.read(folder)

    @classmethod
    def start(cls, spec: ClusterSpec, progress: Progress | None = None) -> Self:
        """Build what is missing, start a cluster and fill it with its profile.

        Raises:
            InvalidClusterSpecError: If its release is not pinned.
            BuildError: If a program cannot be built.
            ClusterExistsError: If a cluster of that name exists and is not dead.
            ComponentDiedError: If a component ends while it starts.
            LocalClusterError: If it is not usable in time.
        """
        progress = progress or Silent()
        wanted = programs.control_plane(paths.tools_root(), spec.kubernetes)
        needed = [each for each in wanted if each.name in spec.components]
        cache = paths.cache_root()
        binaries = build.ensure(needed, cache, progress)
        stages = [path for each in needed for path in build.stages_of(each, cache)]
        version = next(each.version for each in needed if each.name == "kube-apiserver")
        for attempt in range(1, TRIES + 1):
            try:
                return cls._start_once(spec, version, binaries, stages, progress)
            except PortTakenError:
                if attempt == TRIES:
                    raise
                progress.say("a port was taken meanwhile: trying others")
        raise AssertionError(TRIES)

    @classmethod
    def _start_once(
        cls,
        spec: ClusterSpec,
        version: str,
        binaries: Mapping[str, Path],
        stages: Sequence[Path],
        progress: Progress,
    ) -> Self:
        began = time.monotonic()
        new = Record(
            spec=spec,
            version=version,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            phase="starting",
            supervisor=ProcessId.of(os.getpid()),
            ports=free_ports(),
            components={},
        )
        folder = _claim(paths.clusters_root(), new)
        progress.say(
            f"starting cluster {spec.name}: Kubernetes {version}, "
            f"{spec.nodes} nodes with {spec.devices} devices each"
        )
        guard = None
        try:
            guard = Guard(folder)
            starter = Starter(folder, new, binaries, stages)
            api = starter.run()
            try:
                _fill(api, starter, progress)
            finally:
                api.close()
            record.write(folder, starter.record.changed(phase="running"))
            cluster = cls(folder, guard)
        except BaseException:
            stop_folder(folder)
            if guard:
                guard.dismiss()
            raise
        progress.say(f"cluster {spec.name} is up after {time.monotonic() - began:.1f} s")
        return cluster

    @classmethod
    def open(cls, name: str) -> Self:
        """Return an existing cluster, which stays whatever happens to us.

        Raises:
            UnknownClusterError: If there is none of that name.
        """
        return cls(paths.clusters_root() / name)

    @property
    def spec(self) -> ClusterSpec:
        """What was asked for."""
        return self._record.spec

    @property
    def record(self) -> Record:
        """What is written down about it."""
        return self._record

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._record.layout(self.folder).kubeconfig

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._record.layout(self.folder).server

    @property
    def etcd_url(self) -> str:
        """URL of etcd, for tests that must go behind the API server's back."""
        return f"http://{HOST}:{self._record.layout(self.folder).etcd_port}"

    @property
    def components(self) -> tuple[Component, ...]:
        """Its processes, in the order in which they were started."""
        layout = self._record.layout(self.folder)
        return tuple(
            Component(name, process.pid, process.alive, layout.log_of(name))
            for name, process in self._record.components.items()
        )

    def check(self) -> None:
        """Raise ``ComponentDiedError`` if a component does not run, with the end of its log."""
        for each in self.components:
            if not each.alive:
                raise died(self._record.layout(self.folder), self._record, each.name)

    def ended_by_others(self) -> bool:
        """Return whether somebody else ends this cluster, or has ended it."""
        try:
            return record.read(self.folder).phase == "stopping"
        except UnknownClusterError:
            return True

    def kill(self, component: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a component, for tests of faults.

        Raises:
            LocalClusterError: If the cluster has no such component, or it does not run.
        """
        process = self._record.components.get(component)
        if process is None or not process.signal(number):
            raise LocalClusterError(f"cluster {self.spec.name}: {component} does not run")
        if number == signal.SIGKILL:
            # Its own child it does not reap: the exit code belongs into the report.
            processes.wait_until_dead(process, 5)

    def detach(self) -> None:
        """Let the cluster outlive us."""
        self._record = self._record.changed(supervisor=None)
        record.write(self.folder, self._record)
        if self._guard:
            self._guard.dismiss()

    def stop(self) -> None:
        """End all processes and remove the folder; once is enough, more does no harm."""
        stop_folder(self.folder)
        for process in self._record.components.values():
            # Our own children, even where somebody else ended them.
            processes.reap(process.pid)
        if self._guard:
            self._guard.dismiss()

    def __enter__(self) -> Self:
        """Return the cluster."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()


def existing() -> tuple[str, ...]:
    """Return the names of the clusters that exist, sorted."""
    return record.names(paths.clusters_root())


def _claim(root: Path, new: Record) -> Path:
    try:
        return record.claim(root, new)
    except ClusterExistsError as error:
        folder = root / new.spec.name
        if error.detail != record.DEAD:
            raise
        # Left by a crash or by a restart of the computer.
        stop_folder(folder)
        return record.claim(root, new)


def _fill(api: Api, starter: Starter, progress: Progress) -> None:
    spec = starter.record.spec
    populate.populate(api, spec, progress)
    patience = USABLE_SECONDS + USABLE_SECONDS_PER_NODE * spec.nodes
    populate.wait_usable(api, spec, starter.check, patience)
