# SPDX-License-Identifier: Apache-2.0
"""Values of devices, pods of holders and slices of pools in an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from berth.cel import CelDevice
from berth.engine.rejections import InUse, PoolIncomplete, SelectorFailed, SelectorFalse
from berth.explain.conflict import (
    Conflict,
    DeviceGroup,
    FailedPart,
    FalsePart,
    Holder,
    NodeGroup,
    ProblemGroup,
)
from berth.explain.details import with_details
from berth.explain.line import one_line
from berth.explain.merge import regroup
from berth.explain.report import explain_unplaceable
from berth.explain.selector_words import false_sentence
from berth.explain.sentences import device_sentence, problem_sentence
from berth.model.devices import DeviceID, PoolID
from berth.model.placement import Unplaceable
from tests.support.builders import DRIVER, a_device, a_request, a_slice, devices
from tests.support.failures import H100, NODES, POD, a_cluster, a_node_state, fleet, train

MODEL = f'device.attributes["{DRIVER}"].model'


def part(text: str, *values: tuple[str, Sequence[str]]) -> FalsePart:
    return FalsePart((0, len(text)), text, tuple((of, tuple(are)) for of, are in values))


def reads_the_model(expression: str, device: CelDevice) -> tuple[FalsePart, ...]:
    """Stand in for the evaluation: the selector is false for what it reads of the device."""
    assert expression == H100
    return (part(expression, (MODEL, [f'"{MODELS[device]}"'])),)


def nothing_false(_: str, __: CelDevice) -> tuple[FalsePart, ...]:
    return ()


class _Models(dict[CelDevice, str]):
    """The model of each device that was made, by what CEL sees of it."""


MODELS = _Models()


def conflict_of(models: Sequence[str]) -> Conflict:
    published = [a_device(f"gpu-{n}", attributes={"model": m}) for n, m in enumerate(models)]
    snapshot = a_cluster(fleet(published))
    for record in snapshot.inventory.devices:
        MODELS[record.cel] = models[int(record.id.device.removeprefix("gpu-"))]
    conflict = explain_unplaceable(
        snapshot,
        POD,
        [train(a_request("gpu", H100, count=2))],
        [a_node_state(name) for name in NODES],
        Unplaceable(no_fit=NODES),
    )
    return with_details(conflict, snapshot.inventory, consumers={}, explain_false=reads_the_model)


def test_devices_that_a_selector_refuses_are_told_with_their_value() -> None:
    assert one_line(conflict_of(["a100"] * 8)) == (
        "claim ml/train, request gpu needs 2 devices of class gpu, no device matches: "
        '24 devices do not match selector #0 of the request: attribute model is "a100", '
        'selector wants "h100"'
    )


def test_different_values_of_one_part_are_gathered() -> None:
    (request,) = conflict_of(["a100", "t4", "a100"]).requests

    assert [group.false for group in regroup(request.groups[0].devices)] == [
        (part(H100, (MODEL, ['"a100"', '"t4"'])),)
    ]


@pytest.mark.parametrize(
    ("parts", "want"),
    [
        ([], ""),
        (
            [part(f'{MODEL} == "h100"', (MODEL, ['"t4"']))],
            'attribute model is "t4", selector wants "h100"',
        ),
        (
            [part(f"{MODEL} >= 6", (MODEL, ["1", "2", "3", "4", "5"]))],
            "attribute model is 1 or 2 or 3 or 2 more, selector wants `>= 6`",
        ),
        (
            [
                part(
                    'device.capacity["d"].memory.isLessThan(x)',
                    ('device.capacity["d"].memory', ["8Gi"]),
                )
            ],
            "capacity memory is 8Gi, selector wants `isLessThan(x)`",
        ),
        (
            [part("a == b", ("a", ["1"]), ("b", ["2"]))],
            "`a` is 1 and `b` is 2, selector wants `a == b`",
        ),
        ([part("false")], "`false` is false"),
        (
            [part("x"), part("y"), part("z")],
            "`x` is false, and `y` is false",
        ),
        (
            [
                part(
                    'device.attributes["d"].?model.orValue("") == "h"',
                    ('device.attributes["d"].?model.orValue("")', ['""']),
                )
            ],
            'attribute model is "", selector wants "h"',
        ),
        (
            [part('device.attributes["d"]["x-y"] != 1', ('device.attributes["d"]["x-y"]', ["1"]))],
            "attribute x-y is 1, selector wants `!= 1`",
        ),
    ],
    ids=[
        "nothing-is-known",
        "equality",
        "many-values",
        "a-call",
        "two-values",
        "no-value",
        "three-parts",
        "a-default",
        "a-key",
    ],
)
def test_a_false_part_in_words(parts: Sequence[FalsePart], want: str) -> None:
    assert false_sentence(parts) == want


def group_in_use(*holders: Holder) -> DeviceGroup:
    claims = tuple(holder.claim for holder in holders)
    return DeviceGroup(InUse(claims), (DeviceID(DRIVER, "p", "gpu-0"),), holders=holders)


def test_holders_are_told_with_their_pods() -> None:
    group = group_in_use(
        Holder("a/one", ("p-0", "p-1")),
        Holder("a/two", ()),
        Holder("b/x", ("q",)),
        Holder("c/y", ()),
    )

    assert device_sentence(group) == (
        "1 device is in use (claim a/one of pods p-0, p-1, claim a/two, claim b/x of pod q and "
        "1 more)"
    )


def test_groups_of_holders_are_merged_by_claim() -> None:
    one, two = group_in_use(Holder("a", ("p",))), group_in_use(Holder("a", ("q",)), Holder("b", ()))

    (merged,) = regroup([one, two])

    assert merged.holders == (Holder("a", ("p", "q")), Holder("b", ()))


def test_a_selector_that_fails_is_told_with_its_part_and_its_cure() -> None:
    rejection = SelectorFailed("class gpu", 1, "has(x) && device.y", "no such key: y")
    group = DeviceGroup(
        rejection,
        (DeviceID(DRIVER, "p", "d"),),
        failed=FailedPart((10, 18), "has(device.y)"),
    )

    assert device_sentence(group) == (
        "1 device makes selector #1 of class gpu fail: no such key: y: `device.y`, "
        "put `has(device.y) &&` before it"
    )


def test_where_a_selector_fails_is_found_by_evaluating_it_again() -> None:
    published = [a_device("gpu-0"), a_device("gpu-1", attributes={"model": "h100"})]
    snapshot = a_cluster(fleet(published, ["gpu-1"]), held={"gpu-1/gpu-0": "ml/other"})
    conflict = explain_unplaceable(
        snapshot,
        POD,
        [train(a_request("gpu", H100, count=2))],
        [a_node_state("gpu-1")],
        Unplaceable(no_fit=("gpu-1",)),
    )

    detailed = with_details(
        conflict,
        snapshot.inventory,
        consumers={},
        explain_false=nothing_false,
    )

    (request,) = detailed.requests
    assert [group.failed for group in request.groups[0].devices] == [
        FailedPart((0, len(MODEL)), f"has({MODEL})")
    ]


def test_the_newest_generation_of_a_device_is_looked_at() -> None:
    snapshot = a_cluster(
        [
            a_slice([a_device("gpu-0")], name="old", node_name="gpu-1"),
            a_slice(
                [a_device("gpu-0", attributes={"model": "t4"})],
                name="new",
                node_name="gpu-1",
                generation=2,
            ),
        ]
    )
    seen: list[int] = []

    def looks(_: str, device: CelDevice) -> tuple[FalsePart, ...]:
        seen.extend(r.slice.generation for r in snapshot.inventory.devices if r.cel is device)
        return ()

    group = NodeGroup(
        ("gpu-1",),
        1,
        1,
        0,
        0,
        (DeviceGroup(SelectorFalse("request", 0, H100), (DeviceID(DRIVER, "gpu-1", "gpu-0"),)),),
    )
    conflict = explain_unplaceable(
        snapshot,
        POD,
        [train(a_request("gpu", H100))],
        [a_node_state("gpu-1")],
        Unplaceable(no_fit=("gpu-1",)),
    )
    conflict = replace(conflict, requests=(replace(conflict.requests[0], groups=(group,)),))
    with_details(conflict, snapshot.inventory, consumers={}, explain_false=looks)

    assert seen == [2]


def test_the_slices_of_an_incomplete_pool_are_named() -> None:
    snapshot = a_cluster(
        [
            a_slice(devices(1), name="b", node_name="gpu-1", generation=2, count=3),
            a_slice((), name="a", node_name="gpu-1", generation=2, count=3),
            a_slice((), name="c", node_name="gpu-1", count=3),
        ]
    )
    conflict = explain_unplaceable(
        snapshot, POD, [train(a_request())], [a_node_state("gpu-1")], Unplaceable(no_fit=("gpu-1",))
    )

    detailed = with_details(conflict, snapshot.inventory, consumers={}, explain_false=nothing_false)

    problem = PoolIncomplete(PoolID(DRIVER, "gpu-1"), 2, 2, 3)
    (group,) = detailed.problems
    assert group == ProblemGroup(problem, ("gpu-1",), published=("a", "b"), stale=("c",))
    assert problem_sentence(group) == (
        f"pool {DRIVER}/gpu-1 is incomplete, its devices do not count: 2 of 3 slices of "
        "generation 2 are published: a, b, while c is of an older generation (node gpu-1)"
    )
