# SPDX-License-Identifier: Apache-2.0
"""A conflict as one line, for an Event: the cause first, then how often, then what else.

Decides which part of the tree is the cause and how it is told in a line. Never shortens a
sentence itself, but for the length that an Event can hold.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from types import UnionType

from berth.engine.rejections import Rejection, SelectorFalse
from berth.explain.conflict import Conflict, DeviceGroup, NodeGroup, RequestConflict, Rivalry
from berth.explain.fact_words import also_sentence, culprits
from berth.explain.hints import hint_sentence
from berth.explain.merge import MET, UNMATCHED, reason_key, regroup
from berth.explain.messages import fit_event
from berth.explain.sentences import (
    device_sentence,
    limit_sentence,
    node_sentence,
    problem_sentence,
)
from berth.explain.words import name_list, plural, verb
from berth.model.placement import DeviceResourceShort, ResourceShort


def one_line(conflict: Conflict) -> str:
    """Return the conflict as one line of at most 1024 bytes.

    The order is fixed: a request for All devices that excludes another one; unusable pools, where
    a node failed because of them; the requests without enough devices, and what else the "no"
    rests on; nodes that are not for the pod; searches that gave up; the best hint, if there is
    room for all of it.
    """
    if conflict.nodes == 0:
        return f"pod {conflict.pod}: the cluster has no nodes"
    parts = list(_device_parts(conflict))
    if conflict.also:
        parts.append(also_sentence(conflict))
    if conflict.refused and not is_hopeless(conflict):
        reasons = ", ".join(node_sentence(group) for group in conflict.refused)
        if parts or conflict.undecided:
            count = conflict.refused_nodes
            parts.append(
                f"{plural(count, 'other node')} {verb(count, 'is', 'are')} "
                f"not for the pod: {reasons}"
            )
        else:
            parts.append(f"pod {conflict.pod}: no node is for the pod: {reasons}")
    if conflict.undecided:
        parts.append(undecided_sentence(conflict))
    if conflict.unexamined:
        parts.append(
            f"{plural(conflict.unexamined, 'more node')} without fitting devices "
            f"{verb(conflict.unexamined, 'is', 'are')} not described"
        )
    return _with_hint(fit_event("; ".join(parts)), conflict)


def _with_hint(line: str, conflict: Conflict) -> str:
    """Return the line with the best hint, where an Event can hold both as a whole."""
    if not conflict.hints:
        return line
    text = f"{line}; hint: {hint_sentence(conflict.hints[0])}"
    return text if fit_event(text) == text else line


def cause_key(conflict: Conflict) -> str:
    """Return a text that stays the same while the cause does.

    The key names which requests fail, how many devices each wants, whether such devices exist,
    and the set of reasons. It leaves out what comes and goes while the cause stays: how many
    devices and nodes have a reason, which claims hold devices, how much of a resource is free.
    """
    parts: list[str] = [conflict.pod, "nodes" if conflict.nodes else "no nodes"]
    parts += [_rivals(rivalry) for rivalry in conflict.rivalries]
    parts += [repr(group.problem) for group in conflict.problems]
    for request in conflict.requests:
        groups = request.groups
        reasons = sorted({_stable(d.rejection) for group in groups for d in group.devices})
        wanted = "All" if request.asks_for_all else str(max(group.wanted for group in groups))
        exists = any(0 < group.wanted <= group.matching for group in groups)
        limit = any(group.limit is not None for group in groups)
        parts.append(
            f"{request.claim} {request.request} wants {wanted} exists {exists} "
            f"limit {limit}: {', '.join(reasons)}"
        )
    parts += sorted(
        f"short of {group.reason.resource}"
        if isinstance(group.reason, ResourceShort | DeviceResourceShort)
        else repr(group.reason)
        for group in conflict.refused
    )
    parts += ["together"] * bool(conflict.together) + ["undecided"] * bool(conflict.undecided)
    return "; ".join(parts)


def _stable(rejection: Rejection) -> str:
    key: Hashable = reason_key(rejection)
    return key if isinstance(key, str) else repr(key)


def _device_parts(conflict: Conflict) -> Iterator[str]:
    for rivalry in conflict.rivalries:
        yield rivalry_sentence(conflict, rivalry)
    if is_hopeless(conflict):
        return
    problems = [problem_sentence(group) for group in conflict.problems]
    if conflict.pools_to_blame:
        yield from problems
    for request in blamed(conflict):
        if not _only_pools(conflict, request):
            yield request_sentence(conflict, request)
    if conflict.together:
        yield together_sentence(conflict)
    if not conflict.pools_to_blame:
        yield from problems


def is_hopeless(conflict: Conflict) -> bool:
    """Tell whether a rivalry is the whole cause: no release of a device could help.

    That is so where every node that the pod may go to has a rivalry, or no device at all for one
    of the requests.
    """
    if not conflict.rivalries or conflict.unexamined or conflict.undecided:
        return False
    covered = {name for rivalry in conflict.rivalries for name in rivalry.nodes}
    for request in conflict.requests:
        if request.alternatives == 1:
            for group in request.groups:
                if group.matching == 0:
                    covered.update(group.nodes)
    return covered.issuperset(conflict.examined)


def _only_pools(conflict: Conflict, request: RequestConflict) -> bool:
    """Tell whether unusable pools alone leave the request without candidates."""
    return conflict.pools_to_blame and all(group.candidates == 0 for group in request.groups)


def blamed(conflict: Conflict) -> tuple[RequestConflict, ...]:
    """Return the fewest requests that cover every node, the one with most nodes first.

    A pod whose first request fails everywhere needs no word about its second. Of a prioritized
    list all alternatives are kept: only together do they make the request fail.
    """
    left = {name for request in conflict.requests for name in request.nodes}
    left -= set(conflict.together)
    left -= {name for rivalry in conflict.rivalries for name in rivalry.nodes}
    chosen: list[RequestConflict] = []
    rest = list(conflict.requests)
    while left and rest:
        worst = max(rest, key=lambda request: len(request.nodes & left))
        if not worst.nodes & left:
            break
        group = [
            each
            for each in rest
            if (each.claim, each.request.request) == (worst.claim, worst.request.request)
        ]
        chosen += group
        left -= worst.nodes
        rest = [each for each in rest if each not in group]
    return tuple(chosen)


def rivalry_sentence(conflict: Conflict, rivalry: Rivalry) -> str:
    """Say that one request wants All devices while another wants more of the same."""
    nodes = len(rivalry.nodes)
    who = "no node" if is_hopeless(conflict) else plural(nodes, "node")
    can = "can" if is_hopeless(conflict) else "cannot"
    return f"{_rivals(rivalry)}: {who} {can} satisfy both"


def _rivals(rivalry: Rivalry) -> str:
    count = rivalry.all_devices
    devices = "All matching devices" if count is None else f"All {matching(count)}"
    return (
        f"claim {rivalry.all_claim}, request {rivalry.all_request} asks for {devices}, "
        f"claim {rivalry.claim}, request {rivalry.request} needs {rivalry.more} more of the same"
    )


def matching(count: int) -> str:
    """Return ``2 matching devices``."""
    return plural(count, "matching device")


def together_sentence(conflict: Conflict) -> str:
    """Say that the requests fit one by one, but not all at once."""
    names = [str(key) for key in conflict.claims]
    noun = "claim" if len(names) == 1 else "claims"
    count = len(conflict.together)
    return (
        f"{noun} {name_list(names)}: each request alone finds enough devices "
        f"on {plural(count, 'node')}, all together do not{culprits(conflict)}"
    )


def undecided_sentence(conflict: Conflict) -> str:
    """Say on how many nodes the search ended without an answer."""
    return (
        f"the search for devices gave up on {plural(len(conflict.undecided), 'node')} "
        f"within its budget of {conflict.budget} steps: it is not known whether they fit"
    )


def request_sentence(conflict: Conflict, request: RequestConflict) -> str:
    """Say what a request wants, what there is, and for which reasons devices were refused."""
    return f"claim {request.claim}, request {request.request}{need_sentence(conflict, request)}"


def need_sentence(conflict: Conflict, request: RequestConflict) -> str:
    """Return what follows the name of the request, from the space or colon on."""
    groups = request.groups
    limit = next((group.limit for group in groups if group.limit is not None), None)
    if limit is not None:
        return f": {limit_sentence(limit)}"
    if all(group.candidates == 0 for group in groups):
        return _no_devices(conflict, request)
    if all(group.matching == 0 for group in groups) or (
        request.asks_for_all and all(group.wanted == 0 for group in groups)
    ):
        return _no_match(conflict, request)
    if request.asks_for_all:
        return _all_short(request)
    return _count_short(conflict, request)


def _count_short(conflict: Conflict, request: RequestConflict) -> str:
    groups, need = request.groups, _wish(request)
    wanted = max(group.wanted for group in groups)
    most = max(group.matching for group in groups)
    eligible = max(group.eligible for group in groups)
    node = "the node" if len(request.nodes) == 1 else "any node"
    if most < wanted:
        scope = _nowhere(conflict, request)
        return _with_reasons(f"{need}, no node{scope} has more than {most}", groups, UNMATCHED)
    if not eligible:
        return _with_reasons(f"{need}, none is eligible", groups)
    at_most = f"at most {eligible} {verb(eligible, 'is', 'are')} eligible on {node}"
    if eligible < wanted:
        return _with_reasons(f"{need}, {at_most}", groups)
    return _with_reasons(f"{need}, {at_most}, but no choice of them fits", groups, MET)


def _is_everywhere(conflict: Conflict, request: RequestConflict) -> bool:
    """Tell whether the request was found to fail on every node of the cluster."""
    return len(request.nodes) == conflict.nodes


def _nowhere(conflict: Conflict, request: RequestConflict) -> str:
    if _is_everywhere(conflict, request):
        return ""
    return f" of {len(request.nodes)}" if len(request.nodes) > 1 else " that is for the pod"


def _no_devices(conflict: Conflict, request: RequestConflict) -> str:
    wish = _wish(request)
    if not conflict.drivers:
        return f"{wish}, no driver publishes devices"
    count = len(request.nodes)
    sees_pools = any(request.nodes & set(group.nodes) for group in conflict.problems)
    what = "no usable devices" if sees_pools else "no devices at all"
    return f"{wish}, {plural(count, 'node')} {verb(count, 'has', 'have')} {what}"


def _no_match(conflict: Conflict, request: RequestConflict) -> str:
    """Say that nothing matches: by the class alone, or by the selectors of the request."""
    groups = regroup(g for group in request.groups for g in group.devices)
    by_class = f"class {request.device_class}"
    if groups and all(_owner(group) == by_class for group in groups):
        scope = (
            "no published device"
            if _is_everywhere(conflict, request)
            else f"no device on {plural(len(request.nodes), 'node')}"
        )
        noun = "driver" if len(conflict.drivers) == 1 else "drivers"
        return (
            f": {scope} matches class {request.device_class}: "
            f"devices are published by {noun} {name_list(conflict.drivers)}"
        )
    return _with_reasons(f"{_wish(request)}, no device matches", request.groups)


def _owner(group: DeviceGroup) -> str:
    return group.rejection.owner if isinstance(group.rejection, SelectorFalse) else ""


def _wish(request: RequestConflict) -> str:
    if request.asks_for_all:
        return f" asks for All devices of class {request.device_class}"
    wanted = max(group.wanted for group in request.groups)
    return f" needs {plural(wanted, 'device')} of class {request.device_class}"


def _all_short(request: RequestConflict) -> str:
    groups = [group for group in request.groups if group.wanted]
    sizes = {group.wanted for group in groups}
    devices = f"All {matching(*sizes)}" if len(sizes) == 1 else "All matching devices"
    refused = regroup(
        device
        for group in groups
        for device in group.devices
        if not isinstance(device.rejection, UNMATCHED)
    )
    where = "" if len(groups) == 1 and len(groups[0].nodes) == 1 else " of a node"
    return f" asks for {devices}{where}, some cannot be taken: {_sentences(refused)}"


def _with_reasons(text: str, groups: Sequence[NodeGroup], kinds: UnionType | None = None) -> str:
    """Return ``text`` with the reasons for refusing devices, or with those of some kinds only."""
    refused = regroup(
        device
        for group in groups
        for device in group.devices
        if kinds is None or isinstance(device.rejection, kinds)
    )
    return f"{text}: {_sentences(refused)}" if refused else text


def _sentences(groups: Sequence[DeviceGroup]) -> str:
    return ", ".join(device_sentence(group) for group in groups)
