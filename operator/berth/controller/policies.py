# SPDX-License-Identifier: Apache-2.0
"""Tells the owners of AllocationPolicies whether their policy is used: condition and event.

Decides nothing about claims. Writes only when this replica leads, and only what differs.

Source: ``berth.dev/v1alpha1`` AllocationPolicy, ``status.conditions``.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog

from berth.codec.policies import encode_policy_status
from berth.controller.api import ApiClient
from berth.controller.apierrors import ApiError, Unreachable
from berth.controller.bodies import timestamp
from berth.controller.events import EventRecorder, ObjectReference
from berth.errors import DecodeError

PATH = "/apis/berth.dev/v1alpha1/allocationpolicies"
INVALID = "InvalidAllocationPolicy"
RETRY_SECONDS = 5.0

log = structlog.get_logger("berth.policies")


class PolicyStatusWriter:
    """Writes ``status`` of AllocationPolicies, newest verdict per policy."""

    def __init__(
        self,
        api: ApiClient,
        events: EventRecorder,
        *,
        may_write: Callable[[], bool],
        clock_now: Callable[[], datetime.datetime],
    ) -> None:
        self._api = api
        self._events = events
        self._may_write = may_write
        self._clock_now = clock_now
        self._verdicts: dict[str, tuple[Mapping[str, Any], DecodeError | None]] = {}
        self._wake = asyncio.Event()

    def accepted(self, raw: Mapping[str, Any]) -> None:
        """Note that the policy is in use."""
        self._note(raw, None)

    def refused(self, raw: Mapping[str, Any], error: DecodeError) -> None:
        """Note that the policy cannot be used, and why."""
        self._note(raw, error)

    def poke(self) -> None:
        """Say that this replica may write now."""
        self._wake.set()

    def _note(self, raw: Mapping[str, Any], error: DecodeError | None) -> None:
        self._verdicts[raw["metadata"]["name"]] = (raw, error)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._may_write():
                continue
            for name in list(self._verdicts):
                raw, error = self._verdicts.pop(name)
                try:
                    await self._write(raw, error)
                except (ApiError, Unreachable) as failure:
                    log.warning("policy status not written", error=str(failure))
                    self._verdicts.setdefault(name, (raw, error))
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)

    async def _write(self, raw: Mapping[str, Any], error: DecodeError | None) -> None:
        metadata = raw["metadata"]
        if error is not None:
            reference = ObjectReference(
                "berth.dev/v1alpha1", "AllocationPolicy", "", metadata["name"], metadata["uid"]
            )
            self._events.post_about(reference, "Warning", INVALID, str(error))
        status = encode_policy_status(raw, error, timestamp(self._clock_now()))
        if status is None:
            return
        try:
            await self._api.patch(
                f"{PATH}/{metadata['name']}/status",
                {"metadata": {"uid": metadata["uid"]}, "status": status},
                "merge",
            )
        except ApiError as failure:
            # Deleted or re-created meanwhile: its own event brings the new verdict.
            if failure.status not in {HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY}:
                raise
