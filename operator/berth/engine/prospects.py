# SPDX-License-Identifier: Apache-2.0
"""Which nodes are worth looking at, for claims and for pods, without looking at nodes.

Decides which nodes cannot fit: those with too few devices (``berth.engine.supply``), and those on
which the same question had a "no" since when nothing became free. Never decides that a node fits,
and never what is wrong with one. Sets of nodes are integers, a bit a node, in order of name.

Source: ``docs/architecture.md``, the engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from berth.engine.allocated import AllocatedState
from berth.engine.fleet import EVERYWHERE, Fleet, Log
from berth.engine.inventory import Inventory
from berth.engine.records import SliceRecord
from berth.engine.results import BEST_ALTERNATIVE
from berth.engine.supply import MOST, Shape, Supply
from berth.model.claims import ALL, ExactRequest, ResourceClaim
from berth.model.devices import DeviceID
from berth.model.features import Features
from berth.model.slices import DeviceClass

SUPPLIES = 128
"""Shapes of requests that are counted, the last used ones: each takes a byte or two a device."""
QUESTIONS = 512
"""Questions of which it is remembered what had a "no", the last asked ones."""


class Refuted:
    """Nodes with a "no" to one question, since when nothing has become better there."""

    __slots__ = ("_cursor", "_layout", "nodes")

    def __init__(self) -> None:
        self.nodes = 0
        self._cursor = 0
        self._layout = -1

    def sync(self, fleet: Fleet, better: Log) -> None:
        """Drop the nodes on which something has become better; ``better`` has ranks."""
        changes = better.since(self._cursor)
        self._cursor = better.end
        if self._layout != fleet.layout or changes is None or EVERYWHERE in changes:
            self._layout = fleet.layout
            self.nodes = 0
        elif self.nodes:
            for rank in set(changes):
                self.nodes &= ~(1 << rank)

    def add(self, rank: int) -> None:
        """Note a "no"; nothing may have changed since ``sync``."""
        self.nodes |= 1 << rank


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known beforehand of claims: which nodes may fit. ``refuted`` learns which do not.

    ``levels`` are disjoint sets of nodes by the best score that they can reach, best first.
    ``may_fail`` tells that a selector may end with an error on some device.
    """

    refuted: Refuted
    levels: tuple[tuple[int, int], ...]
    may_fail: bool


class Prospects:
    """Kept current by the ledger, event by event; valid between two events."""

    __slots__ = (
        "_allocated",
        "_claims",
        "_classes",
        "_eased",
        "_freed",
        "_inventory",
        "_pods",
        "_supplies",
        "fleet",
    )

    def __init__(
        self,
        inventory: Inventory,
        classes: Mapping[str, DeviceClass],
        allocated: AllocatedState,
        features: Features,
    ) -> None:
        self.fleet = Fleet(features)
        self._inventory = inventory
        self._classes = classes
        self._allocated = allocated
        self._supplies: dict[Shape, Supply] = {}
        self._claims = lru_cache(QUESTIONS)(_nothing_refuted)
        self._pods = lru_cache(QUESTIONS)(_nothing_refuted)
        self._freed = Log()
        self._eased = Log()

    # --- what has happened

    def put_slice(self, record: SliceRecord, members: Sequence[SliceRecord]) -> None:
        """Take note of a published slice; ``members`` are all slices of its pool."""
        self.fleet.put_slice(record)
        self._pool_changed(record, members)

    def drop_slice(self, record: SliceRecord, members: Sequence[SliceRecord]) -> None:
        """Take note that a slice is gone; ``members`` are those that are left of its pool."""
        self.fleet.drop_slice(record.slice.name)
        self._pool_changed(record, members)

    def _pool_changed(self, record: SliceRecord, members: Sequence[SliceRecord]) -> None:
        self.fleet.judge_pool(members)
        for each in (record, *members):
            node = each.slice.node_name
            self._note(self._freed, self.fleet.rank(node) if node else EVERYWHERE)

    def class_changed(self) -> None:
        """Take note that a DeviceClass has changed, whichever."""
        self._supplies.clear()
        self._claims.cache_clear()

    def use_changed(self, taken: Iterable[DeviceID], freed: Iterable[DeviceID]) -> None:
        """Take note of devices that were taken, and of those that became free."""
        self.fleet.use_changed(taken)
        for device in freed:
            for number in self.fleet.numbers(device):
                node = self.fleet.node_of(number)
                self.fleet.log.add(number)
                self._note(self._freed, self.fleet.rank(node) if node else EVERYWHERE)

    def node_changed(self, name: str) -> None:
        """Take note that a node is new, or has changed in anything but what its pods use."""
        self.fleet.put_node(name)
        rank = self.fleet.rank(name)
        # Labels and declared features decide what devices the node sees, and can use.
        self._note(self._freed, rank)
        self._note(self._eased, rank)

    def node_gone(self, name: str) -> None:
        """Take note that a node is gone."""
        self.fleet.drop_node(name)

    def node_eased(self, name: str) -> None:
        """Take note that pods use less of a node than before."""
        self._note(self._eased, self.fleet.rank(name))

    def _note(self, log: Log, rank: int | None) -> None:
        if rank is not None:
            log.add(rank)

    # --- what is asked

    def of_claims(self, claims: Sequence[ResourceClaim]) -> Outlook:
        """Return which nodes may have devices for all of ``claims``."""
        refuted = self._claims(question_of(claims))
        refuted.sync(self.fleet, self._freed)
        nodes = self.fleet.all_nodes
        asked: set[Shape] = set()
        together: dict[Shape, int] = {}
        levels: list[list[int]] = []
        for claim in claims:
            for request in claim.spec.requests:
                masks = [self._nodes_for(body, together, asked) for body in request.alternatives]
                if request.exactly is None and masks:
                    levels.append(masks)
                may = 0
                for mask in masks:
                    may |= mask
                nodes &= may
        for shape, count in together.items():
            nodes &= self._supply(shape).nodes_with(min(count, MOST))
        nodes &= ~refuted.nodes
        may_fail = any(self._supply(shape).may_fail for shape in asked)
        return Outlook(refuted, _by_score(nodes, levels), may_fail)

    def of_pod(self, key: Hashable) -> Refuted:
        """Return the nodes that pods with these demands on their node had a "no" from."""
        refused = self._pods(key)
        refused.sync(self.fleet, self._eased)
        return refused

    def free_of_classes(self, names: Iterable[str]) -> Supply | None:
        """Return the count of unused devices of some classes; ``None`` where it is not exact."""
        known = sorted(name for name in names if name in self._classes)
        texts: list[tuple[str, ...]] = []
        for name in known:
            selectors = self._classes[name].selectors
            if any(each.cel is None for each in selectors):
                continue
            texts.append(tuple(each.cel for each in selectors if each.cel is not None))
        if not texts:
            return None
        supply = self._supply(Shape(tuple(texts), unshared=True))
        return supply if supply.is_exact else None

    def _nodes_for(self, body: ExactRequest, together: dict[Shape, int], asked: set[Shape]) -> int:
        device_class = self._classes.get(body.device_class_name)
        selectors = () if device_class is None else (*device_class.selectors, *body.selectors)
        texts = tuple(each.cel for each in selectors if each.cel is not None)
        if device_class is None or len(texts) != len(selectors):
            return self.fleet.all_nodes  # Whoever looks at a node is told what is wrong.
        tolerations = body.tolerations if self.fleet.features.device_taints else None
        shape = Shape((texts,), tolerations, body.admin_access is True)
        asked.add(shape)
        count = 1 if body.allocation_mode == ALL else max(body.count, 0)
        if not shape.admin and not body.name:
            # Requests that cannot do with less add up; alternatives may not be chosen.
            together[shape] = together.get(shape, 0) + count
        return self._supply(shape).nodes_with(min(count, MOST))

    def _supply(self, shape: Shape) -> Supply:
        # Taken out first: one whose selectors are left for later while it counts is not put back.
        known = self._supplies.pop(shape, None)
        if known is None:
            tables = tuple(
                tuple(self._inventory.verdicts(text) for text in texts)
                for texts in shape.alternatives
            )
            known = Supply(shape, tables, self.fleet, self._allocated)
            if len(self._supplies) >= SUPPLIES:
                del self._supplies[next(iter(self._supplies))]
        else:
            known.sync()
        self._supplies[shape] = known
        return known


def _nothing_refuted(_: Hashable) -> Refuted:
    return Refuted()


def question_of(claims: Sequence[ResourceClaim]) -> Hashable:
    """Return all that the answer for ``claims`` depends on but the cluster."""
    return tuple(
        (
            tuple(
                request
                if all(body.capacity_requests is None for body in request.alternatives)
                else (request.name, tuple(_body_key(body) for body in request.alternatives))
                for request in claim.spec.requests
            ),
            claim.spec.constraints,
        )
        for claim in claims
    )


def _body_key(body: ExactRequest) -> Hashable:
    amounts = body.capacity_requests
    if amounts is None:
        return body
    return replace(body, capacity_requests=None), tuple(sorted(amounts.items()))


def _by_score(nodes: int, levels: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    """Return the nodes by the best score that their alternatives allow, best first."""
    found = {0: nodes}
    for masks in levels:
        better: dict[int, int] = {}
        for score, left in found.items():
            remaining = left
            for index, mask in enumerate(masks):
                here = remaining & mask
                if here:
                    total = score + BEST_ALTERNATIVE - index
                    better[total] = better.get(total, 0) | here
                    remaining &= ~here
        found = better
    return tuple(sorted(found.items(), reverse=True))
