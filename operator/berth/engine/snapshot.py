# SPDX-License-Identifier: Apache-2.0
"""Everything that one decision may look at.

Decides nothing. Nobody changes what a snapshot refers to while a decision is being made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from berth.engine.allocated import AllocatedState
from berth.engine.inventory import Inventory
from berth.model.features import Features
from berth.model.slices import DeviceClass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cluster at one moment: devices, classes, what is taken, and which features are on.

    ``classes`` is by name. ``features`` are those with which ``inventory`` was built.
    """

    inventory: Inventory
    classes: Mapping[str, DeviceClass]
    allocated: AllocatedState
    features: Features = field(default_factory=Features)
