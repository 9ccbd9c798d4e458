# SPDX-License-Identifier: Apache-2.0
"""On objects of others Kopf has nothing to write: ``on.event`` handlers that return nothing.

Source: ``docs/adr/0004-on-event-only.md``.
"""

from __future__ import annotations

import inspect
from typing import Any
from unittest.mock import AsyncMock

import kopf
import pytest
from kubernetes_asyncio.client import Configuration

from berth.controller.app import register, register_feeds
from berth.controller.credentials import Credentials
from berth.controller.operator import Operator
from berth.controller.served import Served
from berth.controller.settings import Settings

OURS = "berth.dev"


def writing_handlers(registry: kopf.OperatorRegistry) -> list[str]:
    """Find handlers through which Kopf would write into objects that are not Berth's."""
    findings = []
    for name in ("_changing", "_spawning"):
        findings += [
            f"{handler.id}: `{name[1:]}` handlers leave finalizers or annotations"
            for handler in getattr(registry, name).get_all_handlers()
            if handler.selector is None or handler.selector.group != OURS
        ]
    for handler in registry._watching.get_all_handlers():
        signature = inspect.signature(handler.fn)
        if "patch" in signature.parameters:
            findings.append(f"{handler.id}: takes `patch`")
        if signature.return_annotation not in ("None", None):
            findings.append(f"{handler.id}: is not declared to return nothing")
    return findings


@pytest.mark.parametrize("feed", ["informer", "kopf"])
def test_no_handler_of_berth_writes_into_objects_of_others(feed: str) -> None:
    registry = kopf.OperatorRegistry()
    settings = Settings(claims_feed=feed)  # type: ignore[arg-type]  # from parametrize
    running = register(registry, settings)
    operator = Operator(settings, Credentials(AsyncMock(), Configuration(), "test"), Served())
    register_feeds(registry, running, operator.fed_by_kopf)

    assert writing_handlers(registry) == []
    watched = {handler.id for handler in registry._watching.get_all_handlers()}
    assert ("feed-resourceclaims" in watched) is (feed == "kopf")
    assert "feed-resourceslices" in watched


def test_a_handler_that_leaves_annotations_is_found() -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.create("", "v1", "pods", id="made", registry=registry)
    async def made(**_: Any) -> None: ...

    assert writing_handlers(registry) == [
        "made: `changing` handlers leave finalizers or annotations"
    ]


def test_a_timer_is_found() -> None:
    registry = kopf.OperatorRegistry()

    @kopf.timer("", "v1", "pods", interval=1, id="tick", registry=registry)
    async def tick(**_: Any) -> None: ...

    assert writing_handlers(registry) == [
        "tick: `spawning` handlers leave finalizers or annotations"
    ]


def test_an_event_handler_that_could_write_is_found() -> None:
    registry = kopf.OperatorRegistry()

    @kopf.on.event("", "v1", "pods", id="seen", registry=registry)
    async def seen(patch: kopf.Patch, **_: Any) -> dict[str, str]:
        patch.status["seen"] = "yes"
        return {"seen": "yes"}

    assert writing_handlers(registry) == [
        "seen: takes `patch`",
        "seen: is not declared to return nothing",
    ]
