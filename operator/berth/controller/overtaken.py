# SPDX-License-Identifier: Apache-2.0
"""Was another allocator faster? A last look at the ledger before an allocation is sent.

Decides whether a device that was chosen for a claim is in another claim by now. What another
allocator writes after this look nobody can exclude: the API server compares no two claims.

Source: ``docs/concepts/guarantees.md``.
"""

from __future__ import annotations

from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID
from berth.model.results import AllocationResult
from berth.state.cluster import Cluster


def overtaken(cluster: Cluster, claim: ClaimKey, allocation: AllocationResult) -> DeviceID | None:
    """Return a device of ``allocation`` that another claim holds so that both cannot have it.

    ``allocation`` is assumed for ``claim`` in the ledger, so the claim itself holds it too.
    """
    taken = cluster.snapshot().allocated
    own = str(claim)
    for result in allocation.devices:
        if result.admin_access:
            continue
        device = result.device_id
        holders = taken.holders.get(device, ())
        sharers = taken.shared.get(device, ()) if result.share_id is None else ()
        if any(holder != own for holder in (*holders, *sharers)):
            return device
    return None
