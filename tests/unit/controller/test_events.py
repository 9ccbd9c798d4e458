# SPDX-License-Identifier: Apache-2.0
"""Which events are posted, when, and in which form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from berth.controller.apierrors import ApiError, Unreachable
from berth.controller.events import (
    DROPPED_LOG_SECONDS,
    MAX_NOTE,
    MAX_WAITING_OF_NAMESPACE,
    EventRecorder,
    ObjectReference,
    TokenBucket,
    cut,
)
from berth.controller.metrics import Metrics
from berth.model.pods import Pod

POD = Pod("ml", "worker", uid="pu")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Posted:
    """Keeps what is posted; may fail as told."""

    def __init__(self) -> None:
        self.created: list[tuple[str, Mapping[str, Any]]] = []
        self.patched: list[tuple[str, Mapping[str, Any]]] = []
        self.fault: Exception | None = None

    async def create(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.fault is not None:
            raise self.fault
        self.created.append((path, body))
        return body

    async def patch(self, path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        assert kind == "merge"
        if self.fault is not None:
            raise self.fault
        self.patched.append((path, body))
        return body

    @property
    def notes(self) -> list[str]:
        return [body["note"] for _, body in self.created]


class Setting:
    def __init__(self) -> None:
        self.clock = Clock()
        self.posted = Posted()
        self.metrics = Metrics()
        self.recorder = EventRecorder(
            self.posted,  # type: ignore[arg-type] # the two methods that recorders use
            instance="berth-0",
            metrics=self.metrics,
            burst=2,
            object_seconds=30,
            clock=self.clock,
        )

    def counted(self, result: str) -> float:
        value = self.metrics.registry.get_sample_value("berth_events_total", {"result": result})
        return value or 0.0

    async def settle(self) -> None:
        """Let the recorder post what it may post now."""
        await self.recorder._post_due()


@pytest.fixture
def setting() -> Setting:
    return Setting()


async def test_an_event_has_the_form_that_describe_shows(setting: Setting) -> None:
    setting.recorder.post(POD, "Warning", "ClaimAllocationFailed", "no device", "Allocate")
    await setting.settle()
    [(path, body)] = setting.posted.created
    assert path == "/apis/events.k8s.io/v1/namespaces/ml/events"
    name = body["metadata"]["name"]
    assert name.startswith("worker.")
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ml", "name": name},
        "eventTime": body["eventTime"],
        "type": "Warning",
        "reason": "ClaimAllocationFailed",
        "action": "Allocate",
        "note": "no device",
        "reportingController": "berth.dev/berth",
        "reportingInstance": "berth-0",
        "regarding": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": "ml",
            "name": "worker",
            "uid": "pu",
        },
    }


async def test_an_event_about_a_cluster_object_goes_to_the_default_namespace(
    setting: Setting,
) -> None:
    policy = ObjectReference("berth.dev/v1alpha1", "AllocationPolicy", "", "all", "u")
    setting.recorder.post_about(policy, "Warning", "InvalidAllocationPolicy", "bad selector")
    await setting.settle()
    [(path, body)] = setting.posted.created
    assert path == "/apis/events.k8s.io/v1/namespaces/default/events"
    assert body["regarding"] == {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "AllocationPolicy",
        "name": "all",
        "uid": "u",
    }


async def test_the_same_message_is_posted_once_and_counted_every_few_minutes(
    setting: Setting,
) -> None:
    for _ in range(10):
        setting.recorder.post(POD, "Warning", "Failed", "no device")
        await setting.settle()
    assert (setting.posted.notes, setting.posted.patched) == (["no device"], [])
    setting.clock.now += 299
    await setting.settle()
    assert setting.posted.patched == []
    setting.clock.now += 1
    await setting.settle()
    [(path, body)] = setting.posted.patched
    name = setting.posted.created[0][1]["metadata"]["name"]
    assert path == f"/apis/events.k8s.io/v1/namespaces/ml/events/{name}"
    assert body["series"]["count"] == 10
    setting.clock.now += 1000
    await setting.settle()
    assert len(setting.posted.patched) == 1
    assert setting.counted("repeated") == 9


async def test_a_changed_cause_is_posted(setting: Setting) -> None:
    setting.recorder.post(POD, "Warning", "Failed", "no device")
    await setting.settle()
    setting.recorder.post(POD, "Warning", "Failed", "no node")
    await setting.settle()
    assert setting.posted.notes == ["no device", "no node"]


async def test_of_causes_that_change_fast_the_newest_is_posted(setting: Setting) -> None:
    for number in range(50):
        setting.recorder.post(POD, "Warning", "Failed", f"cause {number}")
        await setting.settle()
    assert setting.posted.notes == ["cause 0", "cause 1"]
    setting.clock.now += 30
    await setting.settle()
    assert setting.posted.notes == ["cause 0", "cause 1", "cause 49"]
    assert setting.counted("superseded") == 47


async def test_a_cause_that_comes_back_withdraws_the_one_that_waited(setting: Setting) -> None:
    for message in ("a", "b", "c", "b"):
        setting.recorder.post(POD, "Warning", "Failed", message)
        await setting.settle()
    setting.clock.now += 300
    await setting.settle()
    assert setting.posted.notes == ["a", "b"]


async def test_one_pod_does_not_use_up_the_share_of_another(setting: Setting) -> None:
    for number in range(5):
        setting.recorder.post(POD, "Warning", "Failed", f"cause {number}")
        await setting.settle()
    setting.recorder.post(Pod("ml", "other", uid="ou"), "Normal", "Allocated", "fine")
    await setting.settle()
    assert setting.posted.notes[-1] == "fine"


async def test_a_queue_that_is_full_drops_and_counts(setting: Setting) -> None:
    for number in range(1003):
        setting.recorder.post(
            Pod(f"ml-{number % 10}", f"p{number}", uid=f"u{number}"), "Normal", "R", "m"
        )
    assert setting.counted("dropped") == 3


@pytest.mark.parametrize("fault", [ApiError("POST", 403, "Forbidden"), Unreachable("POST", "down")])
async def test_an_event_that_cannot_be_posted_is_counted_and_not_in_the_way(
    setting: Setting, fault: Exception
) -> None:
    setting.posted.fault = fault
    setting.recorder.post(POD, "Warning", "Failed", "lost")
    await setting.settle()
    setting.posted.fault = None
    setting.recorder.post(POD, "Warning", "Failed", "next")
    await setting.settle()
    assert (setting.posted.notes, setting.counted("failed")) == (["next"], 1)


async def test_a_series_whose_event_has_expired_begins_anew(setting: Setting) -> None:
    setting.recorder.post(POD, "Warning", "Failed", "no device")
    await setting.settle()
    setting.recorder.post(POD, "Warning", "Failed", "no device")
    setting.clock.now += 4000

    async def gone(path: str, body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
        raise ApiError("PATCH", 404, "NotFound")

    setting.posted.patch = gone  # type: ignore[method-assign] # the event expired on the server
    await setting.settle()
    assert setting.posted.notes == ["no device", "no device"]
    names = {body["metadata"]["name"] for _, body in setting.posted.created}
    assert len(names) == 2


@asynccontextmanager
async def running(recorder: EventRecorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_task_posts_by_itself(setting: Setting) -> None:
    async with running(setting.recorder), asyncio.timeout(5):
        setting.recorder.post(POD, "Normal", "Allocated", "one")
        while len(setting.posted.created) < 1:
            await asyncio.sleep(0)
        setting.recorder.post(POD, "Normal", "Allocated", "two")
        while len(setting.posted.created) < 2:
            await asyncio.sleep(0)
    assert setting.posted.notes == ["one", "two"]


@pytest.mark.parametrize(
    ("message", "want"),
    [
        pytest.param("short", "short", id="short ones stay"),
        pytest.param("x" * 1024, "x" * 1024, id="the limit is allowed"),
        pytest.param("x" * 1025, "x" * 1021 + "…", id="longer ones end with an ellipsis"),
        pytest.param("é" * 600, "é" * 510 + "…", id="no character is cut in half"),
    ],
)
def test_a_message_is_cut_to_what_the_api_accepts(message: str, want: str) -> None:
    assert cut(message) == want
    assert len(cut(message).encode()) <= MAX_NOTE


def test_a_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(2, 0.5, 0)
    waits = []
    for now in (0, 0, 0, 1, 2, 2):
        wait = bucket.wait(now)
        waits.append(wait)
        if wait == 0:
            bucket.take(now)
    assert waits == [0, 0, 2.0, 1.0, 0, 2.0]


def pods(namespace: str, count: int) -> list[Pod]:
    return [Pod(namespace, f"p{n}", uid=f"{namespace}-{n}") for n in range(count)]


async def test_one_namespace_cannot_use_up_the_events_of_all(setting: Setting) -> None:
    for each in [*pods("greedy", 150), *pods("modest", 3)]:
        setting.recorder.post(each, "Warning", "Failed", "does not fit")
    await setting.settle()
    spaces = [body["metadata"]["namespace"] for _, body in setting.posted.created]
    assert [spaces.count(each) for each in ("greedy", "modest")] == [50, 3]
    setting.clock.now += 2.0
    await setting.settle()
    assert len(setting.posted.created) == 53 + 10


async def test_what_waits_too_long_is_dropped_counted_and_told_once_a_minute(
    setting: Setting,
) -> None:
    with structlog.testing.capture_logs() as lines:
        for each in pods("greedy", MAX_WAITING_OF_NAMESPACE + 7):
            setting.recorder.post(each, "Warning", "Failed", "does not fit")
        setting.clock.now += DROPPED_LOG_SECONDS
        setting.recorder.post(Pod("greedy", "last", uid="last"), "Warning", "Failed", "no")
    get = setting.metrics.registry.get_sample_value
    assert get("berth_events_dropped_total") == 8
    assert setting.counted("dropped") == 8
    assert [line["reason"] for line in lines if line["event"] == "events dropped"] == [
        "1 since the last such line, most of namespace greedy",
        "7 since the last such line, most of namespace greedy",
    ]


async def test_room_for_a_namespace_comes_back_when_its_events_are_posted(
    setting: Setting,
) -> None:
    for each in pods("greedy", MAX_WAITING_OF_NAMESPACE):
        setting.recorder.post(each, "Warning", "Failed", "does not fit")
    await setting.settle()
    for each in pods("greedy", MAX_WAITING_OF_NAMESPACE + 50)[-50:]:
        setting.recorder.post(each, "Warning", "Failed", "does not fit")
    assert setting.counted("dropped") == 0
