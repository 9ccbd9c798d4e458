# SPDX-License-Identifier: Apache-2.0
"""Which part of a selector is false, what it read, and what would keep it from failing."""

from __future__ import annotations

import pytest

from berth.cel import (
    CelDevice,
    CelRuntimeError,
    FalsePart,
    compile_selector,
    explain_false,
    guard_for,
)
from berth.errors import InvalidSelectorError
from berth.model.devices import AttributeValue
from berth.quantity import Quantity
from tests.support.cel_vectors import VECTORS, cases, fixture

A = 'device.attributes["gpu.example.com"]'
C = 'device.capacity["gpu.example.com"]'


@pytest.fixture(scope="module")
def gpu() -> CelDevice:
    return CelDevice.build(
        "gpu.example.com",
        {
            "model": AttributeValue(string_value="a100"),
            "index": AttributeValue(int_value=3),
            "healthy": AttributeValue(bool_value=False),
            "driver": AttributeValue(version_value="1.2.3-rc.1"),
            "features": AttributeValue(strings=("mig", "fp8")),
            "odd name": AttributeValue(string_value='say "x"'),
        },
        {"memory": Quantity.parse("40Gi"), "cores": Quantity.parse("1500m")},
        allow_multiple_allocations=False,
    )


def parts_of(expression: str, device: CelDevice) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    parts = explain_false(compile_selector(expression), device)
    for part in parts:
        assert expression[part.span[0] : part.span[1]] == part.text
    return [(part.text, part.values) for part in parts]


@pytest.mark.parametrize(
    ("expression", "part", "values"),
    [
        (f'{A}.model == "h100"', "", [(f"{A}.model", '"a100"')]),
        (f"!({A}.index > 2)", "", [(f"{A}.index", "3")]),
        (f"({A}.index) == (5)", "", [(f"{A}.index", "3")]),
        (f'true && (({A}.model == "h100"))', f'{A}.model == "h100"', [(f"{A}.model", '"a100"')]),
        (f"{A}.healthy", "", [(f"{A}.healthy", "false")]),
        (f'{A}["odd name"] == "y"', "", [(f'{A}["odd name"]', '"say \\"x\\""')]),
        (f'{A}.driver.isGreaterThan(semver("2.0.0"))', "", [(f"{A}.driver", "1.2.3-rc.1")]),
        (f'{C}.memory.compareTo(quantity("80Gi")) >= 0', "", [(f"{C}.memory", "40Gi")]),
        (f'{C}.cores == quantity("2")', "", [(f"{C}.cores", "1500m")]),
        (f'{A}.model in ["h100", "b200"]', "", [(f"{A}.model", '"a100"')]),
        (f'{A}.model.startsWith("h")', "", [(f"{A}.model", '"a100"')]),
        (f'{A}.features.exists(f, f == "nvlink")', "", [(f"{A}.features", '["mig", "fp8"]')]),
        (f'"nvlink" in {A}.features', "", [(f"{A}.features", '["mig", "fp8"]')]),
        ('device.driver == "other"', "", [("device.driver", '"gpu.example.com"')]),
        (
            "device.allowMultipleAllocations",
            "",
            [("device.allowMultipleAllocations", "false")],
        ),
        (
            f'{A}.?zone.orValue("none") == "a"',
            "",
            [(f'{A}.?zone.orValue("none")', '"none"')],
        ),
        (f"{A}.?zone.hasValue()", "", [(f"{A}.?zone", "absent")]),
        (f"has({A}.zone)", "", []),
        (f'"zone" in {A}', "", []),
        ('"nic.example.com" in device.attributes', "", []),
        ("device.attributes.size() > 4", "", []),
        ("1 > 2", "", []),
        (
            f'{A}.model == "a100" && {A}.index == 4',
            f"{A}.index == 4",
            [(f"{A}.index", "3")],
        ),
        (
            f'cel.bind(a, {A}, a.index == 3 && a["model"] == "h100")',
            'a["model"] == "h100"',
            [(f"{A}.model", '"a100"')],
        ),
        (
            f'has({A}.model) ? {A}.model == "h100" : false',
            f'{A}.model == "h100"',
            [(f"{A}.model", '"a100"')],
        ),
        (f"{A}.index > 5 ? true : false", f"{A}.index > 5", [(f"{A}.index", "3")]),
        (f"{A}.index > 2 ? false : true", "", [(f"{A}.index", "3")]),
        (
            f'{A}.missing == 1 && {A}.model == "h100"',
            f'{A}.model == "h100"',
            [(f"{A}.model", '"a100"')],
        ),
    ],
)
def test_the_part_that_is_false_is_told_with_what_it_read(
    gpu: CelDevice, expression: str, part: str, values: list[tuple[str, str]]
) -> None:
    assert parts_of(expression, gpu) == [(part or expression, tuple(values))]


def test_all_false_terms_of_a_conjunction_are_told(gpu: CelDevice) -> None:
    expression = f'{A}.model == "h100" && {A}.index == 3 && ({A}.index == 4 || {A}.index == 5)'
    assert parts_of(expression, gpu) == [
        (f'{A}.model == "h100"', ((f"{A}.model", '"a100"'),)),
        (f"{A}.index == 4", ((f"{A}.index", "3"),)),
        (f"{A}.index == 5", ((f"{A}.index", "3"),)),
    ]


@pytest.mark.parametrize("expression", ["true", f"{A}.missing == 1", f"{A}.index"])
def test_there_is_no_false_part_where_the_selector_is_not_false(
    gpu: CelDevice, expression: str
) -> None:
    assert explain_false(compile_selector(expression), gpu) == ()


@pytest.mark.conformance
@pytest.mark.parametrize("file", ["cel-cases.yaml", "cel-random.jsonl"])
def test_every_recorded_false_has_its_parts_and_each_of_them_is_false(file: str) -> None:
    explained = 0
    for case in cases(VECTORS / file):
        selector, device = case["expr"], fixture(case["device"])
        if case["want"] != "false":
            continue
        parts = explain_false(compile_selector(selector), device)
        assert parts, case["id"]
        explained += 1
        for part in parts:
            assert isinstance(part, FalsePart)
            try:
                alone = compile_selector(part.text)
            except InvalidSelectorError:
                # It uses a name that is bound around it.
                continue
            assert alone.matches(device) is False, (case["id"], part.text)
    assert explained > 40


@pytest.mark.parametrize(
    ("expression", "guard"),
    [
        (f'{A}.zone == "a"', f"has({A}.zone)"),
        (f'{A}["zone"] == "a"', f"has({A}.zone)"),
        (f'{C}["big zone"].isInteger()', f'"big zone" in {C}'),
        (f"cel.bind(a, {A}, a.zone)", f"has({A}.zone)"),
        (f'{A}.model.matches("a") && {A}.zone == 1', f"has({A}.zone)"),
        (f"{A}.index / 0 == 1", None),
        (f"{A}.features[7] == 'a'", None),
        (f'{A}[device.driver] == "x"', None),
    ],
)
def test_a_guard_is_told_where_the_device_lacks_what_is_read(
    gpu: CelDevice, expression: str, guard: str | None
) -> None:
    selector = compile_selector(expression)
    with pytest.raises(CelRuntimeError) as caught:
        selector.matches(gpu)
    assert guard_for(caught.value, selector) == guard
    if guard is not None:
        assert compile_selector(f"{guard} && ({expression})").matches(gpu) is False
