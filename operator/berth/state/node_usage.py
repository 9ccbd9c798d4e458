# SPDX-License-Identifier: Apache-2.0
"""What the pods on each node request of it.

Decides nothing; sums. A pod counts on the node that it is bound to, was decided for, or is pinned
to, until it has finished or is gone.

Source: kube-scheduler's NodeInfo.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from berth.model.nodes import Node
from berth.model.pods import HostPort, Pod, PodKey
from berth.model.usage import NodeState


@dataclass(frozen=True, slots=True)
class Share:
    """What one pod takes of one node."""

    node: str
    requests: Mapping[str, int]
    host_ports: tuple[HostPort, ...]


@dataclass(slots=True)
class _Sum:
    used: Counter[str] = field(default_factory=Counter)
    ports: Counter[HostPort] = field(default_factory=Counter)
    pods: int = 0


class NodeUsage:
    """Nodes with the sums of their pods' requests."""

    __slots__ = ("_cache", "_names", "_shares", "_states", "_sums", "nodes", "on_eased")

    def __init__(self) -> None:
        self.on_eased: Callable[[str], None] = lambda _: None
        """Is told of each node of which a pod takes less than before."""
        self.nodes: dict[str, Node] = {}
        self._shares: dict[PodKey, Share] = {}
        self._sums: dict[str, _Sum] = {}
        self._names: list[str] = []
        self._states: list[NodeState] = []
        self._cache: tuple[NodeState, ...] | None = ()

    def put_node(self, node: Node) -> None:
        """Enter a node, or what is new about it."""
        position = bisect_left(self._names, node.name)
        if node.name not in self.nodes:
            self._names.insert(position, node.name)
            self._states.insert(position, NodeState(node))
        self.nodes[node.name] = node
        self._refresh(node.name)

    def drop_node(self, name: str) -> None:
        """Remove a node; its pods keep counting, should it come back before they go."""
        if self.nodes.pop(name, None) is not None:
            position = bisect_left(self._names, name)
            del self._names[position], self._states[position]
            self._cache = None

    def put_pod(self, pod: PodKey, node: str, spec: Pod | None) -> bool:
        """Let a pod take what ``spec`` requests of ``node``, and nothing else; "" is no node.

        Returns:
            Whether anything became free.
        """
        before = self._shares.get(pod)
        after = Share(node, spec.requests, spec.host_ports) if spec and node else None
        if before == after:
            return False
        if before is not None:
            del self._shares[pod]
            self._add(before, -1)
        if after is not None:
            self._shares[pod] = after
            self._add(after, 1)
        for name in {share.node for share in (before, after) if share is not None}:
            self._refresh(name)
        if before is not None:
            self.on_eased(before.node)
        return before is not None

    def node_of(self, pod: PodKey) -> str:
        """Return the node of which a pod takes something, empty where there is none."""
        share = self._shares.get(pod)
        return "" if share is None else share.node

    def state_at(self, rank: int, without: PodKey) -> NodeState:
        """Return the node of that place in order of name, ``without`` what one pod takes."""
        share = self._shares.get(without)
        if share is None or share.node != self._names[rank]:
            return self._states[rank]
        self._add(share, -1)
        state = self._state(share.node)
        self._add(share, 1)
        return state

    def states(self, without: PodKey | None = None) -> tuple[NodeState, ...]:
        """Return all nodes in order of name, ``without`` what one pod takes."""
        if self._cache is None:
            self._cache = tuple(self._states)
        share = self._shares.get(without) if without is not None else None
        if share is None or share.node not in self.nodes:
            return self._cache
        self._add(share, -1)
        state = self._state(share.node)
        self._add(share, 1)
        position = bisect_left(self._names, share.node)
        return (*self._cache[:position], state, *self._cache[position + 1 :])

    def contents(self) -> tuple[object, ...]:
        """Return everything, for comparison."""
        return self._shares, self._sums, self.states()

    def _add(self, share: Share, sign: int) -> None:
        total = self._sums.setdefault(share.node, _Sum())
        total.pods += sign
        for resource, amount in share.requests.items():
            total.used[resource] += sign * amount
            if not total.used[resource]:
                del total.used[resource]
        for port in share.host_ports:
            total.ports[port] += sign
            if not total.ports[port]:
                del total.ports[port]
        if not total.pods:
            del self._sums[share.node]

    def _refresh(self, name: str) -> None:
        if name in self.nodes:
            self._states[bisect_left(self._names, name)] = self._state(name)
            self._cache = None

    def _state(self, name: str) -> NodeState:
        total = self._sums.get(name)
        if total is None:
            return NodeState(self.nodes[name])
        return NodeState(
            self.nodes[name],
            used=MappingProxyType(dict(total.used)),
            pods=total.pods,
            host_ports=frozenset(total.ports),
        )
