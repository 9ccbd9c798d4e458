# SPDX-License-Identifier: Apache-2.0
"""Replicas of Berth, each behind its own proxy, which can be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import yaml

from tests.faults.proxy import Proxy
from tests.support.kube_access import Access

READY_SECONDS = 60.0
STOP_SECONDS = 30.0
STARTS = 6
"""How often a replica that ends before it is ready is started."""


class EndedError(Exception):
    """A replica ended by itself."""


class Nursery:
    """The process that replicas are forked from."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: asyncio.Queue[int] = asyncio.Queue()
        self._lock = asyncio.Lock()
        self._reading = asyncio.ensure_future(self._read())
        self.exits: dict[int, int] = {}

    @classmethod
    async def start(cls) -> Nursery:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.faults.nursery",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        await process.stdout.readline()  # It is ready.
        return cls(process)

    async def spawn(
        self, module: str, arguments: tuple[str, ...], environment: Mapping[str, str], log: Path
    ) -> int:
        command = {
            "module": module,
            "arguments": arguments,
            "environment": dict(environment),
            "log": str(log),
        }
        assert self._process.stdin is not None
        async with self._lock:
            self._process.stdin.write(orjson.dumps(command) + b"\n")
            return await asyncio.wait_for(self._answers.get(), READY_SECONDS)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = orjson.loads(line)
            if "started" in answer:
                self._answers.put_nowait(answer["started"])
            else:
                self.exits[answer["exited"]] = answer["code"]

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        self._reading.cancel()


@dataclass(slots=True)
class Replica:
    """One place for a replica: its proxy stays, the process behind it comes and goes."""

    name: str
    nursery: Nursery
    proxy: Proxy
    folder: Path
    module: tuple[str, ...] = ("berth",)
    settings: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    pid: int = 0
    incarnation: int = 0
    pids: list[int] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def clock_file(self) -> Path:
        return self.folder / f"{self.name}.clock"

    @property
    def running(self) -> bool:
        return self.pid != 0 and self.pid not in self.nursery.exits

    async def start(self, token: str) -> None:
        """Start a new process; return when it says that it is ready.

        One that gives up before that, because the API server did not answer it, is started again,
        as a kubelet would.
        """
        for last in (False,) * (STARTS - 1) + (True,):
            try:
                await self._start(token)
            except EndedError:
                if last:
                    raise
            else:
                return

    async def _start(self, token: str) -> None:
        self.incarnation += 1
        self.identity = f"{self.name}-{self.incarnation}"
        url = f"{self.proxy.url}/{self.identity}"
        kubeconfig = write_kubeconfig(self.folder / f"{self.name}.kubeconfig", url, token)
        already = self.log.stat().st_size if self.log.exists() else 0
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("BERTH_")},
            "KUBECONFIG": str(kubeconfig),
            "BERTH_HTTP_PORT": "0",
            "BERTH_LOG_FORMAT": "json",
            "BERTH_MODE": "gated",
            "BERTH_IDENTITY": self.identity,
            "BERTH_FAULTS_CLOCK": str(self.clock_file),
            **self.settings,
        }
        module, *arguments = self.module
        self.pid = await self.nursery.spawn(module, (*arguments, "run"), environment, self.log)
        self.pids.append(self.pid)
        await self.wait_for_log("ready", already)

    async def wait_for_log(self, event: str, after: int, within: float = READY_SECONDS) -> None:
        try:
            async with asyncio.timeout(within):
                while f'"event":"{event}"' not in self._compact(after):
                    if not self.running:
                        raise EndedError(f"{self.identity} ended: {self.tail()}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = f"{self.identity}: no log line `{event}` within {within} s: {self.tail()}"
            raise AssertionError(text) from None

    def _compact(self, after: int) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(after)
            return file.read().decode(errors="replace").replace('": "', '":"')

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(no log)"

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def ended(self, within: float = STOP_SECONDS) -> int:
        """Wait for its end, and return the exit code."""
        async with asyncio.timeout(within):
            while self.running:
                await asyncio.sleep(0.02)
        return self.nursery.exits[self.pid]

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code; a kill after the time limit gives -9."""
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            return await self.ended()
        except TimeoutError:
            self.kill()
            return await self.ended()


def write_kubeconfig(path: Path, url: str, token: str) -> Path:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faults",
        "clusters": [{"name": "faults", "cluster": {"server": url}}],
        "users": [{"name": "faults", "user": {"token": token}}],
        "contexts": [{"name": "faults", "context": {"cluster": "faults", "user": "faults"}}],
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


async def make_replicas(
    count: int,
    access: Access,
    folder: Path,
    *,
    module: tuple[str, ...] = ("berth",),
    settings: Mapping[str, str],
) -> tuple[Nursery, list[Replica]]:
    """Return ``count`` replicas that are not started yet, with their proxies listening."""
    nursery = await Nursery.start()
    replicas = []
    for number in range(count):
        proxy = Proxy(access, folder / "writes.jsonl")
        await proxy.start()
        name = f"replica-{number}"
        replicas.append(Replica(name, nursery, proxy, folder, module, settings))
    return nursery, replicas
