# SPDX-License-Identifier: Apache-2.0
"""From a conflict to its facts, and from an input to one that is reduced to some facts.

Decides which facts a conflict tells, and reduces an input to some of them: whatever else asks for
something or stands in the way is taken out, so that the reduced input is easier. If it still does
not fit, the facts suffice. What exists (devices, their counters and capacity) is never reduced,
but for pools that no node in question sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from berth.engine.inventory import Inventory
from berth.engine.records import DeviceRecord, SliceRecord
from berth.engine.rejections import (
    AttributeMissing,
    ConstraintRefused,
    InUse,
    Rejection,
    SelectorFailed,
    SelectorFalse,
    Tainted,
    TakenInThisAttempt,
)
from berth.engine.snapshot import Snapshot
from berth.explain.conflict import Conflict
from berth.explain.edits import Claims, bodies, with_body, without_request
from berth.explain.facts import (
    ConstraintFact,
    Fact,
    HolderFact,
    RequestFact,
    SelectorFact,
    TaintFact,
)
from berth.model.claims import ClaimKey, ExactRequest, RequestRef, ResourceClaim
from berth.model.devices import DeviceID, DeviceTaint
from berth.model.nodes import Node
from berth.model.slices import DeviceClass, Selector


def told_facts(conflict: Conflict, claims: Sequence[ResourceClaim]) -> tuple[Fact, ...]:
    """Return the facts that the tree of a conflict names.

    Where it says that requests only fail together, these are all requests and constraints.
    """
    facts: dict[Fact, None] = {}
    for request in conflict.requests:
        facts[RequestFact(request.claim, request.request.request)] = None
        for group in request.groups:
            for devices in group.devices:
                told = _told(devices.rejection, request.claim, request.request, claims)
                facts.update(dict.fromkeys(told))
    for rivalry in conflict.rivalries:
        facts[RequestFact(rivalry.all_claim, rivalry.all_request.request)] = None
        facts[RequestFact(rivalry.claim, rivalry.request.request)] = None
    if conflict.together:
        facts.update(dict.fromkeys(_asked(claims)))
    return tuple(facts)


def _told(
    rejection: Rejection, claim: ClaimKey, ref: RequestRef, claims: Sequence[ResourceClaim]
) -> Iterator[Fact]:
    match rejection:
        case SelectorFalse(owner, index) | SelectorFailed(owner, index):
            yield _selector(owner, index, claim, ref)
        case InUse(holders):
            yield from (HolderFact(holder) for holder in holders)
        case Tainted(taint):
            yield TaintFact(taint)
        case TakenInThisAttempt(rival, request):
            namespace, _, name = rival.rpartition("/")
            yield RequestFact(ClaimKey(namespace, name), request.partition("/")[0])
        case AttributeMissing(kind, attribute) | ConstraintRefused(kind, attribute):
            yield from (
                fact
                for fact in _constraints(each for each in claims if each.key == claim)
                if (fact.constraint, fact.attribute) == (kind, attribute)
            )


def _selector(owner: str, index: int, claim: ClaimKey, ref: RequestRef) -> SelectorFact:
    if owner != "request":
        return SelectorFact(owner, index)
    return SelectorFact(owner, index, claim, ref)


def _constraints(claims: Iterable[ResourceClaim]) -> Iterator[ConstraintFact]:
    for claim in claims:
        for number, each in enumerate(claim.spec.constraints):
            kind = "matchAttribute" if each.match_attribute else "distinctAttribute"
            attribute = each.match_attribute or each.distinct_attribute or ""
            yield ConstraintFact(claim.key, number, kind, attribute)


def _asked(claims: Sequence[ResourceClaim]) -> Iterator[Fact]:
    for claim in claims:
        yield from (RequestFact(claim.key, request.name) for request in claim.spec.requests)
    yield from _constraints(claims)


def all_facts(
    claims: Sequence[ResourceClaim], snapshot: Snapshot, nodes: Sequence[Node]
) -> tuple[Fact, ...]:
    """Return every fact of an input: what is asked, and what stands in the way on the nodes."""
    facts: dict[Fact, None] = dict.fromkeys(_asked(claims))
    for place, body in bodies(claims):
        device_class = snapshot.classes.get(body.device_class_name)
        if device_class is not None:
            for index, _ in enumerate(device_class.selectors):
                facts[SelectorFact(f"class {device_class.name}", index)] = None
        for index, _ in enumerate(body.selectors):
            facts[SelectorFact("request", index, claims[place[0]].key, place[1])] = None
    allocated = snapshot.allocated
    for record in seen_devices(snapshot, nodes):
        facts.update(dict.fromkeys(TaintFact(taint) for taint in record.taints))
        for holders in (allocated.holders, allocated.shared):
            held = holders.get(record.id, ())
            facts.update(dict.fromkeys(HolderFact(holder) for holder in held))
    return tuple(facts)


def seen_devices(snapshot: Snapshot, nodes: Sequence[Node]) -> tuple[DeviceRecord, ...]:
    """Return the devices that the nodes see, each once, and those of the rest of their pools."""
    seen: dict[DeviceRecord, None] = {}
    for node in nodes:
        for pool in snapshot.inventory.view(node).pools:
            seen.update(dict.fromkeys(pool.devices))
            seen.update(dict.fromkeys(pool.members))
    return tuple(seen)


def reduced_input(
    claims: Sequence[ResourceClaim],
    snapshot: Snapshot,
    facts: Iterable[Fact],
    nodes: Sequence[Node],
) -> tuple[Claims, Snapshot]:
    """Return the input reduced to ``facts``.

    Args:
        claims: The claims of the attempt.
        snapshot: What was published and in use.
        facts: The facts that are to stay.
        nodes: The nodes in question; pools that none of them sees are left out.
    """
    kept = frozenset(facts)
    return _reduced_claims(claims, kept), _reduced_snapshot(snapshot, kept, nodes)


def _reduced_claims(claims: Sequence[ResourceClaim], kept: frozenset[Fact]) -> Claims:
    reduced: Claims = tuple(_with_constraints(claim, kept) for claim in claims)
    for (index, ref), _ in bodies(claims):
        key = claims[index].key
        selectors = frozenset(
            fact.index
            for fact in kept
            if isinstance(fact, SelectorFact) and (fact.claim, fact.request) == (key, ref)
        )
        reduced = with_body(reduced, (index, ref), _selecting(selectors))
    for index in reversed(range(len(claims))):
        for request in claims[index].spec.requests:
            if RequestFact(claims[index].key, request.name) not in kept:
                reduced = without_request(reduced, index, request.name)
    return reduced


def _selecting(stay: frozenset[int]) -> Callable[[ExactRequest], ExactRequest]:
    return lambda body: replace(body, selectors=_only(body.selectors, stay))


def _with_constraints(claim: ResourceClaim, kept: frozenset[Fact]) -> ResourceClaim:
    numbers = {
        fact.number for fact in kept if isinstance(fact, ConstraintFact) and fact.claim == claim.key
    }
    constraints = tuple(
        constraint for n, constraint in enumerate(claim.spec.constraints) if n in numbers
    )
    return replace(claim, spec=replace(claim.spec, constraints=constraints))


def _only(selectors: Sequence[Selector], stay: frozenset[int]) -> tuple[Selector, ...]:
    return tuple(selector for index, selector in enumerate(selectors) if index in stay)


def _reduced_snapshot(snapshot: Snapshot, kept: frozenset[Fact], nodes: Sequence[Node]) -> Snapshot:
    pools = dict.fromkeys(record.id.pool_id for record in seen_devices(snapshot, nodes))
    taints = {fact.taint for fact in kept if isinstance(fact, TaintFact)}
    by_pool = snapshot.inventory.slices_by_pool
    records = [_reduced_slice(record, taints) for pool in pools for record in by_pool[pool]]
    holders = {fact.claim for fact in kept if isinstance(fact, HolderFact)}
    allocated = snapshot.allocated
    shared = _held(allocated.shared, holders)
    return replace(
        snapshot,
        inventory=Inventory(records, snapshot.features),
        classes=MappingProxyType(
            {name: _reduced_class(each, kept) for name, each in snapshot.classes.items()}
        ),
        allocated=replace(
            allocated,
            holders=_held(allocated.holders, holders),
            shared=shared,
            # What single shares consume is not known: as long as one is held, all of it is.
            capacity=MappingProxyType(
                {
                    device: consumed
                    for device, consumed in allocated.capacity.items()
                    if device in shared or device not in allocated.shared
                }
            ),
        ),
    )


def _reduced_slice(record: SliceRecord, taints: set[DeviceTaint]) -> SliceRecord:
    return SliceRecord(
        record.slice,
        tuple(
            DeviceRecord(
                device.device,
                device.slice,
                tuple(taint for taint in device.taints if taint in taints),
            )
            for device in record.devices
        ),
    )


def _held(
    held: Mapping[DeviceID, tuple[str, ...]], holders: set[str]
) -> Mapping[DeviceID, tuple[str, ...]]:
    return MappingProxyType(
        {
            device: left
            for device, claims in held.items()
            if (left := tuple(claim for claim in claims if claim in holders))
        }
    )


def _reduced_class(device_class: DeviceClass, kept: frozenset[Fact]) -> DeviceClass:
    stay = frozenset(
        fact.index
        for fact in kept
        if isinstance(fact, SelectorFact) and fact.owner == f"class {device_class.name}"
    )
    return replace(device_class, selectors=_only(device_class.selectors, stay))
