# SPDX-License-Identifier: Apache-2.0
"""Finds the one conflict that no amount of waiting cures: All devices, and one more of the same.

Decides whether a request in mode All and another request of the same pod exclude each other on a
node. Never says so when something else is in the way as well: then a device that becomes free may
help, and the other reasons are the better explanation.

Source: ``allocationMode: All`` of ``resource.k8s.io/v1``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from berth.engine.rejections import (
    InUse,
    RejectedDevice,
    RequestSummary,
    SelectorFailed,
    SelectorFalse,
    TakenInThisAttempt,
)
from berth.explain.conflict import Rivalry
from berth.explain.merge import UNMATCHED, Failure
from berth.model.claims import ALL, ClaimKey, RequestRef, ResourceClaim
from berth.model.devices import DeviceID


class _Place(NamedTuple):
    """A request of one of the pod's claims; both as text."""

    claim: str
    request: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """One rivalry on one node."""

    all_place: _Place
    all_devices: int
    place: _Place
    more: int


@dataclass(frozen=True, slots=True)
class _Pod:
    """What is known of the pod's claims.

    ``holders`` maps the devices of the allocated claims to the requests that hold them.
    """

    claims: Sequence[ResourceClaim]
    allocated: Sequence[ResourceClaim]
    holders: Mapping[DeviceID, _Place]

    def place(self, summary: RequestSummary) -> _Place:
        return _Place(str(self.claims[summary.claim].key), str(summary.request))

    def wants_all(self, place: _Place) -> bool:
        return any(
            body.allocation_mode == ALL
            for claim in (*self.claims, *self.allocated)
            if str(claim.key) == place.claim
            for request in claim.spec.requests
            for body in request.alternatives
            if str(RequestRef(request.name, body.name)) == place.request
        )

    def held(self, place: _Place) -> int:
        return sum(holder == place for holder in self.holders.values())


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
    holders = {
        result.device_id: _Place(str(claim.key), result.request)
        for claim in allocated
        if claim.allocation is not None
        for result in claim.allocation.devices
        if not result.admin_access
    }
    pod = _Pod(claims, allocated, holders)
    found: dict[tuple[_Place, _Place, int], list[tuple[_Pair, str]]] = {}
    for failure in failures:
        for summary in failure.summaries:
            for pair in _pairs(pod, failure, summary):
                key = pair.all_place, pair.place, pair.more
                found.setdefault(key, []).append((pair, failure.node))
    return tuple(_merge(pairs) for pairs in found.values())


def _merge(found: Sequence[tuple[_Pair, str]]) -> Rivalry:
    pair = found[0][0]
    sizes = {each.all_devices for each, _ in found}
    return Rivalry(
        all_claim=_key(pair.all_place.claim),
        all_request=_ref(pair.all_place.request),
        all_devices=pair.all_devices if len(sizes) == 1 else None,
        claim=_key(pair.place.claim),
        request=_ref(pair.place.request),
        more=pair.more,
        nodes=tuple(dict.fromkeys(node for _, node in found)),
    )


def _pairs(pod: _Pod, failure: Failure, summary: RequestSummary) -> Iterator[_Pair]:
    place = pod.place(summary)
    refused = failure.rejected.get((summary.claim, summary.request), ())
    rivals = _rivals(pod, refused)
    missing = summary.wanted - (summary.candidates - len(refused))
    for rival, count in rivals.items():
        if not _is_free_of_others(pod, failure, rival):
            continue
        if summary.mode == ALL:
            # The search may have tried several devices for the rival before it gave up.
            yield _Pair(
                place, summary.wanted, rival, min(count, _wanted(pod, failure, rival) or count)
            )
        elif pod.wants_all(rival) and 0 < missing <= count:
            size = _wanted(pod, failure, rival) or pod.held(rival)
            yield _Pair(rival, size, place, missing)


def _rivals(pod: _Pod, refused: Sequence[RejectedDevice]) -> dict[_Place, int]:
    """Return who of the pod has how many of the devices, empty if anybody else is in the way."""
    rivals: dict[_Place, int] = {}
    for each in refused:
        match each.rejection:
            case SelectorFalse() | SelectorFailed():
                continue
            case TakenInThisAttempt(claim, request):
                rival = _Place(claim, request)
            case InUse((holder,)) if (
                each.device in pod.holders and pod.holders[each.device].claim == holder
            ):
                rival = pod.holders[each.device]
            case _:
                return {}
        rivals[rival] = rivals.get(rival, 0) + 1
    return rivals


def _is_free_of_others(pod: _Pod, failure: Failure, rival: _Place) -> bool:
    """Tell whether the rival could not take other devices once somebody lets them go."""
    return all(
        isinstance(each.rejection, UNMATCHED | TakenInThisAttempt)
        for summary in failure.requests
        if pod.place(summary) == rival
        for each in failure.rejected.get((summary.claim, summary.request), ())
    )


def _wanted(pod: _Pod, failure: Failure, place: _Place) -> int:
    """Return how many devices a request of the attempt wants; 0 where it is allocated already."""
    return next((s.wanted for s in failure.requests if pod.place(s) == place), 0)


def _ref(text: str) -> RequestRef:
    request, _, subrequest = text.partition("/")
    return RequestRef(request, subrequest)


def _key(text: str) -> ClaimKey:
    namespace, _, name = text.rpartition("/")
    return ClaimKey(namespace, name)
