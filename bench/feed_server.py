# SPDX-License-Identifier: Apache-2.0
"""A stand-in for an API server that only lists and watches, on loopback, in a process of its own.

Decides nothing: it sends bytes that were made beforehand, as fast as they are taken. It stands in
for load alone: it keeps no history, and its answers to anything else are empty.

Source: Kubernetes API concepts: paged lists, watches, discovery.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from functools import partial

import orjson
from aiohttp import web

from bench.fleets import Json, gpus
from bench.objects import claim_of_pod

GROUP = "/apis/resource.k8s.io/v1"
VERSION = 1_000_000
CHUNK = 200
"""Events that are sent with one write."""
KINDS = (("resourceclaims", "ResourceClaim", True), ("resourceslices", "ResourceSlice", False))


class Served:
    """The lists, and the events that follow them, as bytes."""

    def __init__(self, devices: int, claims: int, events: int) -> None:
        slices = gpus(devices // 8).slices
        self.lists: dict[str, list[bytes]] = {
            "resourceclaims": [
                orjson.dumps(claim_of_pod(n, n + 1, devices=devices)) for n in range(claims)
            ],
            "resourceslices": [
                orjson.dumps({**each, "metadata": {**each["metadata"], "resourceVersion": "1"}})
                for each in slices
            ],
        }
        self.may_go = asyncio.Event()
        self.events = [
            b'{"type":"MODIFIED","object":%s}\n'
            % orjson.dumps(claim_of_pod(n, VERSION + n + 1, devices=devices))
            for n in range(events)
        ]

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch of one kind."""
        kind = request.match_info["kind"]
        if request.query.get("watch"):
            return await self._watch(request, kind)
        known = self.lists.get(kind, [])
        begin = int(request.query.get("continue") or 0)
        end = begin + int(request.query.get("limit") or len(known) or 1)
        more = b',"continue":"%d"' % end if end < len(known) else b""
        body = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"%d"%s},' % (
            VERSION,
            more,
        )
        items = b'"items":[%s]}' % b",".join(known[begin:end])
        return web.Response(body=body + items, content_type="application/json")

    async def go(self, _: web.Request) -> web.Response:
        """Let the events begin: the reader has all of the lists."""
        self.may_go.set()
        return web.Response()

    async def stop(self, _: web.Request) -> web.Response:
        """Let the next reader's events wait again."""
        self.may_go.clear()
        return web.Response()

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        if kind == "resourceclaims":
            await self.may_go.wait()
            for begin in range(0, len(self.events), CHUNK):
                await answer.write(b"".join(self.events[begin : begin + CHUNK]))
        await asyncio.sleep(3600)
        return answer


async def _json(_: web.Request, *, value: Json) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


def application(served: Served) -> web.Application:
    """Return the server: discovery, and the two kinds."""
    version = {"groupVersion": "resource.k8s.io/v1", "version": "v1"}
    group = {"name": "resource.k8s.io", "versions": [version], "preferredVersion": version}
    resources = [
        {
            "name": plural,
            "singularName": kind.lower(),
            "kind": kind,
            "namespaced": namespaced,
            "verbs": ["get", "list", "watch", "patch"],
        }
        for plural, kind, namespaced in KINDS
    ]
    made = web.Application()
    made.router.add_get("/version", partial(_json, value={"major": "1", "minor": "37"}))
    made.router.add_get("/api", partial(_json, value={"versions": ["v1"]}))
    # Kopf begins only when it knows how namespaces are called.
    namespaces = {
        "name": "namespaces",
        "singularName": "namespace",
        "kind": "Namespace",
        "namespaced": False,
        "verbs": ["get", "list", "watch"],
    }
    made.router.add_get("/api/v1", partial(_json, value={"resources": [namespaces]}))
    made.router.add_get("/apis", partial(_json, value={"groups": [group]}))
    made.router.add_get(
        GROUP, partial(_json, value={"groupVersion": GROUP[6:], "resources": resources})
    )
    made.router.add_post("/go", served.go)
    made.router.add_post("/stop", served.stop)
    made.router.add_get(GROUP + "/{kind}", served.page)
    return made


async def serve(devices: int, claims: int, events: int) -> None:
    """Print the port, and serve until killed."""
    runner = web.AppRunner(application(Served(devices, claims, events)), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    print(f"http://{host}:{port}", flush=True)  # noqa: T201 - how the port is told
    await asyncio.sleep(3600)


def main(arguments: Sequence[str]) -> None:
    """Serve: devices, claims, events."""
    devices, claims, events = map(int, arguments)
    asyncio.run(serve(devices, claims, events))


if __name__ == "__main__":
    main(sys.argv[1:])
