# SPDX-License-Identifier: Apache-2.0
"""Expressions that are made to take long end at the cost limit, or at that of free steps.

Bounded by what is counted, not by time: the counts follow from the expression alone.
"""

from __future__ import annotations

import pytest

from berth.cel import compile_program, compile_selector, explain_false
from berth.cel.compile import Compiler
from berth.cel.cost_units import LIMIT
from berth.cel.metered import MeteredCompiler
from berth.cel.work import MOST
from berth.errors import CelRuntimeError
from tests.support.cel_vectors import fixture

GPU = fixture("gpu")
ATTRIBUTE = 'device.attributes["driver.example.com"]'
TOO_EXPENSIVE = "actual cost limit exceeded"
TOO_LONG = "the evaluation takes too many steps that cost nothing"


def counted(expression: str) -> tuple[str, int, int]:
    """Return the value or error of a metered evaluation, its cost and its free steps."""
    compiler = MeteredCompiler(compile_program(expression).checked)
    closure = compiler.compile()
    frame = [0] * compiler.slots
    try:
        answer = str(closure(GPU, frame)).lower()
    except CelRuntimeError as error:
        answer = error.detail
    return answer, frame[0], frame[1]


def nested(macro: str, body: str, depth: int) -> str:
    """Return loops over ten items inside each other."""
    ten = "[0,1,2,3,4,5,6,7,8,9]"
    return "".join(f"{ten}.{macro}(x{i}, " for i in range(depth)) + body + ")" * depth


def doubled(first: str, use: str) -> str:
    """Return a value that holds the one before it twice, a hundred times over."""
    names = "".join(f"cel.bind(a{i + 1}, [a{i}, a{i}], " for i in range(100))
    return f"cel.bind(a0, {first}, {names}{use}{')' * 101}"


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        (nested("all", "x0 >= 0", 8), LIMIT + 1),
        (nested("exists", f"{ATTRIBUTE}.nope == 1", 7), LIMIT + 1),
        (nested("exists", f'{ATTRIBUTE}.?nope.orValue("a") == "b"', 7), LIMIT + 1),
        (nested("exists_one", "x0 > 9", 8), LIMIT + 1),
        (nested("all", "x0 >= 0 && x1 >= 0 && x2 >= 0", 8), LIMIT + 1),
        (nested("all", "1 + 1 == 2", 8), LIMIT + 1),
        (nested("all", "x0 >= 0 ? x1 >= 0 : false", 8), LIMIT + 1),
    ],
)
def test_loops_end_at_the_first_unit_beyond_the_cost_limit(expression: str, cost: int) -> None:
    answer, spent, free = counted(expression)
    assert (answer, spent) == (TOO_EXPENSIVE, cost)
    assert free < MOST


@pytest.mark.parametrize(
    "expression",
    [
        "cel.bind(l, lists.range(300000), l.exists_one(x, l.exists_one(y, false)))",
        "cel.bind(l, lists.range(300000), l.filter(x, false).size() + l.filter(x, false).size()"
        " == 0)",
        "[false].all(q, !" + nested("exists", " || ".join(["(true ? q : q)"] * 500), 8) + ")",
        nested("exists", " || ".join(["false"] * 900), 8),
        nested("all", " && ".join(['"" == ""'] * 700), 8),
        nested("exists", "1 / x0 == 1 / 0", 7),
        "cel.bind(l, [lists.range(100000)], " + nested("all", "l == l", 4) + ")",
        "cel.bind(l, lists.range(300000), " + nested("all", "(l + l).size() > 0", 6) + ")",
        'cel.bind(s, lists.range(9000).map(z, "a").join(), s.matches("(.{1000})(.{900})z"))',
        'cel.bind(s, lists.range(40000).map(z, "a").join(), s.findAll("a?").size() > 0)',
        doubled("[1, 1]", "a99 == a99"),
        doubled("[1, 1]", "a99 in [a99]"),
        doubled("[1, 1]", '"%s".format([a99]) == ""'),
        doubled("[1, 1]", "[a99].indexOf(a99) == 0"),
        doubled("[1, 1]", "[a99, a99].distinct().size() == 1"),
        doubled("[1, 1]", "sets.contains([a99], [a99])"),
        doubled("dyn([1, 1])", "[a99].flatten(90).size() == 1"),
        doubled("{1: 1}", "a99 == a99"),
        doubled("[1, 1]", "optional.of(a99) == optional.of(a99)"),
    ],
    ids=lambda text: text if len(text) < 60 else f"{text[:20]}…{text.rstrip(')')[-40:]}",
)
def test_what_costs_nothing_ends_at_the_limit_of_free_steps(expression: str) -> None:
    with pytest.raises(CelRuntimeError, match=TOO_LONG):
        compile_selector(expression).matches(GPU)
    answer, spent, _ = counted(expression)
    assert answer == TOO_LONG
    assert spent <= LIMIT


@pytest.mark.parametrize(
    "expression",
    [
        "cel.bind(l, lists.range(100000), sets.contains(l, l))",
        "cel.bind(l, lists.range(100000), l.distinct().size() > 0)",
        "cel.bind(l, lists.range(100000), l.sort().size() > 0)",
    ],
)
def test_a_call_that_costs_too_much_is_not_begun(expression: str) -> None:
    answer, spent, free = counted(expression)
    assert answer == TOO_EXPENSIVE
    # Each item with each other: it would be years away otherwise.
    assert spent > 10**9
    assert free < 100


@pytest.mark.parametrize(
    ("expression", "metered"),
    [
        (f'{ATTRIBUTE}.type == "gpu" && {ATTRIBUTE}.index > 1', False),
        (f"device.attributes.all(d, device.attributes[d].all(k, k != {ATTRIBUTE}.type))", False),
        (f'cel.bind(a, {ATTRIBUTE}, a.type == "gpu")', False),
        (f'{ATTRIBUTE}.type.matches("^(gpu|nic)$")', False),
        ("cel.bind(a, [1, 2], [a, a] == [a, a])", True),
        ("[0, 1].exists_one(x, [0, 1].filter(y, y > 9).size() == 0)", False),
        (nested("exists_one", "false", 6), True),
        ('cel.bind(a, "b", a.matches("(.{1000})(.{900})z"))', True),
    ],
)
def test_only_what_may_take_long_is_metered(*, expression: str, metered: bool) -> None:
    assert compile_selector(expression).metered is metered


@pytest.mark.parametrize(
    "expression",
    [
        "cel.bind(a, [1, 2], [a, a] == [a, a])",
        "[[1], [2]].exists(x, x[1] == 1 || x == [2])",
        "[1, 0].all(x, 1 / x == 1)",
        "[1, 2].map(x, [x, x]).filter(y, y[0] > 1) == [[2, 2]]",
        "{dyn(true): 1, dyn(2): 3}[true] == 1 && dyn({0: 1})[?false].hasValue()",
        "1 in {0: 1, 1: 2} && !(true in dyn({0: 1, 1: 2})) && 1.0 in dyn({1: 2})",
        "cel.bind(n, [[1]], cel.bind(m, [n, n], m == m && m != [n] && n in m))",
        "[3, 1, 2].sortBy(x, -x) == [3, 2, 1] && [1, 2, 3].sum() == 6 && [2, 1].max() == 2",
        '"a1b22".findAll("[0-9]*").size() == 4 && "aaa".findAll("a", 2) == ["a", "a"]',
        "[9223372036854775807, 1, -1].sum() == 0",
        'timestamp(0).getHours("no/zone") == 0',
        "[dyn(1), dyn(1u), dyn(1.0)].distinct().size() == 1 && [1, 2].indexOf(2) == 1",
        "[1, 2].transformMap(i, v, v > 1, [v, v]) == {1: [2, 2]}",
        "optional.of([1]).optMap(x, x + x).orValue([]) == [1, 1]",
    ],
)
def test_both_forms_give_the_same_answer(expression: str) -> None:
    checked = compile_program(expression).checked
    compiler = Compiler(checked)
    closure = compiler.compile()
    try:
        answer = str(closure(GPU, [0] * compiler.slots)).lower()
    except CelRuntimeError as error:
        answer = error.detail
    assert counted(expression)[0] == answer


def test_an_error_that_is_kept_is_raised_anew_each_time() -> None:
    selector = compile_selector(f"cel.bind(n, [[1]], n == n && {ATTRIBUTE}.nope == 1)")
    assert selector.metered
    errors = []
    for _ in range(2):
        with pytest.raises(CelRuntimeError, match="no such key: nope") as caught:
            selector.matches(GPU)
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].span == errors[1].span is not None


def test_a_selector_that_takes_long_is_explained_as_a_whole() -> None:
    expression = "false && " + doubled("[1, 1]", "a99 == a99")
    (part,) = explain_false(compile_selector(expression), GPU)
    assert (part.text, part.values) == ("false", ())
    expression = "lists.range(150000).all(x, x >= 0) && false"
    selector = compile_selector(expression)
    assert selector.matches(GPU) is False
    (whole,) = explain_false(selector, GPU)
    assert (whole.text, whole.values) == (expression, ())
