# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from berth.cel import CelDevice, Projection, compile_program, compile_selector
from berth.errors import CelRuntimeError, InvalidSelectorError
from berth.model.devices import AttributeValue
from berth.quantity import Quantity


@pytest.fixture(scope="module")
def gpu() -> CelDevice:
    return CelDevice.build(
        "driver.example.com",
        {
            "type": AttributeValue(string_value="gpu"),
            "index": AttributeValue(int_value=3),
            "healthy": AttributeValue(bool_value=True),
            "cuda": AttributeValue(version_value="12.4.0"),
            "features": AttributeValue(strings=("mig", "nvlink")),
            "vendor.example.com/zone": AttributeValue(string_value="a"),
        },
        {"memory": Quantity.parse("64Gi")},
        allow_multiple_allocations=False,
    )


def _matches(expression: str, device: CelDevice) -> bool:
    return compile_selector(expression).matches(device)


def _device(attributes: dict[str, AttributeValue]) -> CelDevice:
    return CelDevice.build("driver.example.com", attributes, {}, allow_multiple_allocations=False)


def test_the_reference_expression_selects_the_device(gpu: CelDevice) -> None:
    expression = (
        'device.attributes["driver.example.com"].type == "gpu" &&'
        ' device.capacity["driver.example.com"].memory == quantity("64Gi")'
    )
    assert _matches(expression, gpu) is True


def test_a_qualified_name_wins_over_a_bare_one() -> None:
    expected = 'device.attributes["driver.example.com"].a == 2'
    bare, qualified = AttributeValue(int_value=1), AttributeValue(int_value=2)
    assert _matches(expected, _device({"a": bare, "driver.example.com/a": qualified}))
    assert _matches(expected, _device({"driver.example.com/a": qualified, "a": bare}))


def test_an_unknown_domain_reads_as_empty_but_is_not_in_the_map(gpu: CelDevice) -> None:
    assert _matches('device.attributes["nope"].size() == 0', gpu)
    assert _matches("has(device.attributes.nope)", gpu)
    assert not _matches('"nope" in device.attributes', gpu)
    assert not _matches('device.attributes.exists(d, d == "nope")', gpu)
    assert not _matches('has(device.attributes["nope"].x)', gpu)


def test_a_missing_attribute_is_an_error_that_names_key_and_place(gpu: CelDevice) -> None:
    expression = 'device.attributes["driver.example.com"].missing == 1'
    with pytest.raises(CelRuntimeError) as caught:
        _matches(expression, gpu)
    assert caught.value.detail == "no such key: missing"
    assert caught.value.span == (0, len(expression) - len(" == 1"))


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("{error} && false", False),
        ("false && {error}", False),
        ("{error} || true", True),
        ("true || {error}", True),
        ("device.attributes.all(d, {error}) && false", False),
        ("[1, 2].exists(x, x == 2 || {error})", True),
    ],
)
def test_an_error_is_absorbed_where_the_other_side_decides(
    *, expression: str, value: bool, gpu: CelDevice
) -> None:
    error = 'device.attributes["driver.example.com"].missing == 1'
    assert _matches(expression.format(error=error), gpu) is value


@pytest.mark.parametrize("expression", ["{error} && true", "true && {error}", "{error} || false"])
def test_an_error_remains_where_the_other_side_does_not_decide(
    expression: str, gpu: CelDevice
) -> None:
    error = 'device.attributes["driver.example.com"].missing == 1'
    with pytest.raises(CelRuntimeError, match="no such key: missing"):
        _matches(expression.format(error=error), gpu)


def test_a_result_that_is_no_bool_is_an_error(gpu: CelDevice) -> None:
    with pytest.raises(CelRuntimeError, match="the result of the expression is no bool"):
        _matches('device.attributes["driver.example.com"].index', gpu)


@pytest.mark.parametrize(
    "attribute", [AttributeValue(), AttributeValue(version_value="not a version")]
)
def test_an_attribute_that_cannot_be_converted_fails_every_expression(
    attribute: AttributeValue,
) -> None:
    with pytest.raises(CelRuntimeError, match="attribute `a`"):
        _matches("true", _device({"a": attribute}))


@pytest.mark.parametrize(
    ("expression", "detail", "marked"),
    [
        ("device.name == 'x'", "undefined field `name` of `device`", "device.name"),
        ("true && dev.driver == ''", "undeclared reference to `dev`", "dev"),
        ("true && (1 == 'x')", "no overload of `_==_` for (int, string)", "(1 == 'x')"),
        ("true && = 1", "syntax error: unexpected `=`", "="),
        ("package == 1", "`package` is a reserved word", "package"),
        ("[1, 'x'].size() == 2", "expected type `int` of the first item but found", "'x'"),
        ("device.driver.matches('(')", "error parsing regexp", "'('"),
        ("device.driver", "the result must be a bool but is of type `string`", "device.driver"),
        ("has(device)", "`has` needs a field selection", "device"),
        ("9223372036854775808 > 0", "does not fit an int", "9223372036854775808"),
    ],
)
def test_a_mistake_is_named_and_marked(expression: str, detail: str, marked: str) -> None:
    with pytest.raises(InvalidSelectorError) as caught:
        compile_selector(expression)
    assert detail in caught.value.detail
    assert caught.value.span is not None
    start, end = caught.value.span
    assert expression[start:end] == marked
    assert caught.value.unsupported is False


def test_an_expression_that_ends_too_early_is_marked_at_its_end() -> None:
    with pytest.raises(InvalidSelectorError, match="the expression ends too early") as caught:
        compile_selector("(true")
    assert caught.value.span == (5, 5)


@pytest.mark.parametrize(
    "expression",
    [
        'authorizer.path("/x").check("get").allowed()',
        "type(device.driver) == google.protobuf.Duration",
    ],
)
def test_what_is_not_implemented_is_called_unsupported(expression: str) -> None:
    with pytest.raises(InvalidSelectorError) as caught:
        compile_selector(expression)
    assert caught.value.unsupported is True


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("America/New_York", 19), ("UTC", 0), ("", 0), ("-02:30", 21), ("Asia/Kolkata", 5)],
)
def test_a_time_zone_is_a_name_or_an_offset(gpu: CelDevice, zone: str, hours: int) -> None:
    text = f'timestamp("2024-01-01T00:00:00Z").getHours("{zone}") == {hours}'
    assert compile_selector(text).matches(gpu)


@pytest.mark.parametrize(
    "zone", ["Europe", "Nowhere/Land", "../etc/passwd", "/etc/passwd", "a" * 999]
)
def test_an_unknown_time_zone_is_an_error_of_the_evaluation(gpu: CelDevice, zone: str) -> None:
    selector = compile_selector(f'timestamp("2024-01-01T00:00:00Z").getHours("{zone}") == 1')
    with pytest.raises(CelRuntimeError, match="unknown time zone"):
        selector.matches(gpu)


@pytest.mark.parametrize("year", ["0001-01-01", "9999-12-31"])
def test_a_time_zone_holds_to_the_ends_of_the_calendar(gpu: CelDevice, year: str) -> None:
    text = f'timestamp("{year}T12:00:00Z").getMinutes("Asia/Kolkata") >= 0'
    assert compile_selector(text).matches(gpu)


def test_the_projection_names_what_is_read() -> None:
    selector = compile_selector(
        'device.driver == "d" && device.attributes["d"].type == "gpu"'
        ' && "x" in device.attributes["e"] && has(device.attributes.f.y)'
        ' && device.attributes["g"].?z.orValue(true)'
        ' && device.capacity["d"]["memory"].sub(1).isInteger()'
        ' && cel.bind(a, device.attributes["h"], a.w || !device.allowMultipleAllocations)'
    )
    assert selector.projection == Projection(
        fixed=True,
        attributes=frozenset({("d", "type"), ("e", "x"), ("f", "y"), ("g", "z"), ("h", "w")}),
        capacity=frozenset({("d", "memory")}),
        driver=True,
        allow_multiple=True,
    )


@pytest.mark.parametrize(
    "expression",
    [
        'device.attributes["d"].size() == 1',
        '"d" in device.attributes',
        "device.attributes.exists(d, true)",
        'device.attributes[device.driver].type == "gpu"',
        'cel.bind(a, device.attributes["d"], a.size() == 1)',
        "cel.bind(d, device, d == d)",
    ],
)
def test_the_projection_is_open_where_a_whole_map_is_read(expression: str) -> None:
    assert compile_selector(expression).projection.fixed is False


def test_a_local_name_may_hide_device(gpu: CelDevice) -> None:
    selector = compile_selector("[1].all(device, device == 1)")
    assert selector.matches(gpu) is True
    assert selector.projection == Projection(
        fixed=True,
        attributes=frozenset(),
        capacity=frozenset(),
        driver=False,
        allow_multiple=False,
    )


def test_programs_may_give_any_value(gpu: CelDevice) -> None:
    program = compile_program('device.attributes["driver.example.com"].features + ["x"]')
    assert program.evaluate(gpu) == ("mig", "nvlink", "x")


def test_compiled_selectors_are_kept_by_their_text() -> None:
    assert compile_selector("1 < 2") is compile_selector("1 < 2")


def test_a_mistake_is_kept_but_raised_anew_each_time() -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(InvalidSelectorError) as caught:
            compile_selector("undeclared")
        errors.append(caught.value)
    first, second = errors
    assert first is not second
    assert (first.detail, first.span) == (second.detail, second.span)
