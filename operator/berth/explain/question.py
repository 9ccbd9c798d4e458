# SPDX-License-Identifier: Apache-2.0
"""What hints are an answer to, and how one of them is tried.

Decides how many changes of a kind are tried; which changes is for ``berth.explain.suggest``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from berth.engine.snapshot import Snapshot
from berth.explain import edits
from berth.explain.conflict import Conflict, RequestConflict
from berth.explain.edits import Place
from berth.explain.hints import Hint
from berth.explain.trials import Judge
from berth.model.claims import ResourceClaim
from berth.model.nodes import Node
from berth.model.placement import NodeRefusal

MAX_OF_A_KIND = 2
"""So many of them are of one kind."""
MAX_TRIED_OF_A_KIND = 12
"""So many holders, classes and the like are tried, in order of their names."""

Attempt = tuple[Hint, Sequence[ResourceClaim], Snapshot | None]
"""A hint, and the input that it stands for; ``None`` where the input cannot be told."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, and how it was answered.

    Args:
        conflict: Why the pod fits nowhere.
        claims: Its claims without an allocation.
        snapshot: What was published and in use.
        nodes: All nodes, by name.
        refused: The nodes that are not for the pod.
        allocated: Its claims with an allocation.
    """

    conflict: Conflict
    claims: tuple[ResourceClaim, ...]
    snapshot: Snapshot
    nodes: Mapping[str, Node]
    refused: tuple[NodeRefusal, ...] = ()
    allocated: tuple[ResourceClaim, ...] = ()


def tried(attempts: Iterator[Attempt], judge: Judge) -> Iterator[Hint]:
    """Yield the hints with which it fits, until there are as many as can be shown."""
    found = 0
    for number, (hint, claims, snapshot) in enumerate(attempts):
        if found == MAX_OF_A_KIND or number == MAX_TRIED_OF_A_KIND:
            return
        # An input without claims always fits, and is no help to anybody.
        if claims and snapshot is not None and judge(claims, snapshot):
            found += 1
            yield hint


def failing(question: Question) -> Iterator[tuple[Place, RequestConflict]]:
    """Yield the requests that cannot get their devices, each with its place among the claims."""
    places = {
        (question.claims[place[0]].key, place[1]): place
        for place, _ in edits.bodies(question.claims)
    }
    for request in question.conflict.requests:
        yield places[request.claim, request.request], request
