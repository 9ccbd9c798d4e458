# SPDX-License-Identifier: Apache-2.0
"""From the devices found to what is written into ``status.allocation``.

Decides which configuration applies to which request, and which nodes can use the devices. Never
chooses a device.

Source: ``resource.k8s.io/v1`` AllocationResult; KEP-4381 (config, nodeSelector), KEP-5007
(binding conditions, bindsToNode), KEP-5945.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from berth.engine.plan import PlannedBody, PlannedClaim
from berth.engine.records import DeviceRecord
from berth.errors import InvalidClaimError
from berth.model.claims import RequestRef
from berth.model.devices import Device
from berth.model.features import Features
from berth.model.nodes import Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.results import (
    FROM_CLAIM,
    FROM_CLASS,
    AllocationResult,
    ConfigResult,
    DeviceResult,
)
from berth.model.slices import ResourceSlice
from berth.quantity import Quantity

BEST_ALTERNATIVE = 8
"""What the first alternative of a prioritized list adds to the score (KEP-4816)."""


@dataclass(frozen=True, slots=True)
class TakenDevice:
    """A device that was found, or a share of it: then ``share_id`` and ``consumed`` are set."""

    body: PlannedBody
    record: DeviceRecord
    share_id: str | None = None
    consumed: Mapping[str, Quantity] | None = None


def assemble_result(
    planned: PlannedClaim,
    bodies: Sequence[PlannedBody],
    taken: Sequence[TakenDevice],
    node: Node,
    features: Features,
) -> AllocationResult:
    """Return the allocation of one claim.

    Args:
        planned: The claim.
        bodies: The alternative that was chosen for each request, in order of requests.
        taken: The devices in the order in which they were found.
        node: The node for which they were found.
        features: Which features are on.

    Raises:
        InvalidClaimError: If a slice has a node selector of several terms, which cannot be merged.
    """
    return AllocationResult(
        devices=tuple(_device_result(each, features) for each in taken),
        config=assemble_config(planned, bodies),
        node_selector=assemble_node_selector(
            str(planned.claim.key), [each.record for each in taken], node
        ),
    )


def _device_result(taken: TakenDevice, features: Features) -> DeviceResult:
    body, record = taken.body, taken.record
    device, binding = record.device, features.device_binding_and_status
    return DeviceResult(
        request=str(body.ref),
        driver=record.id.driver,
        pool=record.id.pool,
        device=record.id.device,
        admin_access=body.admin,
        tolerations=body.body.tolerations,
        binding_conditions=device.binding_conditions if binding else (),
        binding_failure_conditions=device.binding_failure_conditions if binding else (),
        share_id=taken.share_id,
        consumed_capacity=taken.consumed or None,
        skip_node_operations=record.slice.skip_node_operations,
    )


def assemble_config(
    planned: PlannedClaim, bodies: Sequence[PlannedBody]
) -> tuple[ConfigResult, ...]:
    """Return the configuration: of classes in order of requests, then of the claim.

    An entry that covers every request of the claim names none, which means all.
    """
    by_class: dict[str, list[PlannedBody]] = {}
    for body in bodies:
        by_class.setdefault(body.device_class.name, []).append(body)
    refs = [body.ref for body in bodies]
    found: list[ConfigResult] = []
    for users in by_class.values():
        names = tuple(str(body.ref) for body in users)
        found.extend(
            ConfigResult(FROM_CLASS, names, opaque) for opaque in users[0].device_class.config
        )
    found.extend(
        ConfigResult(FROM_CLAIM, config.requests, config.opaque)
        for config in planned.claim.spec.config
        # An entry for alternatives that were not chosen concerns nobody.
        if not config.requests or any(ref.is_named_by(config.requests) for ref in refs)
    )
    return tuple(_collapse(entry, refs) for entry in found)


def _collapse(entry: ConfigResult, refs: Sequence[RequestRef]) -> ConfigResult:
    if entry.requests and all(ref.is_named_by(entry.requests) for ref in refs):
        return ConfigResult(entry.source, (), entry.opaque)
    return entry


def assemble_node_selector(
    claim: str, taken: Sequence[DeviceRecord], node: Node
) -> NodeSelector | None:
    """Return which nodes can use the devices, or ``None`` where all can.

    Raises:
        InvalidClaimError: If a node selector has several terms.
    """
    expressions: dict[object, NodeSelectorRequirement] = {}
    fields: dict[object, NodeSelectorRequirement] = {}
    for record in taken:
        holder: ResourceSlice | Device = record.slice
        if record.slice.per_device_node_selection:
            holder = record.device
        if holder.node_name or record.device.binds_to_node:
            only = NodeSelectorRequirement("metadata.name", "In", (node.name,))
            return NodeSelector((NodeSelectorTerm(match_fields=(only,)),))
        selector = holder.node_selector
        if holder.all_nodes or selector is None or not selector.terms:
            continue
        if len(selector.terms) > 1:
            raise InvalidClaimError(
                claim,
                "",
                f"resourceslice {record.slice.name}: the node selector of device {record.id} has "
                f"{len(selector.terms)} terms, only one is supported",
                reason="InvalidNodeSelector",
            )
        _merge(fields, selector.terms[0].match_fields)
        _merge(expressions, selector.terms[0].match_expressions)
    if not expressions and not fields:
        return None
    return NodeSelector((NodeSelectorTerm(tuple(expressions.values()), tuple(fields.values())),))


def _merge(
    into: dict[object, NodeSelectorRequirement], requirements: Sequence[NodeSelectorRequirement]
) -> None:
    for each in requirements:
        into.setdefault((each.key, each.operator, frozenset(each.values)), each)


def preference_score(
    planned: Sequence[PlannedClaim], chosen: Mapping[tuple[int, int], PlannedBody]
) -> int:
    """Return how much the chosen alternatives are preferred: each the less, the later it stands."""
    return sum(
        BEST_ALTERNATIVE - request.bodies.index(chosen[claim_index, index])
        for claim_index, claim in enumerate(planned)
        for index, request in enumerate(claim.requests)
        if request.is_prioritized
    )
