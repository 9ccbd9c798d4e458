# SPDX-License-Identifier: Apache-2.0
"""One after the other for each key, and nothing kept afterwards."""

from __future__ import annotations

import asyncio

import pytest

from berth.controller.turns import Turns


async def test_who_wants_the_same_key_waits_and_others_do_not() -> None:
    turns: Turns[str] = Turns()
    order: list[str] = []
    go = asyncio.Event()

    async def want(key: str, name: str) -> None:
        async with turns.of(key):
            order.append(f"{name} has {key}")
            if name == "first":
                await go.wait()

    async with asyncio.TaskGroup() as group:
        for key, name in (("a", "first"), ("a", "second"), ("a", "third"), ("b", "other")):
            group.create_task(want(key, name))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["first has a", "other has b"]
        assert len(turns) == 1
        go.set()
    assert order[2:] == ["second has a", "third has a"]
    assert len(turns) == 0


async def test_a_turn_ends_with_an_exception_too() -> None:
    turns: Turns[str] = Turns()
    with pytest.raises(RuntimeError, match="boom"):
        async with turns.of("a"):
            raise RuntimeError("boom")
    assert len(turns) == 0
