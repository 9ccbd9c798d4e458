# SPDX-License-Identifier: Apache-2.0
"""From slices to the pools that one node sees: generation, completeness, validity, reach, order.

Decides which devices a node can use at all, and which pools cannot be used by anybody. Never
looks at claims, nor at what is allocated.

Source: ``resource.k8s.io/v1`` ResourceSlice (pool.generation, pool.resourceSliceCount, nodeName,
nodeSelector, allNodes, perDeviceNodeSelection); KEP-4381, KEP-4815, KEP-5007 for the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from berth.engine.records import DeviceRecord, SliceRecord
from berth.engine.rejections import NodeProblem, PoolIncomplete, PoolInvalid
from berth.model.devices import Device, PoolID
from berth.model.features import Features
from berth.model.nodes import Node, NodeSelector
from berth.model.slices import CounterSet, ResourceSlice


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A pool as one node sees it.

    ``devices`` are those of the slices that the node sees, in the order in which the search tries
    them; there are none where ``problem`` is set. ``members`` are all devices of the pool, also
    those of other nodes: what they consume is missing from ``counter_sets`` (KEP-4815).
    """

    id: PoolID
    generation: int
    devices: tuple[DeviceRecord, ...] = ()
    problem: NodeProblem | None = None
    members: tuple[DeviceRecord, ...] = ()
    counter_sets: Mapping[str, CounterSet] = field(default_factory=lambda: MappingProxyType({}))
    has_binding_conditions: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class NodeView:
    """Everything that a node sees of the inventory.

    ``pools`` are in the order of the search, unusable ones included. ``unreachable`` are devices
    which a slice with ``perDeviceNodeSelection`` publishes for other nodes: they are among the
    devices because upstream evaluates selectors on them too. ``mistakes`` are node selectors of
    single devices that cannot be read: fatal where the search reaches the device. ``fatal`` is
    the same for a slice that had to be read, and empty otherwise.
    """

    node: Node
    pools: tuple[Pool, ...] = ()
    unreachable: frozenset[DeviceRecord] = frozenset()
    mistakes: Mapping[DeviceRecord, str] = field(default_factory=lambda: MappingProxyType({}))
    fatal: str = ""

    @property
    def devices(self) -> tuple[DeviceRecord, ...]:
        """The devices of all usable pools, in the order of the search."""
        return tuple(device for pool in self.pools for device in pool.devices)

    @property
    def problems(self) -> tuple[NodeProblem, ...]:
        """What is wrong with pools that the node sees, in order of the pools."""
        return tuple(pool.problem for pool in self.pools if pool.problem is not None)


class _UnreadableError(Exception):
    """A node selector cannot be read; the text says which and why."""


def reaches(holder: ResourceSlice | Device, node: Node, where: str) -> bool:
    """Tell whether a slice, or a device with its own reach, names the node.

    Raises:
        _UnreadableError: If its node selector cannot be read.
    """
    if holder.node_name:
        return holder.node_name == node.name
    if holder.all_nodes:
        return True
    return holder.node_selector is not None and _selects(holder.node_selector, node, where)


def _selects(selector: NodeSelector, node: Node, where: str) -> bool:
    mistake = selector.mistake()
    if mistake is not None:
        raise _UnreadableError(f"{where}: the node selector cannot be read: {mistake}")
    return selector.matches(node)


def gather_pools(
    candidates: Iterable[SliceRecord],
    slices_by_pool: Mapping[PoolID, Sequence[SliceRecord]],
    node: Node,
    features: Features,
) -> NodeView:
    """Return what ``node`` sees.

    Args:
        candidates: The slices that may reach the node, in the order of the lister.
        slices_by_pool: All slices of every pool, whatever node they are for.
        node: The node.
        features: Which features are on.
    """
    relevant: dict[PoolID, list[SliceRecord]] = {}
    try:
        for record in candidates:
            if _is_relevant(record, node, features):
                _collect_newest(relevant.setdefault(record.slice.pool_id, []), record)
    except _UnreadableError as error:
        return NodeView(node, fatal=str(error))
    pools: list[Pool] = []
    for pool_id in sorted(relevant):
        pool = _build_pool(relevant[pool_id], slices_by_pool.get(pool_id, ()), features)
        if pool is not None:
            pools.append(pool)
    # KEP-5007: devices that must wait for conditions are a second choice.
    pools.sort(key=lambda pool: pool.has_binding_conditions)
    unreachable, mistakes = _elsewhere(pools, node)
    return NodeView(node, tuple(pools), unreachable, mistakes)


def _elsewhere(
    pools: Iterable[Pool], node: Node
) -> tuple[frozenset[DeviceRecord], Mapping[DeviceRecord, str]]:
    unreachable: set[DeviceRecord] = set()
    mistakes: dict[DeviceRecord, str] = {}
    for pool in pools:
        for record in pool.devices:
            if not record.slice.per_device_node_selection:
                continue
            where = f"resourceslice {record.slice.name}, device {record.id.device}"
            try:
                if not reaches(record.device, node, where):
                    unreachable.add(record)
            except _UnreadableError as error:
                mistakes[record] = str(error)
    return frozenset(unreachable), MappingProxyType(mistakes)


def _is_relevant(record: SliceRecord, node: Node, features: Features) -> bool:
    published = record.slice
    if not features.partitionable_devices and (
        published.per_device_node_selection is not None or published.shared_counters
    ):
        return False
    where = f"resourceslice {published.name}"
    if published.node_name or published.all_nodes or published.node_selector is not None:
        return reaches(published, node, where)
    if not published.per_device_node_selection:
        # A kind of reach that a later release may add.
        return False
    return any(
        reaches(device, node, f"{where}, device {device.name}") for device in published.devices
    )


def _collect_newest(collected: list[SliceRecord], record: SliceRecord) -> None:
    if collected:
        newest = collected[0].slice.generation
        if record.slice.generation < newest:
            return
        if record.slice.generation > newest:
            collected.clear()
    collected.append(record)


def _build_pool(
    relevant: list[SliceRecord], published: Sequence[SliceRecord], features: Features
) -> Pool | None:
    """Return the pool, or ``None`` where a newer generation of it exists on other nodes only."""
    first = relevant[0].slice
    pool_id, generation, want = first.pool_id, first.generation, first.resource_slice_count
    others: list[SliceRecord] = []
    if len(relevant) != want:
        if any(each.slice.generation > generation for each in published):
            return None
        current = [each for each in published if each.slice.generation == generation]
        if len(current) != want:
            problem = PoolIncomplete(pool_id, generation, len(current), want)
            return Pool(pool_id, generation, problem=problem)
        chosen = set(relevant)
        others = [each for each in current if each not in chosen]
    # The sort is stable: upstream has no second key either, and names are unique in a cluster.
    relevant = sorted(relevant, key=lambda each: each.slice.name)
    everything = [*relevant, *others]
    detail = _contradiction(relevant, everything, features)
    if detail is not None:
        return Pool(pool_id, generation, problem=PoolInvalid(pool_id, detail))
    return Pool(
        pool_id,
        generation,
        devices=tuple(device for each in relevant for device in each.devices),
        members=tuple(device for each in everything for device in each.devices),
        counter_sets=MappingProxyType(
            {each.name: each for record in everything for each in record.slice.shared_counters}
        ),
        has_binding_conditions=any(
            device.binding_conditions for each in relevant for device in each.slice.devices
        ),
    )


def _contradiction(
    relevant: Iterable[SliceRecord], everything: Sequence[SliceRecord], features: Features
) -> str | None:
    """Return what makes the pool invalid, or ``None``."""
    seen: set[str] = set()
    for each in relevant:
        for device in each.slice.devices:
            if device.name in seen:
                return f"device `{device.name}` is published twice"
            seen.add(device.name)
    if not features.partitionable_devices:
        return None
    sets: dict[str, CounterSet] = {}
    for each in everything:
        for counter_set in each.slice.shared_counters:
            if counter_set.name in sets:
                return f"counter set `{counter_set.name}` is published twice"
            sets[counter_set.name] = counter_set
    for each in everything:
        for device in each.slice.devices:
            detail = _unknown_counter(device, sets)
            if detail is not None:
                return detail
    return None


def _unknown_counter(device: Device, sets: Mapping[str, CounterSet]) -> str | None:
    for consumption in device.consumes_counters:
        counter_set = sets.get(consumption.counter_set)
        if counter_set is None:
            return (
                f"device `{device.name}` consumes counter set `{consumption.counter_set}`, "
                "which the pool does not publish"
            )
        for counter in consumption.counters:
            if counter not in counter_set.counters:
                return (
                    f"device `{device.name}` consumes counter `{counter}`, which counter set "
                    f"`{counter_set.name}` does not have"
                )
    return None
