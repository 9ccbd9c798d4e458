# SPDX-License-Identifier: Apache-2.0
"""A conflict as a tree of text, for a terminal.

Decides the layout: one headline, one block a claim and request, one branch a reason, hints last.
Readable without colour; whoever has colour adds it by the style of each line.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from berth.explain.conflict import Conflict, DeviceGroup, NodeGroup, RequestConflict
from berth.explain.fact_words import also_sentence
from berth.explain.hints import hint_sentence
from berth.explain.line import (
    need_sentence,
    rivalry_sentence,
    together_sentence,
    undecided_sentence,
)
from berth.explain.sentences import (
    device_sentence,
    limit_sentence,
    node_sentence,
    problem_sentence,
)
from berth.explain.words import name_list, plural, verb
from berth.model.claims import ClaimKey


class Style(enum.Enum):
    """What a line is, for whoever colours it."""

    HEADLINE = "headline"
    CAUSE = "cause"
    REQUEST = "request"
    NODES = "nodes"
    REASON = "reason"
    DOUBT = "doubt"
    HINT = "hint"
    BLANK = "blank"


class Line(NamedTuple):
    """One line: the lines that lead to it, what it is, and its text."""

    indent: str
    style: Style
    text: str


@dataclass(slots=True)
class _Branch:
    """One line of the tree and what hangs below it."""

    text: str
    below: list[_Branch] = field(default_factory=list)
    style: Style = Style.REASON


def tree(conflict: Conflict) -> str:
    """Return the conflict as several lines of text without a final newline."""
    return "\n".join(f"{line.indent}{line.text}" for line in tree_lines(conflict))


def tree_lines(conflict: Conflict) -> tuple[Line, ...]:
    """Return the lines of the tree, each with its style."""
    blocks: list[list[Line]] = [[Line("", Style.HEADLINE, headline(conflict))]]
    if conflict.rivalries:
        sentences = (rivalry_sentence(conflict, each) for each in conflict.rivalries)
        blocks.append([Line("", Style.CAUSE, text) for text in sentences])
    blocks += [_render(_request(conflict, request)) for request in conflict.requests]
    if conflict.together:
        blocks.append([Line("", Style.CAUSE, together_sentence(conflict))])
    if conflict.also:
        blocks.append([Line("", Style.CAUSE, also_sentence(conflict))])
    if conflict.problems:
        unusable = _Branch(
            f"{plural(len(conflict.problems), 'pool')} cannot be used", style=Style.CAUSE
        )
        unusable.below = [_Branch(problem_sentence(group)) for group in conflict.problems]
        blocks.append(_render(unusable))
    if conflict.refused:
        count = conflict.refused_nodes
        refused = _Branch(f"{plural(count, 'node')} {verb(count, 'is', 'are')} not for the pod")
        refused.below = [
            _Branch(_named(node_sentence(group), group.nodes)) for group in conflict.refused
        ]
        refused.style = Style.NODES
        blocks.append(_render(refused))
    if conflict.undecided:
        text = _named(undecided_sentence(conflict), conflict.undecided)
        blocks.append([Line("", Style.DOUBT, text)])
    if conflict.hints:
        blocks.append(
            [Line("", Style.HINT, f"hint: {hint_sentence(hint)}") for hint in conflict.hints]
        )
    blank = Line("", Style.BLANK, "")
    first, *others = blocks
    return (*first, *(line for block in others for line in (blank, *block)))


def headline(conflict: Conflict) -> str:
    """Return the first line: who cannot be placed, and how many nodes were in question."""
    if conflict.nodes == 0:
        return f"pod {conflict.pod} cannot be placed: the cluster has no nodes"
    claims = _claims(conflict.claims)
    if conflict.nodes == 1 and conflict.examined:
        return f"{claims} of pod {conflict.pod} cannot be allocated on node {conflict.examined[0]}"
    no_fit = len(conflict.examined) + conflict.unexamined
    counts = (
        [f"devices do not fit on {no_fit} of {plural(conflict.nodes, 'node')}"] if no_fit else []
    )
    if conflict.refused_nodes:
        count = conflict.refused_nodes
        counts.append(f"{plural(count, 'node')} {verb(count, 'is', 'are')} not for the pod")
    if conflict.undecided:
        counts.append(f"{plural(len(conflict.undecided), 'node')} undecided")
    who = (
        f"{claims} of pod {conflict.pod} cannot be allocated"
        if no_fit
        else (f"pod {conflict.pod} cannot be placed")
    )
    return f"{who}: {', '.join(counts)}"


def _claims(keys: Sequence[ClaimKey]) -> str:
    noun = "claim" if len(keys) == 1 else "claims"
    return f"{noun} {name_list([str(key) for key in keys])}"


def _request(conflict: Conflict, request: RequestConflict) -> _Branch:
    where = "" if len(conflict.claims) == 1 else f"claim {request.claim}, "
    group, *others = request.groups
    if others:
        root = _Branch(f"{where}request `{request.request}` {_need(request)}", style=Style.REQUEST)
        root.below = [
            _Branch(f"{_nodes(each.nodes)}: {_supply(each)}", _reasons(each), Style.NODES)
            for each in request.groups
        ]
        return root
    supply = f"{_supply(group)}{_where(conflict, group)}"
    root = _Branch(
        f"{where}request `{request.request}` {_need(request)}; {supply}", style=Style.REQUEST
    )
    root.below = _reasons(group)
    if not root.below:
        # Nothing was refused: what there is, is too little.
        text = f"{where}request `{request.request}`{need_sentence(conflict, request)}"
        return _Branch(text, style=Style.REQUEST)
    return root


def _need(request: RequestConflict) -> str:
    if request.asks_for_all:
        return f"asks for All devices of class `{request.device_class}`"
    wanted = max(group.wanted for group in request.groups)
    return f"needs {plural(wanted, 'device')} of class `{request.device_class}`"


def _where(conflict: Conflict, group: NodeGroup) -> str:
    if len(group.nodes) > 1:
        return f" on each of {plural(len(group.nodes), 'node')}"
    return f" on node {group.nodes[0]}" if len(conflict.examined) > 1 else ""


def _supply(group: NodeGroup) -> str:
    if not group.candidates:
        return "no devices"
    return (
        f"{group.eligible} of {plural(group.candidates, 'candidate')} "
        f"{verb(group.eligible or group.candidates, 'is', 'are')} eligible"
    )


def _reasons(group: NodeGroup) -> list[_Branch]:
    limit = [] if group.limit is None else [_Branch(limit_sentence(group.limit))]
    return limit + [_Branch(_devices(devices, group)) for devices in group.devices]


def _devices(devices: DeviceGroup, group: NodeGroup) -> str:
    sentence = device_sentence(devices)
    # On several nodes the names repeat, or are too many to help.
    if len(group.nodes) > 1:
        return sentence
    return _named(sentence, [device.device for device in devices.devices])


def _named(sentence: str, names: Sequence[str]) -> str:
    return f"{sentence}: {name_list(names)}"


def _nodes(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"node {names[0]}"
    return f"{len(names)} nodes ({name_list(names)})"


def _render(root: _Branch) -> list[Line]:
    return [Line("", root.style, root.text), *_lines(root.below, "")]


def _lines(branches: Sequence[_Branch], indent: str) -> Iterable[Line]:
    for branch in branches:
        is_last = branch is branches[-1]
        yield Line(f"{indent}{'└─' if is_last else '├─'} ", branch.style, branch.text)
        yield from _lines(branch.below, f"{indent}{'   ' if is_last else '│  '}")
