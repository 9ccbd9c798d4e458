# SPDX-License-Identifier: Apache-2.0
"""A node and what its pods take of it.

Holds numbers only; whether another pod fits is ``berth.placement``'s to decide.

Source: kube-scheduler's NodeInfo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from berth.model.nodes import Node
from berth.model.pods import HostPort


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node with the sum of what the pods on it request.

    ``used`` maps resource name to the sum, in the units of ``Node.allocatable``; ``pods`` is how
    many there are. Pods that Berth has decided to put there count like bound ones, finished pods
    do not count.
    """

    node: Node
    used: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    pods: int = 0
    host_ports: frozenset[HostPort] = frozenset()
