# SPDX-License-Identifier: Apache-2.0
"""Records what the API server does: a process of its own, straight at the API server.

Lists each kind, then watches from that version on; goes on from the last version when a watch
ends. A part of the history that cannot be had any more is recorded as a gap, and ends it with an
error: a history with a hole proves nothing. On SIGTERM it catches up with a last list, marks the
end, and leaves. Run as ``python -m tests.faults.recorder KUBECONFIG FILE NAMESPACE``; it says
``recording`` once every kind is listed.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import orjson

from tests.faults.history import DELETED, END, GAP, LISTED, Entry, Json
from tests.support.kube_access import RESOURCES, Access

KINDS = ("resourceclaims", "pods", "resourceslices", "leases")
CATCH_UP_SECONDS = 60


class GapError(Exception):
    """A part of the history is lost."""


class Recorder:
    """Writes the events of all kinds into one file."""

    def __init__(self, access: Access, path: Path, namespace: str) -> None:
        self._access = access
        self._file = path.open("wb")
        self._known: dict[str, dict[str, int]] = {kind: {} for kind in KINDS}
        self._versions: dict[str, str] = {}
        # The leases of nodes are renewed all the time, and say nothing here.
        self._paths = {
            kind: RESOURCES[kind].path(namespace if kind == "leases" else None) for kind in KINDS
        }
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {access.token}"},
            connector=aiohttp.TCPConnector(ssl=access.ssl_context()),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )

    async def run(self, stop: asyncio.Event) -> None:
        for kind in KINDS:
            await self._list(kind)
        self._file.flush()
        print("recording", flush=True)  # noqa: T201 - who started it waits for this
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(self._watch(kind)) for kind in KINDS]
            flushing = group.create_task(self._flush_for_ever())
            await stop.wait()
            await self._catch_up()
            for task in (*watches, flushing):
                task.cancel()
        self._mark(END, "caught up")

    async def close(self, gap: str = "") -> None:
        if gap:
            self._mark(GAP, gap)
        self._file.close()
        await self._session.close()

    def _mark(self, mark: str, detail: str) -> None:
        self._file.write(Entry("", mark, 0, time.time(), {"detail": detail}).to_line())
        self._file.flush()

    async def _flush_for_ever(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self._file.flush()

    async def _get(self, kind: str) -> Json:
        url = self._access.server + self._paths[kind]
        async with self._session.get(url) as answer:
            answer.raise_for_status()
            body: Json = orjson.loads(await answer.read())
            return body

    async def _list(self, kind: str) -> None:
        listed = await self._get(kind)
        for raw in listed.get("items") or ():
            self._record(kind, LISTED, raw)
        self._versions[kind] = listed["metadata"]["resourceVersion"]

    def _record(self, kind: str, event: str, raw: Json) -> None:
        metadata = raw["metadata"]
        if kind != "resourceclaims":
            metadata.pop("managedFields", None)
        version = int(metadata["resourceVersion"])
        self._file.write(Entry(kind, event, version, time.time(), raw).to_line())
        if event == DELETED:
            self._known[kind].pop(_name(metadata), None)
        else:
            self._known[kind][_name(metadata)] = version

    async def _watch(self, kind: str) -> None:
        while True:
            try:
                await self._watch_once(kind)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.1)

    async def _watch_once(self, kind: str) -> None:
        params = {
            "watch": "true",
            "resourceVersion": self._versions[kind],
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "300",
        }
        url = self._access.server + self._paths[kind]
        async with self._session.get(url, params=params) as answer:
            if answer.status == 410:
                raise GapError(f"{kind}: {await answer.text()}")
            answer.raise_for_status()
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(kind, orjson.loads(line))

    def _take(self, kind: str, event: Json) -> None:
        raw = event["object"]
        if event["type"] == "ERROR":
            if raw.get("code") == 410:
                raise GapError(f"{kind}: {raw.get('message')}")
            raise aiohttp.ClientPayloadError(str(raw))
        if event["type"] != "BOOKMARK":
            self._record(kind, event["type"], raw)
        self._versions[kind] = raw["metadata"]["resourceVersion"]

    async def _catch_up(self) -> None:
        """Wait until the watches have brought everything that a list made now contains."""
        deadline = time.monotonic() + CATCH_UP_SECONDS
        for kind in KINDS:
            answer = await self._get(kind)
            upto = int(answer["metadata"]["resourceVersion"])
            listed = {
                _name(each["metadata"]): int(each["metadata"]["resourceVersion"])
                for each in answer.get("items") or ()
            }
            while not self._has_seen(kind, listed, upto):
                if time.monotonic() > deadline:
                    raise GapError(f"{kind}: not caught up within {CATCH_UP_SECONDS} s")
                await asyncio.sleep(0.05)

    def _has_seen(self, kind: str, listed: Mapping[str, int], upto: int) -> bool:
        known = self._known[kind]
        newest = int(self._versions[kind])
        # What is not known, but older than the newest event, was deleted since the list.
        return all(known.get(name, newest) >= version for name, version in listed.items()) and all(
            name in listed or version > upto for name, version in known.items()
        )


def _name(metadata: Json) -> str:
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


async def _main(kubeconfig: str, file: str, namespace: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # Whoever started it holds the other end of stdin, and must not be outlived.
    loop.add_reader(sys.stdin, stop.set)
    recorder = Recorder(Access.from_kubeconfig(Path(kubeconfig)), Path(file), namespace)
    gap = ""
    try:
        await recorder.run(stop)
    except* GapError as group:
        gap = str(group.exceptions[0])
    await recorder.close(gap)
    if gap:
        sys.stderr.write(f"recorder: {gap}\n")
    return 3 if gap else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(*sys.argv[1:])))
