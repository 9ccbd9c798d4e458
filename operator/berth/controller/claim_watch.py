# SPDX-License-Identifier: Apache-2.0
"""What the changes of a claim tell that its state alone does not.

Decides which device has failed a pod that kube-scheduler was placing, and which claim flaps.
Writes nothing but events.

Source: KEP-5007; kube-scheduler's DynamicResources plugin, which clears an allocation whose
devices were not ready in time; kubernetes issue 141274.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from berth.controller.avoided import Avoided
from berth.controller.events import EventRecorder, ObjectReference
from berth.controller.flapping import FlappingClaims
from berth.model.binding import Unready, broken_devices, unready_devices
from berth.model.claims import ResourceClaim
from berth.model.pods import Pod
from berth.state.cluster import Cluster

BINDING_FAILED = "DeviceBindingFailed"
FLAPPING = "ClaimConsumersFlapping"

log = structlog.get_logger("berth.lifecycle")


class ClaimWatch:
    """Sees each claim before and after a change; only who may write says anything about it."""

    def __init__(
        self,
        cluster: Cluster,
        events: EventRecorder,
        avoided: Avoided,
        *,
        may_write: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._avoided = avoided
        self._may_write = may_write
        self._clock = clock
        self._flapping = FlappingClaims()

    def changed(self, old: ResourceClaim | None, new: ResourceClaim) -> None:
        """Note that a claim was observed as ``new``; ``old`` is how it was known before."""
        if old is None or old.uid != new.uid or self._cluster.claims.get(new.key) is not new:
            return  # A new object, or old news.
        if old.reserved_for != new.reserved_for:
            before, after = (
                {each.uid for each in claim.reserved_for if each.resource == "pods"}
                for claim in (old, new)
            )
            flaps = self._flapping.changed(new.uid, before, after, self._clock())
            if flaps and self._may_write():
                self._say_flapping(new)
        if (
            old.allocation is not None
            and any(each.binding_conditions for each in old.allocation.devices)
            and self._cluster.is_ours(new)
        ):
            self._binding(old, new)

    def _binding(self, old: ResourceClaim, new: ResourceClaim) -> None:
        """See whether devices have failed a pod without a gate, which kube-scheduler was placing.

        Pods behind Berth's gate are looked after when they are decided.
        """
        pods = self._being_placed(old)
        if not pods:
            return
        known = broken_devices(old)
        # kube-scheduler drops its reservation first and the allocation later, so what is known to
        # have failed is told of then too: its pod may not have been seen without a gate before.
        broken = (
            known
            if new.allocation is None
            else tuple(each for each in broken_devices(new) if each not in known)
        )
        failed = [(each.device, str(each)) for each in broken]
        if new.allocation is None and not known:
            failed = [(each.device, _given_up(each)) for each in unready_devices(old)]
        if not failed:
            return
        self._avoided.avoid(device for device, _ in failed)
        if not self._may_write():
            return
        for _, why in failed:
            text = f"{why}; the device is avoided for {self._avoided.seconds:g} s"
            for pod in pods:
                message = f"claim {new.key}: {text}"
                self._events.post(pod, "Warning", BINDING_FAILED, message, "Allocate")
            log.warning("device not bound", claim=str(new.key), reason=why)

    def _being_placed(self, claim: ResourceClaim) -> tuple[Pod, ...]:
        """Return the pods that refer to the claim and that kube-scheduler looks for a node for."""
        pods = (self._cluster.pods[key] for key in self._cluster.pods_of_claim(claim.key))
        return tuple(
            pod
            for pod in pods
            if not (pod.gates or pod.node_name or pod.deleting or pod.is_terminal)
        )

    def _say_flapping(self, claim: ResourceClaim) -> None:
        message = (
            f"claim {claim.key}: a consumer leaves and joins again without end: "
            "kube-controller-manager reserves the claim for a finished pod and drops it again: "
            "delete the finished pod"
        )
        about = ObjectReference(
            "resource.k8s.io/v1", "ResourceClaim", claim.namespace, claim.name, claim.uid
        )
        self._events.post_about(about, "Warning", FLAPPING, message, "Observe")
        log.warning("claim flaps", claim=str(claim.key))


def _given_up(unready: Unready) -> str:
    return f"kube-scheduler has given the allocation up while {unready}"
