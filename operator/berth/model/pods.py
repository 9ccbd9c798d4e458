# SPDX-License-Identifier: Apache-2.0
"""What allocation and placement read of a pod.

Decides nothing beyond resolving a pod's claim references to claim names.

Source: core/v1 Pod; KEP-4381 for claim references, KEP-3521 for scheduling gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from berth.model.nodes import NodeSelector

DEVICE_CLASS_PREFIX = "deviceclass.resource.kubernetes.io/"
"""What an extended resource name that means a DeviceClass by its name begins with (KEP-5004)."""
SCHEDULING_GATE = "berth.dev/dra"
"""The scheduling gate that holds a pod until Berth has allocated its claims."""
TERMINAL_PHASES = frozenset({"Succeeded", "Failed"})


class PodKey(NamedTuple):
    """Namespace and name of a pod; text form ``namespace/name``."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class PodClaimReference:
    """One entry of ``spec.resourceClaims``: exactly one of claim and template is set.

    ``containers`` is how many containers of the pod use it, init containers included.
    """

    name: str
    claim_name: str | None = None
    template_name: str | None = None
    containers: int = 0


@dataclass(frozen=True, slots=True)
class PodToleration:
    """A toleration of node taints, spelled as the API spells it."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host port that a pod occupies; ``ip`` is ``0.0.0.0`` where the pod names none."""

    protocol: str
    port: int
    ip: str = "0.0.0.0"  # noqa: S104 - the API's wildcard, not an address to listen on


@dataclass(frozen=True, slots=True)
class ExtendedRequest:
    """What one container asks for of one extended resource (KEP-5004).

    ``container`` counts init containers first, then containers; ``position`` counts all resources
    that the container requests, ``cpu`` and ``memory`` too, in order of name.
    """

    container: int
    position: int
    resource: str
    count: int

    @property
    def request_name(self) -> str:
        """The name of the request that kube-scheduler makes of it."""
        return f"container-{self.container}-request-{self.position}"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod.

    ``requests`` is what the pod asks of its node, summed as kube-scheduler sums it (containers,
    init containers and sidecars, overhead, pod-level resources): ``cpu`` in milli-units, every
    other resource in whole units. ``claim_names`` maps the entries of
    ``status.resourceClaimStatuses``; a value of ``None`` says that no claim is needed.
    ``extended_requests`` is the part of that which DeviceClasses may stand for, by container.
    ``pod_level_room`` is what pod-level requests leave for devices beside the containers, for the
    resources that have one.
    ``finished`` is when the last condition of a terminal pod changed, as the API has it; empty for
    other pods, and where the object does not tell.
    ``unmodelled`` names scheduling features that Berth does not weigh (pod affinity, topology
    spread, volumes), in a fixed order.
    """

    namespace: str
    name: str
    uid: str = ""
    resource_version: str = ""
    created: str = ""
    priority: int = 0
    phase: str = "Pending"
    node_name: str = ""
    deleting: bool = False
    scheduler_name: str = "default-scheduler"
    gates: tuple[str, ...] = ()
    claims: tuple[PodClaimReference, ...] = ()
    claim_names: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    node_selector: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    required_affinity: NodeSelector | None = None
    tolerations: tuple[PodToleration, ...] = ()
    requests: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pod_level_room: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    extended_requests: tuple[ExtendedRequest, ...] = ()
    host_ports: tuple[HostPort, ...] = ()
    unmodelled: tuple[str, ...] = ()
    unschedulable_message: str = ""
    owner_kind: str = ""
    pod_group: str = ""
    finished: str = ""

    @property
    def key(self) -> PodKey:
        """Namespace and name."""
        return PodKey(self.namespace, self.name)

    @property
    def is_terminal(self) -> bool:
        """Tell whether the pod has finished."""
        return self.phase in TERMINAL_PHASES

    @property
    def is_gated(self) -> bool:
        """Tell whether Berth's own gate is on the pod."""
        return SCHEDULING_GATE in self.gates

    def resolved_claims(self) -> tuple[tuple[PodClaimReference, str | None], ...]:
        """Return each reference with the name of its claim, ``None`` while there is none yet.

        References for which the pod's status says that no claim is needed are left out.
        """
        resolved: list[tuple[PodClaimReference, str | None]] = []
        for reference in self.claims:
            if reference.claim_name is not None:
                resolved.append((reference, reference.claim_name))
            elif reference.name not in self.claim_names:
                resolved.append((reference, None))
            elif (name := self.claim_names[reference.name]) is not None:
                resolved.append((reference, name))
        return tuple(resolved)
