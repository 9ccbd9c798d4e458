# SPDX-License-Identifier: Apache-2.0
"""Names of metrics, and what the probes answer."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from berth.controller.api import ApiClient
from berth.controller.informer import Informer
from berth.controller.metrics import HealthServer, Metrics, PortError
from tests.support.fault_server import FaultServer


class State:
    def __init__(self) -> None:
        self.missing: Mapping[str, object] = {"pods": "not listed yet"}
        self.alive = True


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def address(state: State) -> AsyncIterator[str]:
    metrics = Metrics()
    metrics.decided("ReleaseGate")
    health = HealthServer("127.0.0.1", 0, metrics, lambda: state.missing, lambda: state.alive)
    port = await health.start()
    yield f"http://127.0.0.1:{port}"
    await health.stop()


async def fetch(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_a_replica_is_ready_when_nothing_is_missing(address: str, state: State) -> None:
    assert await fetch(f"{address}/readyz") == (
        503,
        '{"missing":{"pods":"not listed yet"},"ready":false}',
    )
    state.missing = {}
    assert await fetch(f"{address}/readyz") == (200, '{"missing":{},"ready":true}')


async def test_a_replica_that_cannot_go_on_says_so(address: str, state: State) -> None:
    assert await fetch(f"{address}/healthz") == (200, '{"alive":true}')
    state.alive = False
    assert await fetch(f"{address}/healthz") == (503, '{"alive":false}')


async def test_metrics_are_served(address: str) -> None:
    status, text = await fetch(f"{address}/metrics")
    assert status == 200
    assert 'berth_decisions_total{outcome="release_gate"} 1.0' in text


async def test_a_port_in_use_is_named_with_the_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        health = HealthServer("127.0.0.1", port, Metrics(), dict, lambda: True)
        with pytest.raises(
            PortError, match=f"cannot listen on 127.0.0.1:{port}: .*BERTH_HTTP_PORT"
        ):
            await health.start()


def test_every_name_says_its_unit_or_that_it_is_a_total() -> None:
    names = {metric.name for metric in Metrics().registry.collect()}
    # Counters are collected without the suffix with which they are shown.
    text = Metrics().text().decode()
    shown = set(re.findall(r"^# TYPE (\S+?)(?<!_created) ", text, re.MULTILINE))
    assert len(shown) == len(names)
    assert all(
        re.fullmatch(r"berth_[a-z_]+_(seconds|total|info|pending|findings)", name) for name in shown
    )


async def test_an_informer_is_shown_under_its_kind(api: ApiClient, server: FaultServer) -> None:
    metrics = Metrics()
    informer: Informer[object] = Informer(
        api,
        "/api/v1/pods",
        decode=lambda raw: raw,
        on_apply=lambda _: None,
        on_remove=lambda *_: None,
        on_undecodable=lambda *_: None,
    )
    metrics.watch_informer("pods", informer)
    text = metrics.text().decode()
    assert 'berth_informer_objects_total{kind="pods"} 0.0' in text
    assert 'berth_informer_lists_total{kind="pods"} 0.0' in text
    assert 'berth_informer_age_seconds{kind="pods"}' in text
