# SPDX-License-Identifier: Apache-2.0
"""No input makes the CEL front end or a selector raise anything but its two errors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth.cel import CelDevice, compile_selector
from berth.cel.parse import grammar_text
from berth.errors import CelRuntimeError, InvalidSelectorError
from tests.support.cel_vectors import VECTORS, answer, cases, fixture

GPU = fixture("gpu")
EXPRESSIONS = [case["expr"] for case in cases(VECTORS / "cel-random.jsonl")]
ATTRIBUTE = 'device.attributes["driver.example.com"]'


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("(" * 200 + "true" + ")" * 200, "true"),
        ("(" * 5000 + "true" + ")" * 5000, "compile_error"),
        ("(" * 10_000, "compile_error"),
        ("[" * 5000, "compile_error"),
        ("!" * 9000 + "true", "true"),
        ("-" * 9001 + "1 < 0", "true"),
        (" && ".join(["true"] * 1200), "true"),
        (" || ".join(["false"] * 1100), "false"),
        ("+".join(["1"] * 200) + " == 200", "true"),
        ("+".join(["1"] * 2000) + " == 2000", "compile_error"),
        (f"device.driver in [{','.join(['1u'] * 1000)}]", "compile_error"),
        (f"5 in [{','.join(map(str, range(1000)))}]", "true"),
        ("false ? true : " * 200 + "true", "true"),
        ("device.driver" + ".size()" * 1000 + " == 1", "compile_error"),
        ("x." * 4000 + "y", "compile_error"),
        ("true" + " " * 10_240, "compile_error"),
        ("[[" * 100 + "]]" * 100 + " == []", "false"),
        ('"' + "\\n" * 5000, "compile_error"),
        ('"' * 9001, "compile_error"),
        ("r'''" + "'" * 9000, "compile_error"),
        ("1" * 9000 + " > 0", "compile_error"),
        ("0x" + "f" * 9000 + " > 0", "compile_error"),
        ("1e" + "9" * 9000 + " > 0.0", "compile_error"),
        ("device.driver.matches('" + "(a" * 2000 + ")" * 2000 + "')", "compile_error"),
        ("int('" + "9" * 9000 + "') > 0", "compile_error"),
        ("quantity('" + "9" * 9000 + "') == quantity('1')", "runtime_error"),
        ("quantity('" + "9" * 3000 + "') == quantity('1')", "false"),
        ("isQuantity('1e5000')", "runtime_error"),
        ("semver('1.2." + "9" * 9000 + "') == semver('1.2.3')", "runtime_error"),
        ("isQuantity('1e" + "9" * 9000 + "')", "runtime_error"),
        ("isQuantity('1e" + "9" * 20 + "')", "false"),
        ("device.driver == '\ud800'", "compile_error"),
        ("device.driver == '\x00'", "false"),
        ("'%.999999999f'.format([1.0]) == ''", "runtime_error"),
    ],
    ids=lambda value: value if len(value) < 40 else f"{value[:30]}… ({len(value)})",
)
def test_extreme_expressions_have_an_ordinary_answer(expression: str, result: str) -> None:
    assert answer(expression, GPU)[0] == result


@pytest.mark.parametrize(
    ("before", "middle", "after", "depth", "result"),
    [
        ("(", "true", ")", 248, "true"),
        ("!(", "true", ")", 124, "true"),
        ("dyn(", "true", ")", 248, "true"),
        ("dyn([", "1", "])", 123, "runtime_error"),
        ("cel.bind(x, true, ", "x", ")", 248, "true"),
        ("[1].all(x, ", "true", ")", 248, "true"),
        ("true ? (", "true", ") : false", 124, "true"),
        ("true && (false || (", "true", "))", 62, "true"),
    ],
)
def test_nesting_just_below_the_limit_is_evaluated(
    before: str, middle: str, after: str, depth: int, result: str
) -> None:
    assert answer(before * depth + middle + after * depth, GPU)[0] == result


def test_a_deeply_nested_type_is_shown_in_short() -> None:
    with pytest.raises(InvalidSelectorError) as caught:
        compile_selector("[" * 240 + "1" + "]" * 240)
    assert caught.value.detail == (
        "the result must be a bool but is of type `list(list(list(list(list(…)))))`"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "-9223372036854775808.size() == 1",
        "9223372036854775808.size() == 1",
        "-9223372036854775808[0] == 1",
        "-9223372036854775808.a == 1",
        "!9223372036854775808",
        "--9223372036854775808 < 0",
        "[9223372036854775808].size() == 1",
        "size(9223372036854775808) == 1",
    ],
)
def test_the_number_beyond_the_largest_int_needs_its_sign(expression: str) -> None:
    assert answer(expression, GPU)[0] == "compile_error"


def test_nested_macros_stop_at_the_cost_limit() -> None:
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    expression = "".join(f"{ten}.all(x{depth}, " for depth in range(8)) + "x0 >= 0" + ")" * 8
    with pytest.raises(CelRuntimeError, match="actual cost limit exceeded"):
        compile_selector(expression).matches(GPU)


def test_the_cost_limit_is_not_absorbed() -> None:
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    endless = "".join(f"{ten}.all(x{depth}, " for depth in range(8)) + "x0 >= 0" + ")" * 8
    with pytest.raises(CelRuntimeError, match="actual cost limit exceeded"):
        compile_selector(f"{endless} || true").matches(GPU)


@pytest.mark.parametrize(
    "doubling", ["x{0} + x{0}", 'x{0}.replace("a", "aa")', "[x{0}, x{0}].join()"]
)
def test_a_value_that_doubles_with_each_name_stops_at_the_cost_limit(doubling: str) -> None:
    body = "x100.size() > 0"
    for depth in reversed(range(100)):
        body = f"cel.bind(x{depth + 1}, {doubling.format(depth)}, {body})"
    with pytest.raises(CelRuntimeError, match="actual cost limit exceeded"):
        compile_selector(f'cel.bind(x0, "aa", {body})').matches(GPU)


def test_errors_of_many_elements_do_not_add_up_to_a_long_text() -> None:
    expression = f"{ATTRIBUTE}.exists(k, {ATTRIBUTE}[k].foo == 1)"
    with pytest.raises(CelRuntimeError) as caught:
        compile_selector(expression).matches(GPU)
    assert len(str(caught.value)) < 100


def test_a_bad_pattern_is_not_written_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert answer(f'"a".matches({ATTRIBUTE}.type + "[(")', GPU)[0] == "runtime_error"
    assert capfd.readouterr() == ("", "")


def test_a_grammar_without_an_expected_rule_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"0 rules `relation_in    :`"):
        grammar_text("expr : relation\n")


@pytest.mark.property
@given(st.text(max_size=60))
def test_any_text_gives_an_answer(text: str) -> None:
    # `net` alone is a name that Berth does not support.
    result = answer(text, GPU)[0]
    assert result in ("true", "false", "runtime_error", "compile_error", "unsupported")


@pytest.mark.property
@given(
    st.lists(
        st.sampled_from(
            [
                "device",
                ".",
                "attributes",
                "[",
                "]",
                "(",
                ")",
                "{",
                "}",
                "?",
                ":",
                ",",
                "&&",
                "||",
                "!",
                "-",
                "+",
                "*",
                "/",
                "%",
                "==",
                "!=",
                "<",
                "in",
                "has",
                "all",
                "map",
                "x",
                "1",
                "1u",
                "1.5",
                "'a'",
                "b'a'",
                "null",
                "true",
                ".?",
                "[?",
                "[1,2]",
                "cel",
                "bind",
                "size",
                "matches",
                "quantity",
                "type",
                "string",
                "optional",
                "of",
                "none",
                "capacity",
                "driver",
                "exists",
                "orValue",
                "format",
                "\n",
                "//",
            ]
        ),
        max_size=25,
    )
)
@settings(max_examples=300)
def test_any_sequence_of_tokens_gives_an_answer(tokens: list[str]) -> None:
    result = answer(" ".join(tokens), GPU)[0]
    assert result in ("true", "false", "runtime_error", "compile_error", "unsupported")


@pytest.mark.property
@given(st.sampled_from(EXPRESSIONS), st.data())
@settings(max_examples=150)
def test_any_mutation_of_an_expression_gives_an_answer(
    expression: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(expression)))
    end = data.draw(st.integers(start, min(len(expression), start + 12)))
    insert = data.draw(
        st.sampled_from(["", "(", ")", '"', "\\", ".", "1", "!", "[", "?", "in", "%"])
    )
    mutated = expression[:start] + insert + expression[end:]
    result = answer(mutated, GPU)[0]
    assert result in ("true", "false", "runtime_error", "compile_error", "unsupported")


@pytest.mark.property
@pytest.mark.parametrize("operator", ["&&", "||"])
@given(first=st.sampled_from(EXPRESSIONS), second=st.sampled_from(EXPRESSIONS))
@settings(max_examples=80)
def test_logical_operators_do_not_depend_on_the_order(
    operator: str, first: str, second: str
) -> None:
    forwards = answer(f"({first}) {operator} ({second})", GPU)[0]
    assert forwards == answer(f"({second}) {operator} ({first})", GPU)[0]


@pytest.mark.property
@given(st.sampled_from(EXPRESSIONS))
@settings(max_examples=100)
def test_devices_that_agree_in_the_projection_get_the_same_answer(expression: str) -> None:
    try:
        projection = compile_selector(expression).projection
    except InvalidSelectorError:
        return
    if not projection.fixed:
        return
    driver = GPU.driver if projection.driver else "other"
    attributes = type(GPU.attributes)(_kept(GPU.attributes, projection.attributes))
    capacity = type(GPU.capacity)(_kept(GPU.capacity, projection.capacity))
    shared = GPU.allow_multiple if projection.allow_multiple else not GPU.allow_multiple
    fields = {
        "driver": driver,
        "attributes": attributes,
        "capacity": capacity,
        "allowMultipleAllocations": shared,
    }
    reduced = CelDevice(driver, attributes, capacity, shared, "", fields)
    assert answer(expression, reduced)[0] == answer(expression, GPU)[0]


def _kept(
    values: dict[str, dict[str, object]], pairs: frozenset[tuple[str, str]]
) -> dict[str, dict[str, object]]:
    return {
        domain: {name: value for name, value in inner.items() if (domain, name) in pairs}
        for domain, inner in values.items()
    }
