# SPDX-License-Identifier: Apache-2.0
"""Finds hints: tries single changes of the input, and keeps those with which it fits.

Decides which changes are worth a try, and in which order. Says nothing that it has not tried: a
change that the bounds leave no room for is no hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from berth.engine.rejections import InUse, PoolIncomplete, SelectorFalse, Tainted
from berth.engine.snapshot import Snapshot
from berth.explain import edits
from berth.explain.conflict import Conflict, RequestConflict
from berth.explain.edits import Claims, Place
from berth.explain.hints import (
    DropClaim,
    DropConstraint,
    DropRequest,
    DropSelector,
    Hint,
    LowerCount,
    MendNode,
    OtherClass,
    ReleaseClaim,
    Tolerate,
    UseCount,
    WaitForPool,
    rank,
)
from berth.explain.trials import Judge, Trials
from berth.model.claims import (
    ALL,
    EXACT_COUNT,
    ClaimKey,
    DeviceToleration,
    ExactRequest,
    RequestRef,
    ResourceClaim,
)
from berth.model.devices import DeviceTaint
from berth.model.nodes import Node
from berth.model.placement import ClaimElsewhere, NodeReason, NodeRefusal, ResourceShort

MAX_HINTS = 4
"""So many hints are shown."""
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


def find_hints(question: Question, trials: Trials, fits: Judge | None = None) -> tuple[Hint, ...]:
    """Return changes with which the pod fits, the smallest first; each was tried.

    Args:
        question: What was asked, and how it was answered.
        trials: Tries on nodes that stand for all; used up by the call.
        fits: A judge that knows more than ``trials``, such as a placement; it then decides about
            changes of claims and of what is in use.
    """
    keys = [claim.key for claim in question.claims]
    if len(set(keys)) < len(keys):
        # A hint names its claim, and here a name says nothing.
        return ()
    judge = fits or trials
    found: list[Hint] = []
    for search in (
        _pools,
        _counts,
        _rival_counts,
        _tolerations,
        _constraints,
        _mended_nodes,
        _holders,
        _selectors,
        _classes,
        _parts,
    ):
        if trials.is_over:
            break
        found += search(question, judge, trials)
    return _shown(found)


def _shown(found: Sequence[Hint]) -> tuple[Hint, ...]:
    shown: list[Hint] = []
    for hint in sorted(dict.fromkeys(found), key=rank):
        if sum(type(each) is type(hint) for each in shown) < MAX_OF_A_KIND:
            shown.append(hint)
    return tuple(shown[:MAX_HINTS])


def _tried(attempts: Iterator[Attempt], judge: Judge) -> Iterator[Hint]:
    """Yield the hints with which it fits, until there are as many as can be shown."""
    found = 0
    for number, (hint, claims, snapshot) in enumerate(attempts):
        if found == MAX_OF_A_KIND or number == MAX_TRIED_OF_A_KIND:
            return
        # An input without claims always fits, and is no help to anybody.
        if claims and snapshot is not None and judge(claims, snapshot):
            found += 1
            yield hint


def _pools(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for group in question.conflict.problems:
            problem = group.problem
            if isinstance(problem, PoolIncomplete) and problem.seen < problem.want:
                changed = edits.with_pool_complete(
                    question.snapshot, problem.pool, problem.generation, problem.seen
                )
                hint = WaitForPool(problem.pool, problem.want - problem.seen)
                yield hint, question.claims, changed

    return _tried(attempts(), judge)


def _counts(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
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


def _rival_counts(question: Question, _: Judge, trials: Trials) -> Iterator[Hint]:
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


def _tolerations(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for place, request in _failing(question):
            taints = {
                devices.rejection.taint: None
                for group in request.groups
                for devices in group.devices
                if isinstance(devices.rejection, Tainted)
            }
            for taint in taints:
                changed = edits.with_body(question.claims, place, _tolerating(taint))
                hint = Tolerate(request.claim, request.request, replace(taint, rule=None))
                yield hint, changed, question.snapshot

    return _tried(attempts(), judge)


def _tolerating(taint: DeviceTaint) -> Callable[[ExactRequest], ExactRequest]:
    toleration = DeviceToleration(
        key=taint.key, operator="Equal", value=taint.value, effect=taint.effect.value
    )
    return lambda body: replace(body, tolerations=(*body.tolerations, toleration))


def _failing(question: Question) -> Iterator[tuple[Place, RequestConflict]]:
    places = {
        (question.claims[place[0]].key, place[1]): place
        for place, _ in edits.bodies(question.claims)
    }
    for request in question.conflict.requests:
        yield places[request.claim, request.request], request


def _constraints(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for index, claim in enumerate(question.claims):
            for number, constraint in enumerate(claim.spec.constraints):
                kind = "matchAttribute" if constraint.match_attribute else "distinctAttribute"
                attribute = constraint.match_attribute or constraint.distinct_attribute or ""
                changed = edits.without_constraint(question.claims, index, number)
                hint = DropConstraint(claim.key, number, kind, attribute)
                yield hint, changed, question.snapshot

    return _tried(attempts(), judge)


def _mended_nodes(question: Question, _: Judge, trials: Trials) -> Iterator[Hint]:
    """Yield nodes with one fault, on which the devices would fit; of short ones the nearest."""
    nearest: dict[object, tuple[str, NodeReason]] = {}
    for refusal in question.refused:
        reason, *others = refusal.reasons
        if others or isinstance(reason, ClaimElsewhere):
            continue
        if not isinstance(reason, ResourceShort):
            nearest.setdefault(reason, (refusal.node, reason))
            continue
        known = nearest.get(reason.resource)
        if known is None or (isinstance(known[1], ResourceShort) and known[1].free < reason.free):
            nearest[reason.resource] = refusal.node, reason
    found = 0
    for node, reason in list(nearest.values())[:MAX_TRIED_OF_A_KIND]:
        if found < MAX_OF_A_KIND and trials.on(question.nodes[node])(
            question.claims, question.snapshot
        ):
            found += 1
            yield MendNode(node, reason)


def _holders(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    own = {str(claim.key) for claim in question.allocated}
    holders = {
        holder
        for request in question.conflict.requests
        for group in request.groups
        for devices in group.devices
        if isinstance(devices.rejection, InUse)
        for holder in devices.rejection.holders
    }

    def attempts() -> Iterator[Attempt]:
        for holder in sorted(holders - own):
            yield ReleaseClaim(holder), question.claims, edits.released(question.snapshot, holder)

    return _tried(attempts(), judge)


def _selectors(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for place, body in edits.bodies(question.claims):
            for index, selector in enumerate(body.selectors):
                changed = edits.with_body(question.claims, place, _unselecting(index))
                claim = question.claims[place[0]].key
                hint = DropSelector(claim, place[1], index, selector.cel or "")
                yield hint, changed, question.snapshot

    return _tried(attempts(), judge)


def _unselecting(index: int) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(
        body, selectors=(*body.selectors[:index], *body.selectors[index + 1 :])
    )


def _classes(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    """Yield other classes for requests whose class refuses devices."""

    def attempts() -> Iterator[Attempt]:
        for place, request in _failing(question):
            by_class = any(
                isinstance(devices.rejection, SelectorFalse)
                and devices.rejection.owner == f"class {request.device_class}"
                for group in request.groups
                for devices in group.devices
            )
            if not by_class:
                continue
            for name in sorted(question.snapshot.classes.keys() - {request.device_class}):
                changed = edits.with_body(question.claims, place, _of_class(name))
                hint = OtherClass(request.claim, request.request, name, request.device_class)
                yield hint, changed, question.snapshot

    return _tried(attempts(), judge)


def _of_class(name: str) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(body, device_class_name=name)


def _parts(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    """Yield requests and claims that can be left out; never the only one."""

    def attempts() -> Iterator[Attempt]:
        for index, claim in enumerate(question.claims):
            if len(claim.spec.requests) > 1:
                for request in claim.spec.requests:
                    changed = edits.without_request(question.claims, index, request.name)
                    yield DropRequest(claim.key, request.name), changed, question.snapshot
        for index, claim in enumerate(question.claims):
            changed = edits.without_claim(question.claims, index)
            yield DropClaim(claim.key), changed, question.snapshot

    return _tried(attempts(), judge)
