# SPDX-License-Identifier: Apache-2.0
"""Kubernetes events about pods and policies: few, current, and never in the way.

Decides which events are worth a write. The same message about the same object is posted once,
and after that only counted, with an update every few minutes. A message that changes faster than
its object's share allows is held back, and only the newest is posted. Never blocks the caller,
never fails it: an event that cannot be posted is counted and dropped.

Source: ``events.k8s.io/v1`` Event; ``kubectl describe`` shows these.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import structlog

from berth.audit.words import printable
from berth.controller.api import ApiClient, event_path, events_path
from berth.controller.apierrors import ApiError, Unreachable
from berth.model.pods import Pod

if TYPE_CHECKING:
    from berth.controller.metrics import Metrics

MAX_NOTE = 1024
"""Bytes of an event's note that the API accepts."""
SERIES_SECONDS = 300.0
"""How often the count of a message that goes on unchanged is brought up to date."""
MAX_WAITING = 1000
MAX_WAITING_OF_NAMESPACE = 200
"""So many may wait of one namespace: what waits behind them would be said out of date."""
DROPPED_LOG_SECONDS = 60.0
"""Least time between two log lines about events that were dropped."""
MAX_REMEMBERED = 10_000
DEFAULT_NAMESPACE = "default"
"""Where events about objects without a namespace are, by convention."""

K = TypeVar("K")
V = TypeVar("V")

log = structlog.get_logger("berth.events")


class ObjectReference(NamedTuple):
    """What an event is about; ``namespace`` is empty for objects without one."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Subject(NamedTuple):
    """What counts as one thing to say: an object and a reason, whatever the message."""

    uid: str
    reason: str


@dataclass(slots=True)
class _Waiting:
    """An event that is to be posted."""

    about: ObjectReference
    type: str
    reason: str
    message: str
    action: str


@dataclass(slots=True)
class _Said:
    """What was last posted about a subject, and how often it was said since."""

    event: _Waiting
    name: str
    count: int
    posted_at: float
    counted: int


class TokenBucket:
    """Lets ``burst`` through at once, and ``per_second`` in the long run."""

    __slots__ = ("_burst", "_per_second", "_tokens", "_when")

    def __init__(self, burst: float, per_second: float, now: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._when = now

    def wait(self, now: float) -> float:
        """Return the seconds until a token is there; 0 if there is one."""
        self._fill(now)
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def take(self, now: float) -> None:
        """Take a token that `wait` said is there."""
        self._fill(now)
        self._tokens -= 1.0

    def _fill(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + (now - self._when) * self._per_second)
        self._when = now


class EventRecorder:
    """Takes events at any rate, posts those that matter; ``run`` does the posting.

    ``instance`` names the replica in each event. An object may have ``burst`` events at once and
    one more every ``object_seconds``; the objects of one namespace together ``namespace_burst`` at
    once and ``namespace_per_second`` in the long run, and all objects ``total_burst`` and
    ``total_per_second``.
    """

    def __init__(  # noqa: PLR0913 - one limit each
        self,
        api: ApiClient,
        *,
        instance: str,
        component: str = "berth",
        metrics: Metrics | None = None,
        burst: int = 5,
        object_seconds: float = 30.0,
        namespace_burst: int = 50,
        namespace_per_second: float = 5.0,
        total_burst: int = 100,
        total_per_second: float = 25.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._controller = component if "/" in component else f"berth.dev/{component}"
        self._instance = instance
        self._metrics = metrics
        self._burst = burst
        self._per_second = 1.0 / object_seconds
        self._clock = clock
        self._total = TokenBucket(total_burst, total_per_second, clock())
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()
        self._of_namespace = (namespace_burst, namespace_per_second)
        self._namespaces: OrderedDict[str, TokenBucket] = OrderedDict()
        self._waiting_of: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._dropped_said = float("-inf")
        self._said: OrderedDict[Subject, _Said] = OrderedDict()
        self._waiting: OrderedDict[Subject, _Waiting] = OrderedDict()
        self._repeated: dict[Subject, None] = {}
        self._wake = asyncio.Event()

    def post(
        self, pod: Pod, type_: str, reason: str, message: str, action: str = "Allocate"
    ) -> None:
        """Have an event about a pod posted, unless it has been said already.

        Args:
            pod: What it is about.
            type_: ``Normal`` or ``Warning``.
            reason: PascalCase word, from a small set.
            message: One line; cut to what the API accepts, and made printable.
            action: PascalCase word for what Berth tried to do.
        """
        about = ObjectReference("v1", "Pod", pod.namespace, pod.name, pod.uid)
        self.post_about(about, type_, reason, message, action)

    def post_about(
        self,
        about: ObjectReference,
        type_: str,
        reason: str,
        message: str,
        action: str = "Reconcile",
    ) -> None:
        """Have an event about any object posted; as `post`."""
        event = _Waiting(about, type_, reason, cut(printable(message)), action)
        subject = Subject(about.uid, reason)
        said = self._said.get(subject)
        if said is not None and said.event.message == event.message:
            # Where another message was waiting, it is out of date: what was said is so again.
            self._no_longer_waiting(subject)
            said.count += 1
            self._count("repeated")
            if subject not in self._repeated:
                self._repeated[subject] = None
                self._wake.set()
            return
        namespace = _namespace(about)
        if subject in self._waiting:
            self._count("superseded")
        elif (
            len(self._waiting) >= MAX_WAITING
            or self._waiting_of[namespace] >= MAX_WAITING_OF_NAMESPACE
        ):
            self._drop(namespace)
            return
        else:
            self._waiting_of[namespace] += 1
        self._waiting[subject] = event
        self._wake.set()

    def _no_longer_waiting(self, subject: Subject) -> _Waiting | None:
        event = self._waiting.pop(subject, None)
        if event is not None:
            namespace = _namespace(event.about)
            self._waiting_of[namespace] -= 1
            if not self._waiting_of[namespace]:
                del self._waiting_of[namespace]
        return event

    def _drop(self, namespace: str) -> None:
        self._count("dropped")
        if self._metrics is not None:
            self._metrics.events_dropped.inc()
        self._dropped[namespace] += 1
        now = self._clock()
        if now - self._dropped_said >= DROPPED_LOG_SECONDS:
            (most, _), *_ = self._dropped.most_common(1)
            text = f"{self._dropped.total()} since the last such line, most of namespace {most}"
            log.warning("events dropped", reason=text)
            self._dropped.clear()
            self._dropped_said = now

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            # Cleared first: what is posted while requests are under way must not wait for more.
            self._wake.clear()
            pause = await self._post_due()
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _post_due(self) -> float | None:
        """Post what may be posted now; return the seconds until something else may be."""
        pauses: list[float] = []
        for subject in list(self._waiting):
            now = self._clock()
            if (pause := self._total.wait(now)) > 0:
                pauses.append(pause)
                break
            waiting = self._waiting.get(subject)
            if waiting is None:
                continue
            bucket = self._bucket(subject.uid, now)
            of_namespace = self._bucket_of(_namespace(waiting.about), now)
            if (pause := max(bucket.wait(now), of_namespace.wait(now))) > 0:
                pauses.append(pause)
                continue
            event = self._no_longer_waiting(subject)
            if event is not None:
                for each in (self._total, bucket, of_namespace):
                    each.take(now)
                await self._post(subject, event)
        pauses += await self._update_series()
        return min(pauses, default=None)

    async def _update_series(self) -> list[float]:
        pauses: list[float] = []
        for subject in list(self._repeated):
            said = self._said.get(subject)
            if said is None or said.count == said.counted:
                del self._repeated[subject]
                continue
            now = self._clock()
            of_namespace = self._bucket_of(_namespace(said.event.about), now)
            limits = max(self._total.wait(now), of_namespace.wait(now))
            pause = max(said.posted_at + SERIES_SECONDS - now, limits)
            if pause > 0:
                pauses.append(pause)
                continue
            self._total.take(now)
            of_namespace.take(now)
            del self._repeated[subject]
            said.posted_at, said.counted = now, said.count
            await self._send(self._continue(said))
        return pauses

    # --- one event

    async def _post(self, subject: Subject, event: _Waiting) -> None:
        name = f"{event.about.name[:200]}.{uuid.uuid4().hex[:16]}"
        said = _Said(event, name, 1, self._clock(), 1)
        # Remembered before it is sent: said once is enough, whatever becomes of the request.
        remember(self._said, subject, said, MAX_REMEMBERED)
        await self._send(self._create(said))

    async def _create(self, said: _Said) -> str:
        about = said.event.about
        body: dict[str, Any] = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"namespace": _namespace(about), "name": said.name},
            "eventTime": _now(),
            "type": said.event.type,
            "reason": said.event.reason,
            "action": said.event.action,
            "note": said.event.message,
            "reportingController": self._controller,
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.name,
                "uid": about.uid,
                **({"namespace": about.namespace} if about.namespace else {}),
            },
        }
        await self._api.create(events_path(_namespace(about)), body)
        return "posted"

    async def _continue(self, said: _Said) -> str:
        path = event_path(_namespace(said.event.about), said.name)
        series = {"count": said.count, "lastObservedTime": _now()}
        try:
            await self._api.patch(path, {"series": series}, "merge")
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # Events live an hour by default; what is still so deserves a new one.
            said.name = f"{said.event.about.name[:200]}.{uuid.uuid4().hex[:16]}"
            return await self._create(said)
        return "counted"

    async def _send(self, request: Any) -> None:
        try:
            self._count(await request)
        except (ApiError, Unreachable) as error:
            self._count("failed")
            log.warning("event not posted", error=str(error))

    def _bucket(self, uid: str, now: float) -> TokenBucket:
        bucket = self._buckets.get(uid)
        if bucket is None:
            bucket = TokenBucket(self._burst, self._per_second, now)
        remember(self._buckets, uid, bucket, MAX_REMEMBERED)
        return bucket

    def _bucket_of(self, namespace: str, now: float) -> TokenBucket:
        bucket = self._namespaces.get(namespace)
        if bucket is None:
            bucket = TokenBucket(*self._of_namespace, now)
        remember(self._namespaces, namespace, bucket, MAX_REMEMBERED)
        return bucket

    def _count(self, result: str) -> None:
        if self._metrics is not None:
            self._metrics.events.labels(result).inc()


def cut(message: str, limit: int = MAX_NOTE) -> str:
    """Return ``message`` in at most ``limit`` bytes of UTF-8, cut between characters.

    A message that was cut ends with an ellipsis.
    """
    encoded = message.encode()
    if len(encoded) <= limit:
        return message
    ellipsis = "…"
    head = encoded[: limit - len(ellipsis.encode())].decode(errors="ignore")
    return head + ellipsis


def remember(known: OrderedDict[K, V], key: K, value: V, limit: int) -> None:
    """Enter ``value`` as the newest; beyond ``limit`` entries the oldest is forgotten."""
    known[key] = value
    known.move_to_end(key)
    if len(known) > limit:
        known.popitem(last=False)


def _namespace(about: ObjectReference) -> str:
    return about.namespace or DEFAULT_NAMESPACE


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
