# SPDX-License-Identifier: Apache-2.0
"""In which order nodes are tried, by placement policy.

Decides the order only: every node of the input is in the output, whatever its devices. Counts
devices by class alone; whether they fit a request is for ``berth.engine``.

Source: Berth's own AllocationPolicy, field ``placement``.
"""

from __future__ import annotations

from collections.abc import Sequence

from berth.engine.records import DeviceRecord
from berth.engine.snapshot import Snapshot
from berth.model.claims import ResourceClaim
from berth.model.policy import Placement
from berth.model.slices import DeviceClass
from berth.model.usage import NodeState


def in_order(
    snapshot: Snapshot,
    claims: Sequence[ResourceClaim],
    nodes: Sequence[NodeState],
    policy: str,
) -> tuple[NodeState, ...]:
    """Return the nodes in the order in which ``policy`` tries them; equal ones by name.

    Args:
        snapshot: What is published and what is in use.
        claims: The claims to be allocated; they name the classes whose devices are counted.
        nodes: The nodes that the pod may go to.
        policy: ``FirstFit`` by name, ``Pack`` with the fewest free devices first, ``Spread`` with
            the most.

    Raises:
        ValueError: If ``policy`` is none of these.
    """
    by_name = sorted(nodes, key=lambda state: state.node.name)
    match Placement(policy):
        case Placement.FIRST_FIT:
            return tuple(by_name)
        case Placement.PACK:
            return tuple(sorted(by_name, key=lambda s: free_devices(snapshot, claims, s)))
        case Placement.SPREAD:
            return tuple(sorted(by_name, key=lambda s: -free_devices(snapshot, claims, s)))


def free_devices(snapshot: Snapshot, claims: Sequence[ResourceClaim], state: NodeState) -> int:
    """Return how many devices of the claims' classes the node sees that nobody holds."""
    names = {name for claim in claims for name in claim.spec.class_names}
    classes = [snapshot.classes[name] for name in sorted(names) if name in snapshot.classes]
    taken = snapshot.allocated
    return sum(
        record.id not in taken.holders
        and record.id not in taken.shared
        and any(_is_of_class(snapshot, record, each) for each in classes)
        for record in snapshot.inventory.view(state.node).devices
    )


def _is_of_class(snapshot: Snapshot, record: DeviceRecord, device_class: DeviceClass) -> bool:
    # A selector that fails is the engine's to report, where the search reaches the device.
    return all(
        selector.cel is not None
        and snapshot.inventory.verdicts(selector.cel).verdict(record) is True
        for selector in device_class.selectors
    )
