# SPDX-License-Identifier: Apache-2.0
"""What one audit may look at: the ledger, the pools as they are published now, and the time.

Decides which slices of a pool count: those of its newest generation, and only when all of them
are there. Unlike ``berth.engine.pools`` it looks from no node in particular.

Source: ``resource.k8s.io/v1`` ResourceSlice (pool.generation, pool.resourceSliceCount).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from berth.audit.finding import ObjectRef, claim_ref
from berth.model.claims import ClaimKey, ResourceClaim
from berth.model.devices import Device, DeviceID, PoolID
from berth.model.slices import CounterSet, ResourceSlice
from berth.state.cluster import Cluster

POD = "Pod"
NODE = "Node"
SLICE = "ResourceSlice"
POLICY = "AllocationPolicy"
NAMESPACE = "Namespace"
ALL_KINDS = frozenset({POD, NODE, SLICE, POLICY, NAMESPACE})
"""Kinds whose absence says something: a pod that is not there does not exist."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known beside the objects themselves.

    ``complete`` are the kinds of which every object is in the ledger; about others nothing is
    concluded from an absence. ``allocating`` tells whether some replica of Berth removes gates,
    ``None`` where that is not known.
    """

    complete: frozenset[str] = ALL_KINDS
    allocating: bool | None = None


@dataclass(frozen=True, slots=True)
class PublishedPool:
    """The newest generation of a pool; ``problem`` says why its devices do not count, if so."""

    generation: int
    devices: Mapping[str, Device]
    counter_sets: tuple[CounterSet, ...]
    problem: str = ""


class Publications:
    """Pools by identity, derived from slices when first asked for."""

    __slots__ = ("_by_pool", "_pools", "_seen")

    def __init__(self, slices: Mapping[str, ResourceSlice] = MappingProxyType({})) -> None:
        self._seen: dict[str, ResourceSlice] = {}
        self._by_pool: dict[PoolID, dict[str, ResourceSlice]] = {}
        self._pools: dict[PoolID, PublishedPool] = {}
        self.refresh(slices)

    def refresh(self, slices: Mapping[str, ResourceSlice]) -> None:
        """Take note of the slices that there are now; only what has changed is derived anew."""
        for name in self._seen.keys() - slices.keys():
            self._drop(self._seen.pop(name))
        for name, published in slices.items():
            known = self._seen.get(name)
            # By identity: the ledger keeps the object of a slice that has not changed.
            if known is published:
                continue
            if known is not None:
                self._drop(known)
            self._seen[name] = published
            self._by_pool.setdefault(published.pool_id, {})[name] = published
            self._pools.pop(published.pool_id, None)

    def _drop(self, published: ResourceSlice) -> None:
        pool = published.pool_id
        del self._by_pool[pool][published.name]
        if not self._by_pool[pool]:
            del self._by_pool[pool]
        self._pools.pop(pool, None)

    @property
    def pools(self) -> Iterable[PoolID]:
        """Every pool of which there is a slice."""
        return self._by_pool.keys()

    def pool(self, pool: PoolID) -> PublishedPool | None:
        """Return the pool, ``None`` where no slice is of it."""
        known = self._pools.get(pool)
        if known is None and pool in self._by_pool:
            slices = self._by_pool[pool]
            known = self._pools[pool] = _newest([slices[name] for name in sorted(slices)])
        return known

    def why_not_published(self, device: DeviceID) -> str:
        """Return why the device does not count as published; empty where it does."""
        pool = self.pool(device.pool_id)
        if pool is None:
            return "no slice of its pool"
        if pool.problem:
            return pool.problem
        if device.device not in pool.devices:
            return f"not in generation {pool.generation} of its pool"
        return ""

    def slices_of(self, pool: PoolID) -> Iterable[str]:
        """Return the names of the pool's slices, of every generation."""
        return self._by_pool.get(pool, {}).keys()


def _newest(slices: list[ResourceSlice]) -> PublishedPool:
    generation = max(each.generation for each in slices)
    current = [each for each in slices if each.generation == generation]
    wanted = current[0].resource_slice_count
    problem = ""
    if len(current) != wanted:
        problem = f"{len(current)} of {wanted} slices of generation {generation} of its pool"
    return PublishedPool(
        generation,
        {device.name: device for each in current for device in each.devices},
        tuple(counters for each in current for counters in each.shared_counters),
        problem,
    )


@dataclass(frozen=True, slots=True)
class View:
    """The ledger at one moment with what is derived from it; ``now`` is in seconds since 1970.

    ``publications`` must be refreshed when a slice changes.
    """

    cluster: Cluster
    publications: Publications
    now: int
    scope: Scope = field(default_factory=Scope)

    @classmethod
    def of(cls, cluster: Cluster, now: int, scope: Scope) -> View:
        """Return the view of the ledger as it is."""
        return cls(cluster, Publications(cluster.slices), now, scope)


def users_of(cluster: Cluster, device: DeviceID) -> tuple[tuple[ClaimKey, ...], ...]:
    """Return the claims that hold the device as a whole, and those with shares, as observed.

    Each claim once, in order of names. What Berth has decided and not yet seen does not count:
    it may come to nothing.
    """
    return tuple(
        _observed(cluster, users.get(device, ()))
        for users in (cluster.in_use.holders, cluster.in_use.shared)
    )


def _observed(cluster: Cluster, texts: Iterable[str]) -> tuple[ClaimKey, ...]:
    keys = {ClaimKey(*text.split("/", 1)) if "/" in text else ClaimKey("", text) for text in texts}
    return tuple(sorted(key for key in keys if key not in cluster.assumed_claims))


def refs(cluster: Cluster, keys: Iterable[ClaimKey]) -> tuple[ObjectRef, ...]:
    """Return the references to claims that are in the ledger."""
    claims: list[ResourceClaim] = [cluster.claims[key] for key in keys]
    return tuple(claim_ref(claim) for claim in claims)
