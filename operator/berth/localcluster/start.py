# SPDX-License-Identifier: Apache-2.0
"""Bringing a control plane up: files, processes in order, each awaited before the next needs it."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import time
from typing import TYPE_CHECKING

from berth.localcluster import components, processes, record
from berth.localcluster.api import Api
from berth.localcluster.errors import ComponentDiedError, LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from berth.localcluster.components import Layout
    from berth.localcluster.record import Record

PATIENCE_SECONDS = 120.0
LOG_TAIL_LINES = 20
_TAKEN = "address already in use"


class PortTakenError(LocalClusterError):
    """A port that was free was taken before its component could have it: worth another try."""


def free_ports() -> tuple[int, int, int]:
    """Return three free loopback ports; nothing keeps others from taking them afterwards."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) for _ in range(3)
        ]
        for each in sockets:
            each.bind((components.HOST, 0))
        etcd, peer, api = (int(each.getsockname()[1]) for each in sockets)
        return etcd, peer, api


class Starter:
    """Starts the components of one cluster and keeps its record up to date."""

    def __init__(
        self,
        folder: Path,
        record_: Record,
        binaries: Mapping[str, Path],
        stages: Sequence[Path],
    ) -> None:
        """Start in ``folder``, which is claimed already, what ``binaries`` has."""
        self.folder = folder
        self.record = record_
        self._binaries = binaries
        self._stages = stages

    @property
    def layout(self) -> Layout:
        """Where the files are."""
        return self.record.layout(self.folder)

    def run(self) -> Api:
        """Start all components and return a client of the API server.

        Raises:
            PortTakenError: If a port was taken meanwhile.
            ComponentDiedError: If a component ends.
            LocalClusterError: If one is not ready in time.
        """
        tokens = {name: secrets.token_urlsafe(32) for name in components.USERS}
        (self.folder / "logs").mkdir()
        _write_private(self.folder / "tokens.csv", components.token_file(tokens))
        self._spawn("etcd")
        self._wait("etcd", lambda: _listens(self.layout.etcd_port))
        self._spawn("kube-apiserver")
        self._wait("kube-apiserver", lambda: _listens(self.layout.api_port))
        certificate = self.layout.certificate.read_bytes()
        for name, token in tokens.items():
            text = components.kubeconfig(self.layout, self.record.spec.name, token, certificate)
            _write_private(self.layout.kubeconfig_of(name), text)
        api = Api(self.layout.api_port, tokens["admin"], certificate.decode())
        try:
            self._wait("kube-apiserver", api.ready)
            config = json.dumps(components.scheduler_config(self.layout), indent=1)
            _write_private(self.folder / "kube-scheduler.json", config)
            for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
                if name in self.record.spec.components:
                    self._spawn(name)
        except BaseException:
            api.close()
            raise
        return api

    def check(self) -> None:
        """Raise if a component that was started does not run."""
        for name, process in self.record.components.items():
            if not process.alive:
                raise died(self.layout, self.record, name)

    def _spawn(self, name: str) -> None:
        line = components.command(
            name, self._binaries[name], self.layout, self.record.spec, self._stages
        )
        process = processes.spawn(line, self.layout.log_of(name), self.folder)
        self.record = self.record.changed(components={**self.record.components, name: process})
        record.write(self.folder, self.record)

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            try:
                self.check()
            except ComponentDiedError as error:
                if _TAKEN in error.tail:
                    raise PortTakenError(str(error)) from error
                raise
            if time.monotonic() > deadline:
                tail = processes.tail_of(self.layout.log_of(name), LOG_TAIL_LINES)
                raise LocalClusterError(
                    f"cluster {self.record.spec.name}, component {name}: not ready within "
                    f"{PATIENCE_SECONDS:.0f} s\n\nthe end of its log:\n{tail}"
                )
            time.sleep(0.05)


def died(layout: Layout, found: Record, name: str) -> ComponentDiedError:
    """Return the error for a component that does not run any more."""
    code = processes.reap(found.components[name].pid, processes.REAP_SECONDS)
    status = processes.describe_exit(code)
    tail = processes.tail_of(layout.log_of(name), LOG_TAIL_LINES)
    return ComponentDiedError(found.spec.name, name, status, tail)


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((components.HOST, port)) == 0


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
