# SPDX-License-Identifier: Apache-2.0
"""Claims that make the upstream allocator count combinations, on a single node.

Decides the worst cases of part a: each is small, and has an answer that a person sees at once.

Source: kubernetes/kubernetes issue 131730.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.fleets import DRIVER, Fleet, Json, device_class, node_name, slice_of
from bench.questions import Question, claim, exactly, same


def worst_cases(*, small: bool = False) -> tuple[Question, ...]:
    """Return the cases; ``small`` ones end quickly on both sides."""
    n = 8 if small else 24
    few = 4 if small else 8
    names = [f"r{number}" for number in range(few + 1)]
    crossed = [f"r{number}" for number in range(6)]
    return (
        _case(f"{n + 1} of {n}", _node(n), [exactly("r", count=n + 1)]),
        _case(f"{few + 1} requests, {few} devices", _node(few), [exactly(each) for each in names]),
        _case(
            f"{few} of {2 * few} and one impossible",
            _node(2 * few),
            [exactly("a", count=few), exactly("b", "false")],
        ),
        _case(
            f"a chain of two constraints over {2 * few} devices",
            _node(2 * few),
            [exactly(each) for each in crossed],
            [same("numa", *crossed[:5]), same("rack", *crossed[1:])],
        ),
    )


def _node(devices: int) -> Fleet:
    node = node_name(0)
    published = [
        {
            "name": f"gpu-{number:02}",
            "attributes": {"numa": {"int": number % 4}, "rack": {"int": number // 4}},
        }
        for number in range(devices)
    ]
    spec = {
        "driver": DRIVER,
        "nodeName": node,
        "pool": {"name": node, "generation": 1, "resourceSliceCount": 1},
        "devices": published,
    }
    return Fleet("worst", (node,), (slice_of("devices", spec),), classes=(device_class(),))


def _case(
    name: str, fleet: Fleet, requests: Sequence[Json], constraints: Sequence[Json] = ()
) -> Question:
    return Question(name, "worst", 1, fleet, (claim(requests, constraints),), fits=False)
