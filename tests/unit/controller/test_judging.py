# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from berth.controller.fairness import Shares
from berth.controller.judging import Judge
from berth.engine.inventory import Inventory
from berth.engine.patience import JudgementPending
from berth.engine.records import DeviceRecord
from berth.engine.verdicts import SelectorTable
from berth.model.pods import PodKey
from tests.support.builders import a_slice, devices

COSTLY = (
    f"[{','.join(map(str, range(150)))}].all(x, [{','.join('123456789' * 5)}].all(y, x + y > 0))"
)
ANN, BOB, CAT = PodKey("a", "ann"), PodKey("b", "bob"), PodKey("a", "cat")


def costly_table(
    expression: str = COSTLY, count: int = 1
) -> tuple[SelectorTable, tuple[DeviceRecord, ...]]:
    made = a_slice(devices(count))
    inventory = Inventory.build([made])
    inventory.patience.later = True
    return inventory.verdicts(expression), inventory.devices


class Asked:
    """A judge at work, with what it has said."""

    def __init__(self) -> None:
        self.done: list[PodKey] = []
        self.said = asyncio.Event()
        self.judge = Judge(Shares(), judged=self._judged)

    def _judged(self, pod: PodKey) -> None:
        self.done.append(pod)
        self.said.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.done) < count:
                self.said.clear()
                await self.said.wait()


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    made = Asked()
    running = asyncio.ensure_future(made.judge.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def pending(table: SelectorTable, record: DeviceRecord) -> JudgementPending:
    with pytest.raises(JudgementPending) as caught:
        table.verdict(record)
    return caught.value


async def test_a_question_is_answered_and_the_pod_is_told(asked: Asked) -> None:
    table, (record,) = costly_table()
    asked.judge.ask(ANN, pending(table, record))
    await asked.until(1)
    assert asked.done == [ANN]
    assert table.verdict(record) is True


async def test_pods_that_ask_the_same_are_told_together(asked: Asked) -> None:
    table, (record,) = costly_table()
    for pod in (ANN, CAT):
        asked.judge.ask(pod, pending(table, record))
    await asked.until(2)
    assert sorted(asked.done) == [ANN, CAT]


async def test_a_pod_that_is_gone_is_not_told(asked: Asked) -> None:
    table, (record,) = costly_table()
    asked.judge.ask(ANN, pending(table, record))
    asked.judge.ask(BOB, pending(table, record))
    asked.judge.forget(ANN)
    asked.judge.forget(CAT)
    await asked.until(1)
    assert asked.done == [BOB]


async def test_namespaces_take_turns(asked: Asked) -> None:
    # It reads a different text of each device, so that each is judged on its own.
    table, records = costly_table(f"{COSTLY} && string(device) != 'x'", count=4)
    order = [PodKey("a", "1"), PodKey("a", "2"), PodKey("a", "3"), PodKey("b", "1")]
    for pod, record in zip(order, records, strict=True):
        asked.judge.ask(pod, JudgementPending(table, record))
    await asked.until(4)
    assert asked.done.index(PodKey("b", "1")) == 1
