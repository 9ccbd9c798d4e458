# SPDX-License-Identifier: Apache-2.0
"""Finds hints: tries single changes of the input, and keeps those with which it fits.

Decides which changes are worth a try, and in which order. Says nothing that it has not tried: a
change that the bounds leave no room for is no hint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from berth.engine.rejections import (
    InUse,
    PoolIncomplete,
    SelectorFalse,
    Tainted,
)
from berth.explain import edits
from berth.explain.amounts import capacities, counts, rival_counts
from berth.explain.facts import HolderFact
from berth.explain.hints import (
    DropClaim,
    DropConstraint,
    DropRequest,
    DropSelector,
    Hint,
    MendNode,
    OtherClass,
    ReleaseClaim,
    Tolerate,
    WaitForPool,
    rank,
)
from berth.explain.question import (
    MAX_OF_A_KIND,
    MAX_TRIED_OF_A_KIND,
    Attempt,
    Question,
    failing,
    tried,
)
from berth.explain.trials import Judge, Trials
from berth.model.claims import (
    ExactRequest,
)
from berth.model.devices import DeviceTaint
from berth.model.placement import ClaimElsewhere, NodeReason, PodLevelShort, ResourceShort
from berth.model.tolerations import DeviceToleration

MAX_HINTS = 4
"""So many hints are shown."""


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
        counts,
        rival_counts,
        capacities,
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

    return tried(attempts(), judge)


def _tolerations(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for place, request in failing(question):
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

    return tried(attempts(), judge)


def _tolerating(taint: DeviceTaint) -> Callable[[ExactRequest], ExactRequest]:
    toleration = DeviceToleration(
        key=taint.key, operator="Equal", value=taint.value, effect=taint.effect.value
    )
    return lambda body: replace(body, tolerations=(*body.tolerations, toleration))


def _constraints(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for index, claim in enumerate(question.claims):
            for number, constraint in enumerate(claim.spec.constraints):
                kind = "matchAttribute" if constraint.match_attribute else "distinctAttribute"
                attribute = constraint.match_attribute or constraint.distinct_attribute or ""
                changed = edits.without_constraint(question.claims, index, number)
                hint = DropConstraint(claim.key, number, kind, attribute)
                yield hint, changed, question.snapshot

    return tried(attempts(), judge)


def _mended_nodes(question: Question, _: Judge, trials: Trials) -> Iterator[Hint]:
    """Yield nodes with one fault, on which the devices would fit; of short ones the nearest."""
    nearest: dict[object, tuple[str, NodeReason]] = {}
    for refusal in question.refused:
        reason, *others = refusal.reasons
        # A larger pod-level request would also have to fit on the node.
        if others or isinstance(reason, ClaimElsewhere | PodLevelShort):
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
    # Counters and capacity do not say who uses them; whoever is no part of the facts does not help.
    holders |= {fact.claim for fact in question.conflict.facts if isinstance(fact, HolderFact)}

    def attempts() -> Iterator[Attempt]:
        for holder in sorted(holders - own):
            yield ReleaseClaim(holder), question.claims, edits.released(question.snapshot, holder)

    return tried(attempts(), judge)


def _selectors(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    def attempts() -> Iterator[Attempt]:
        for place, body in edits.bodies(question.claims):
            for index, selector in enumerate(body.selectors):
                changed = edits.with_body(question.claims, place, _unselecting(index))
                claim = question.claims[place[0]].key
                hint = DropSelector(claim, place[1], index, selector.cel or "")
                yield hint, changed, question.snapshot

    return tried(attempts(), judge)


def _unselecting(index: int) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(
        body, selectors=(*body.selectors[:index], *body.selectors[index + 1 :])
    )


def _classes(question: Question, judge: Judge, _: Trials) -> Iterator[Hint]:
    """Yield other classes for requests whose class refuses devices."""

    def attempts() -> Iterator[Attempt]:
        for place, request in failing(question):
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

    return tried(attempts(), judge)


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

    return tried(attempts(), judge)
