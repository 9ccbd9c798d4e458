# SPDX-License-Identifier: Apache-2.0
"""What is taken before an attempt begins: the persistent input of the search.

A read-only view: whoever provides the mappings (the ledger, a scenario, a vector) must not change
them while an attempt runs. What an attempt takes itself is in ``berth.engine.search``.

Source: KEP-4381; KEP-5075 for shares and consumed capacity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from berth.model.devices import DeviceID
from berth.quantity import Quantity


@dataclass(frozen=True, slots=True)
class AllocatedState:
    """Devices in use, by claim.

    ``holders`` maps each exclusively allocated device to the claims that hold it, as
    ``namespace/name`` (normally one; results with admin access do not count). ``shared`` maps a
    device to the claims that hold shares of it, ``capacity`` to the sum that the shares consume.
    """

    holders: Mapping[DeviceID, tuple[str, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    shared: Mapping[DeviceID, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    capacity: Mapping[DeviceID, Mapping[str, Quantity]] = field(
        default_factory=lambda: MappingProxyType({})
    )
