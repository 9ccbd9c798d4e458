# SPDX-License-Identifier: Apache-2.0
"""Short ways to run the engine on a hand-made cluster, and to read its answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from berth.engine.allocated import AllocatedState
from berth.engine.allocator import allocate
from berth.engine.inventory import Inventory
from berth.engine.outcomes import DEFAULT_BUDGET, Allocated, Outcome
from berth.engine.snapshot import Snapshot
from berth.model.claims import ResourceClaim
from berth.model.devices import DeviceID
from berth.model.features import Features
from berth.model.nodes import Node
from berth.model.slices import DeviceClass, DeviceTaintRule, ResourceSlice
from tests.support import builders

DEFAULTS = Features()


def a_snapshot(
    slices: Sequence[ResourceSlice] | ResourceSlice,
    *,
    classes: Iterable[DeviceClass] | None = None,
    in_use: Mapping[str, str] | None = None,
    rules: Sequence[DeviceTaintRule] = (),
    features: Features = DEFAULTS,
) -> Snapshot:
    """A snapshot with class ``gpu``; ``in_use`` maps ``driver/pool/device`` to its holder."""
    if isinstance(slices, ResourceSlice):
        slices = [slices]
    known = [builders.a_class()] if classes is None else list(classes)
    return Snapshot(
        Inventory.build(slices, rules, features),
        {each.name: each for each in known},
        AllocatedState(
            holders={device_id(text): (holder,) for text, holder in (in_use or {}).items()}
        ),
        features,
    )


def device_id(text: str) -> DeviceID:
    driver, rest = text.split("/", 1)
    pool, device = rest.rsplit("/", 1)
    return DeviceID(driver, pool, device)


def attempt(
    snapshot: Snapshot,
    *claims: ResourceClaim,
    node: Node | None = None,
    budget: int = DEFAULT_BUDGET,
) -> Outcome:
    return allocate(snapshot, node or builders.a_node(), claims, budget=budget)


def given(outcome: Outcome) -> list[list[str]] | Outcome:
    """The devices of each claim as ``request=device``; or the outcome, if it is no success."""
    if not isinstance(outcome, Allocated):
        return outcome
    return [
        [f"{device.request}={device.device}" for device in result.devices]
        for result in outcome.results
    ]
