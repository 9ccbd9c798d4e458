# SPDX-License-Identifier: Apache-2.0
"""Every kind of finding, by name: the closed set that metrics and documents are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from berth.audit import findings_claims, findings_devices, findings_pods
from berth.audit.finding import Finding

KINDS: Mapping[str, type[Finding]] = MappingProxyType(
    {
        each.kind: each
        for each in (
            findings_devices.DeviceHeldTwice,
            findings_devices.DeviceNotShareable,
            findings_devices.CountersOverCommitted,
            findings_devices.CapacityOverCommitted,
            findings_claims.AllocationWithoutTimestamp,
            findings_claims.DeviceNotPublished,
            findings_claims.AllocatedNodeGone,
            findings_claims.FinalizerMissing,
            findings_claims.StaleConsumer,
            findings_claims.UnusedAllocation,
            findings_claims.FinishedPodLoop,
            findings_claims.ForeignWriter,
            findings_claims.FenceBroken,
            findings_pods.StuckGate,
        )
    }
)
