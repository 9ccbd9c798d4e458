# SPDX-License-Identifier: Apache-2.0
"""Hints that ask for less: fewer devices, or less of their capacity.

Decides which amounts are tried. A count that fits is the largest one, found by halving; of
capacity only what devices have left, and what their policies allow, is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from berth.engine.rejections import CapacityPolicy, CapacityShort
from berth.engine.snapshot import Snapshot
from berth.explain import edits
from berth.explain.conflict import Conflict, RequestConflict
from berth.explain.edits import Claims, Place
from berth.explain.hints import Hint, LowerCapacity, LowerCount, UseCount
from berth.explain.question import Attempt, Question, tried
from berth.explain.trials import Judge, Trials
from berth.model.claims import (
    ALL,
    EXACT_COUNT,
    ClaimKey,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.quantity import Quantity


def counts(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    """Yield the largest count for each request that is alone in asking for too many."""
    for place, body in edits.bodies(question.claims):
        claim = question.claims[place[0]].key
        if body.allocation_mode == EXACT_COUNT:
            count = _largest(body.count, question.claims, question.snapshot, place, judge)
            if count:
                yield LowerCount(claim, place[1], count, body.count)
        elif body.allocation_mode == ALL:
            most = _all_of(question.conflict, claim, place[1])
            count = _largest(most, question.claims, question.snapshot, place, judge)
            if count:
                yield UseCount(claim, place[1], count)


def _all_of(conflict: Conflict, claim: ClaimKey, ref: RequestRef) -> int:
    """Return how many devices All means at most, or one more than a rival leaves of them."""
    known = [
        group.wanted
        for request in conflict.requests
        if (request.claim, request.request) == (claim, ref)
        for group in request.groups
    ]
    known += [
        rivalry.all_devices or 0
        for rivalry in conflict.rivalries
        if (rivalry.all_claim, rivalry.all_request) == (claim, ref)
    ]
    return max(known, default=0)


def _largest(
    below: int, claims: Sequence[ResourceClaim], snapshot: Snapshot, place: Place, judge: Judge
) -> int:
    """Return the largest count below ``below`` that fits, 0 where none does.

    Whoever can have n devices can have fewer, so that halving finds it.
    """
    low, high = 0, below - 1
    while low < high:
        middle = (low + high + 1) // 2
        if judge(edits.with_body(claims, place, _counting(middle)), snapshot):
            low = middle
        else:
            high = middle - 1
    return low


def _counting(count: int) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(body, allocation_mode=EXACT_COUNT, count=count)


def rival_counts(question: Question, _: Judge, trials: Trials) -> Iterator[Hint]:
    """Yield counts for requests for All that hold their devices already."""
    for rivalry in question.conflict.rivalries:
        claim = next((c for c in question.allocated if c.key == rivalry.all_claim), None)
        snapshot = None if claim is None else edits.released(question.snapshot, str(claim.key))
        if claim is None or snapshot is None:
            continue
        claims: Claims = (replace(claim, allocation=None), *question.claims)
        place = 0, rivalry.all_request
        judge = trials.on(question.nodes[rivalry.nodes[0]])
        count = _largest(rivalry.all_devices or 0, claims, snapshot, place, judge)
        if count:
            yield UseCount(claim.key, rivalry.all_request, count, allocated=True)


def capacities(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    """Yield smaller amounts: what devices have left, and what their policies allow."""
    offered: dict[tuple[ClaimKey, RequestRef], set[Quantity]] = {}
    for request in question.conflict.requests:
        offered[request.claim, request.request] = set(_amounts(question, request))
    for place, body in edits.bodies(question.claims):
        claim = question.claims[place[0]].key
        for name, want in (body.capacity_requests or {}).items():
            amounts = sorted(
                (
                    each
                    for each in offered.get((claim, place[1]), ())
                    if Quantity.of(0) < each < want
                ),
                reverse=True,
            )
            attempts: Iterator[Attempt] = (
                (
                    LowerCapacity(claim, place[1], name, amount, want),
                    edits.with_body(question.claims, place, _taking(name, amount)),
                    question.snapshot,
                )
                for amount in amounts
            )
            yield from itertools.islice(tried(attempts, judge), 1)


def _amounts(question: Question, request: RequestConflict) -> Iterator[Quantity]:
    by_pool = question.snapshot.inventory.slices_by_pool
    for devices in (devices for group in request.groups for devices in group.devices):
        if isinstance(devices.rejection, CapacityShort):
            yield devices.rejection.free
        if not isinstance(devices.rejection, CapacityShort | CapacityPolicy):
            continue
        for record in (
            r for id_ in devices.devices for s in by_pool[id_.pool_id] for r in s.devices
        ):
            used = question.snapshot.allocated.capacity.get(record.id, {})
            for name, capacity in record.device.capacity.items():
                yield capacity.value
                yield capacity.value - used.get(name, Quantity.of(0))
                policy = capacity.request_policy
                if policy is not None:
                    yield from policy.valid_values
                    if policy.valid_range is not None and policy.valid_range.max is not None:
                        yield policy.valid_range.max


def _taking(name: str, amount: Quantity) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(
        body,
        capacity_requests=MappingProxyType({**(body.capacity_requests or {}), name: amount}),
    )
