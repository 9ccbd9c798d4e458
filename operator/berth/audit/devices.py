# SPDX-License-Identifier: Apache-2.0
"""Is more given away than there is: whole devices, shares, capacities, counters.

Decides that from the claims as observed and the devices as published, whoever allocated them.
Judging a device costs as much as it has users, a pool as much as it has devices.

Source: KEP-4381; KEP-4815: a device in use is charged once, however many shares there are;
KEP-5018: results with admin access take nothing; KEP-5075.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.audit.finding import Finding, ObjectRef
from berth.audit.findings_devices import (
    CapacityOverCommitted,
    CountersOverCommitted,
    DeviceHeldTwice,
    DeviceNotShareable,
)
from berth.audit.view import PublishedPool, View, refs, users_of
from berth.model.claims import ClaimKey
from berth.model.devices import Device, DeviceID, PoolID
from berth.model.results import DeviceResult
from berth.quantity import Quantity
from berth.state.cluster import Cluster


def overlaps(cluster: Cluster, device: DeviceID) -> Iterator[DeviceHeldTwice]:
    """Yield what is wrong with who holds ``device``; looks at nothing but its users."""
    state = cluster.in_use
    if len(state.holders.get(device, ())) + len(state.shared.get(device, ())) < 2:  # noqa: PLR2004 - one cannot overlap
        return
    whole, sharing = users_of(cluster, device)
    if whole:
        others = tuple(key for key in sharing if key not in whole)
        if len(whole) + len(others) > 1:
            yield DeviceHeldTwice(device, refs(cluster, whole), refs(cluster, others))
        return
    by_share: dict[str, set[ClaimKey]] = {}
    for key in sharing:
        for result in _shares(cluster, key, device):
            by_share.setdefault(result.share_id or "", set()).add(key)
    for share, keys in sorted(by_share.items()):
        if len(keys) > 1:
            yield DeviceHeldTwice(device, refs(cluster, sorted(keys)), share_id=share)


def judge_pool(view: View, pool: PoolID) -> Iterator[Finding]:
    """Yield the counters and capacities of the pool that are over-committed.

    A pool that is not completely published has nothing to compare with.
    """
    published = view.publications.pool(pool)
    if published is None or published.problem:
        return
    in_use: list[tuple[DeviceID, Device, tuple[ClaimKey, ...]]] = []
    for name, device in published.devices.items():
        identity = DeviceID(*pool, name)
        whole, sharing = users_of(view.cluster, identity)
        if sharing:
            yield from _of_shares(view.cluster, identity, device, sharing)
        if device.consumes_counters and (whole or sharing):
            in_use.append((identity, device, tuple(sorted({*whole, *sharing}))))
    if in_use:
        yield from _counters(view.cluster, pool, published, in_use)


def _of_shares(
    cluster: Cluster, identity: DeviceID, device: Device, sharing: tuple[ClaimKey, ...]
) -> Iterator[Finding]:
    if not device.allow_multiple_allocations and len(sharing) > 1:
        yield DeviceNotShareable(identity, refs(cluster, sharing))
    consumed: dict[str, Quantity] = {}
    takers: dict[str, dict[ClaimKey, None]] = {}
    for key in sharing:
        for result in _shares(cluster, key, identity):
            for name, amount in (result.consumed_capacity or {}).items():
                full = _qualified(name, identity)
                consumed[full] = consumed.get(full, Quantity(0)) + amount
                takers.setdefault(full, {})[key] = None
    for name, capacity in device.capacity.items():
        full = _qualified(name, identity)
        taken = consumed.get(full)
        if taken is not None and taken > capacity.value:
            total = Quantity(taken.nanos, capacity.value.format)
            claims: tuple[ObjectRef, ...] = refs(cluster, takers[full])
            yield CapacityOverCommitted(identity, name, total, capacity.value, claims)


def _counters(
    cluster: Cluster,
    pool: PoolID,
    published: PublishedPool,
    in_use: list[tuple[DeviceID, Device, tuple[ClaimKey, ...]]],
) -> Iterator[CountersOverCommitted]:
    for counters in published.counter_sets:
        for name, available in counters.counters.items():
            total = 0
            devices: list[DeviceID] = []
            claims: set[ClaimKey] = set()
            for identity, device, users in in_use:
                amount = sum(
                    each.counters[name].nanos
                    for each in device.consumes_counters
                    if each.counter_set == counters.name and name in each.counters
                )
                if amount:
                    total += amount
                    devices.append(identity)
                    claims.update(users)
            if total > available.nanos:
                yield CountersOverCommitted(
                    pool,
                    counters.name,
                    name,
                    Quantity(total, available.format),
                    available,
                    tuple(devices),
                    refs(cluster, sorted(claims)),
                )


def _shares(cluster: Cluster, key: ClaimKey, device: DeviceID) -> Iterator[DeviceResult]:
    allocation = cluster.claims[key].allocation
    if allocation is not None:
        for result in allocation.devices:
            is_share = result.share_id is not None and not result.admin_access
            if is_share and result.device_id == device:
                yield result


def _qualified(name: str, device: DeviceID) -> str:
    return name if "/" in name else f"{device.driver}/{name}"
