# SPDX-License-Identifier: Apache-2.0
"""The fence: the device taint that keeps every allocator but Berth away.

Decides which taints are the fence and which tolerations go through it. Berth looks past the fence
and past no other taint. Never puts up a fence: the chart does, and Berth has no right to.

Source: KEP-5055; ``resource.k8s.io/v1`` DeviceTaintRule.
"""

from __future__ import annotations

from dataclasses import replace

from berth.model.devices import DeviceTaint, TaintEffect
from berth.model.slices import ResourceSlice
from berth.model.tolerations import DeviceToleration

FENCE_KEY = "berth.dev/fence"
"""Key of the taint; its value does not matter."""


def is_fence(taint: DeviceTaint) -> bool:
    """Tell whether ``taint`` is the fence.

    One that evicts is not, whatever its key: devices given behind it would be taken away at once.
    """
    return taint.key == FENCE_KEY and taint.effect is TaintEffect.NO_SCHEDULE


def goes_through(toleration: DeviceToleration) -> bool:
    """Tell whether a request with ``toleration`` gets fenced devices from any allocator."""
    return toleration.key in {"", FENCE_KEY} and toleration.effect in {
        "",
        TaintEffect.NO_SCHEDULE.value,
    }


def without_fence(published: ResourceSlice) -> ResourceSlice:
    """Return the slice as Berth sees it; the same object where its driver puts up no fence."""
    if not any(is_fence(taint) for device in published.devices for taint in device.taints):
        return published
    devices = (
        replace(device, taints=tuple(t for t in device.taints if not is_fence(t)))
        for device in published.devices
    )
    return replace(published, devices=tuple(devices))
