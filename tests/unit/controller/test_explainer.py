# SPDX-License-Identifier: Apache-2.0
"""Explanations are made beside the allocation, in turn, and not again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MappingProxyType

from berth.controller import explainer as module
from berth.controller.explainer import Explainer
from berth.controller.fairness import Shares
from berth.decision import decide_claims_quickly
from berth.engine.outcomes import DEFAULT_BUDGET
from berth.explain.conflict import Conflict
from berth.explain.line import one_line
from berth.model.pods import Pod, PodKey
from berth.state.cluster import Cluster
from tests.support.builders import a_claim, a_class, a_node, a_request, a_slice, devices

NODE = replace(a_node(), allocatable=MappingProxyType({"pods": 9}))
CLAIMS = (a_claim(a_request(count=2)),)


class Stage:
    """A cluster of one node with one device, and what was said about pods that want two."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.cluster.apply_class(a_class())
        self.cluster.apply_node(NODE)
        self.said: list[tuple[str, str]] = []
        self.changed: list[PodKey] = []
        self.publish(1)
        self.explainer = Explainer(
            self.cluster,
            decided=lambda pod: decide_claims_quickly(
                self.cluster, pod, CLAIMS, budget=DEFAULT_BUDGET
            ),
            say=self.say,
            changed=self.changed.append,
            shares=Shares(),
            budget=DEFAULT_BUDGET,
        )

    def publish(self, count: int) -> None:
        self.cluster.apply_slice(a_slice(devices(count)))

    def say(self, pod: Pod, conflict: Conflict) -> None:
        self.said.append((pod.name, one_line(conflict)))

    def add(self, name: str) -> PodKey:
        pod = Pod("default", name, uid=name, requests=MappingProxyType({}))
        self.cluster.apply_pod(pod)
        return pod.key

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.explainer.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until_said(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.said) < count:
                await asyncio.sleep(0.01)


async def test_pods_are_explained_in_the_order_in_which_they_ask() -> None:
    stage = Stage()
    for name in ("b", "a"):
        stage.explainer.ask(stage.add(name))
    async with stage.running():
        await stage.until_said(2)
    assert [name for name, _ in stage.said] == ["b", "a"]
    assert "needs 2 devices of class gpu" in stage.said[0][1]


async def test_nothing_is_explained_while_allocation_work_waits() -> None:
    stage = Stage()
    stage.explainer.idle.clear()
    stage.explainer.ask(stage.add("a"))
    async with stage.running():
        await asyncio.sleep(0.1)
        assert stage.said == []
        stage.explainer.idle.set()
        await stage.until_said(1)


async def test_a_pod_that_fits_by_now_is_decided_again_instead() -> None:
    stage = Stage()
    key = stage.add("a")
    stage.explainer.ask(key)
    stage.publish(2)
    async with stage.running(), asyncio.timeout(20):
        while not stage.changed:
            await asyncio.sleep(0.01)
    assert (stage.changed, stage.said) == ([key], [])


async def test_a_pod_is_not_explained_again_at_once() -> None:
    stage = Stage()
    key = stage.add("a")
    stage.explainer.ask(key)
    async with stage.running():
        await stage.until_said(1)
        began = asyncio.get_running_loop().time()
        stage.explainer.ask(key)
        await stage.until_said(2)
        took = asyncio.get_running_loop().time() - began
    assert took > module.AGAIN_SECONDS / 2


async def test_a_pod_that_is_forgotten_is_not_explained() -> None:
    stage = Stage()
    first, second = stage.add("a"), stage.add("b")
    stage.explainer.ask(first)
    stage.explainer.ask(second)
    stage.explainer.forget(first)
    async with stage.running():
        await stage.until_said(1)
    assert [name for name, _ in stage.said] == ["b"]
