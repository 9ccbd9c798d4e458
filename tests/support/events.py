# SPDX-License-Identifier: Apache-2.0
"""Waiting for an Event about an object."""

from __future__ import annotations

from typing import Any

from tests.support.kube import Kube


async def wait_for_event(
    kube: Kube, namespace: str, name: str, reason: str, within: float = 20
) -> dict[str, Any]:
    found = await kube.wait_all(
        "events",
        lambda items: any(
            each["reason"] == reason and each["regarding"]["name"] == name for each in items
        ),
        namespace,
        within=within,
        what=f"event {reason} about {name}",
    )
    return next(
        each for each in found if each["reason"] == reason and each["regarding"]["name"] == name
    )
