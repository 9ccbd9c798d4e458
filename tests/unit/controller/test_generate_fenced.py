# SPDX-License-Identifier: Apache-2.0
"""The generator's writes are asked for when they are sent, as those of the allocation are."""

from __future__ import annotations

import asyncio

from berth.codec.claims import decode_claim
from berth.codec.pods import decode_pod
from berth.controller.api import ApiClient
from berth.controller.events import EventRecorder
from berth.controller.generate import ClaimGenerator
from berth.controller.metrics import Metrics
from berth.model.pods import PodKey
from berth.state.cluster import Cluster
from tests.support.fault_server import FaultServer


async def test_a_claim_is_not_freed_by_a_replica_that_may_not_write_any_more(
    server: FaultServer, api: ApiClient
) -> None:
    cluster = Cluster()
    pod = {
        "metadata": {"namespace": "ml", "name": "done", "uid": "pu", "resourceVersion": "1"},
        "spec": {
            "nodeName": "node-1",
            "containers": [],
            "resourceClaims": [{"name": "c", "resourceClaimName": "train"}],
        },
        "status": {"phase": "Succeeded"},
    }
    cluster.apply_pod(decode_pod(pod))
    claim = {
        "metadata": {"namespace": "ml", "name": "train", "uid": "cu", "resourceVersion": "2"},
        "spec": {},
        "status": {
            "allocation": {"devices": {"results": []}},
            "reservedFor": [{"resource": "pods", "name": "done", "uid": "pu"}],
        },
    }
    cluster.apply_claim(decode_claim(claim))
    asked = 0

    def may_write() -> bool:
        nonlocal asked
        asked += 1
        return asked == 1  # When the work is begun, and not when it is sent.

    events = EventRecorder(api, instance="test", metrics=Metrics())
    generator = ClaimGenerator(cluster, api, events, may_write=may_write)
    running = asyncio.ensure_future(generator.run())
    generator.touch(PodKey("ml", "done"))
    async with asyncio.timeout(5):
        while asked < 2 or generator._busy:
            await asyncio.sleep(0.01)
    assert not running.done()
    assert server.received == []
    assert asked == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
