# SPDX-License-Identifier: Apache-2.0
"""Finds the one conflict that no amount of waiting cures: All devices, and one more of the same.

Decides whether a request in mode All and another request of the same pod exclude each other on a
node. Never says so when something else would be in the way as well: then the other reasons are
the better explanation.

Source: ``allocationMode: All`` of ``resource.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from berth.engine.rejections import (
    InUse,
    RejectedDevice,
    RequestSummary,
    SelectorFalse,
    TakenInThisAttempt,
)
from berth.explain.conflict import Rivalry
from berth.explain.merge import Failure
from berth.model.claims import ALL, ClaimKey, RequestRef, ResourceClaim


@dataclass(frozen=True, slots=True)
class _Pair:
    """One rivalry on one node."""

    all_claim: ClaimKey
    all_request: RequestRef
    all_devices: int
    claim: ClaimKey
    request: RequestRef
    more: int


def find_rivalries(
    failures: Sequence[Failure],
    claims: Sequence[ResourceClaim],
    allocated: Sequence[ResourceClaim],
) -> tuple[Rivalry, ...]:
    """Return the rivalries of all nodes, each once, in order of appearance.

    Args:
        failures: What fails, by node.
        claims: The unallocated claims, to which the indexes in ``failures`` refer.
        allocated: The pod's claims that have their devices already.
    """
    nodes_by_pair: dict[tuple[object, ...], list[tuple[_Pair, str]]] = {}
    for failure in failures:
        for summary in failure.summaries:
            refused = failure.rejected.get((summary.claim, summary.request), ())
            for pair in _pairs(failure, summary, refused, claims, allocated):
                key = (pair.all_claim, pair.all_request, pair.claim, pair.request, pair.more)
                nodes_by_pair.setdefault(key, []).append((pair, failure.node))
    return tuple(_merge(found) for found in nodes_by_pair.values())


def _merge(found: Sequence[tuple[_Pair, str]]) -> Rivalry:
    pair = found[0][0]
    sizes = {each.all_devices for each, _ in found}
    return Rivalry(
        all_claim=pair.all_claim,
        all_request=pair.all_request,
        all_devices=pair.all_devices if len(sizes) == 1 else None,
        claim=pair.claim,
        request=pair.request,
        more=pair.more,
        nodes=tuple(dict.fromkeys(node for _, node in found)),
    )


def _pairs(
    failure: Failure,
    summary: RequestSummary,
    refused: Sequence[RejectedDevice],
    claims: Sequence[ResourceClaim],
    allocated: Sequence[ResourceClaim],
) -> Iterator[_Pair]:
    if summary.mode == ALL:
        yield from _all_comes_second(summary, refused, claims)
    else:
        yield from _all_comes_first(summary, refused, claims, failure)
        yield from _all_was_allocated(summary, refused, claims, allocated)


def _all_comes_second(
    summary: RequestSummary, refused: Sequence[RejectedDevice], claims: Sequence[ResourceClaim]
) -> Iterator[_Pair]:
    """Find requests of the pod that took devices of which this one needs every single one."""
    taken: dict[tuple[str, str], int] = {}
    for each in refused:
        match each.rejection:
            case TakenInThisAttempt(claim, request):
                taken[claim, request] = taken.get((claim, request), 0) + 1
            case SelectorFalse():
                pass
            case _:
                return
    for (claim, request), count in taken.items():
        yield _Pair(
            all_claim=claims[summary.claim].key,
            all_request=summary.request,
            all_devices=summary.wanted,
            claim=_key(claim),
            request=_ref(request),
            more=count,
        )


def _all_comes_first(
    summary: RequestSummary,
    refused: Sequence[RejectedDevice],
    claims: Sequence[ResourceClaim],
    failure: Failure,
) -> Iterator[_Pair]:
    """Find requests for All of the same attempt that took what this one needs."""
    taken: dict[tuple[str, str], int] = {}
    for each in refused:
        if isinstance(each.rejection, TakenInThisAttempt):
            holder = each.rejection.claim, each.rejection.request
            taken[holder] = taken.get(holder, 0) + 1
    for (claim, request), count in taken.items():
        owner = next((c for c in claims if str(c.key) == claim), None)
        if (
            owner is not None
            and _asks_for_all(owner, _ref(request))
            and summary.eligible < summary.wanted <= summary.eligible + count
        ):
            yield _Pair(
                all_claim=owner.key,
                all_request=_ref(request),
                all_devices=_wanted(failure, claims, claim, request) or count,
                claim=claims[summary.claim].key,
                request=summary.request,
                more=summary.wanted - summary.eligible,
            )


def _wanted(failure: Failure, claims: Sequence[ResourceClaim], claim: str, request: str) -> int:
    """Return how many devices a request of the attempt wants; 0 where it is not known."""
    return next(
        (
            s.wanted
            for s in failure.requests
            if str(claims[s.claim].key) == claim and str(s.request) == request
        ),
        0,
    )


def _all_was_allocated(
    summary: RequestSummary,
    refused: Sequence[RejectedDevice],
    claims: Sequence[ResourceClaim],
    allocated: Sequence[ResourceClaim],
) -> Iterator[_Pair]:
    """Find requests for All of the pod's allocated claims that hold what this one needs."""
    in_use = {each.device: each.rejection for each in refused if isinstance(each.rejection, InUse)}
    for claim in allocated:
        held: dict[str, int] = {}
        results = () if claim.allocation is None else claim.allocation.devices
        for result in results:
            rejection = in_use.get(result.device_id)
            if rejection is not None and rejection.holders == (str(claim.key),):
                held[result.request] = held.get(result.request, 0) + 1
        for request, count in held.items():
            if (
                _asks_for_all(claim, _ref(request))
                and summary.eligible < summary.wanted <= summary.eligible + count
            ):
                yield _Pair(
                    all_claim=claim.key,
                    all_request=_ref(request),
                    all_devices=sum(result.request == request for result in results),
                    claim=claims[summary.claim].key,
                    request=summary.request,
                    more=summary.wanted - summary.eligible,
                )


def _asks_for_all(claim: ResourceClaim, reference: RequestRef) -> bool:
    return any(
        body.allocation_mode == ALL
        for request in claim.spec.requests
        if request.name == reference.request
        for body in request.alternatives
        if body.name == reference.subrequest
    )


def _ref(text: str) -> RequestRef:
    request, _, subrequest = text.partition("/")
    return RequestRef(request, subrequest)


def _key(text: str) -> ClaimKey:
    namespace, _, name = text.rpartition("/")
    return ClaimKey(namespace, name)
