# SPDX-License-Identifier: Apache-2.0
"""Mutants change what a program does, one place at a time, and leave alone what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import run
from tests.mutation.mutants import Mutant, compile_mutant, list_mutants
from tests.mutation.run import EQUAL, KILLED, SURVIVED, TIMEOUT, BadInputError, Target


def changes(body: str) -> list[tuple[str, str]]:
    return [(each.operator, each.change) for each in list_mutants(f"def f(a, b):\n    {body}\n")]


@pytest.mark.parametrize(
    ("body", "want"),
    [
        ("a = b < b", [("comparison", "b < b -> b <= b")]),
        ("a = b is b", [("comparison", "b is b -> b is not b")]),
        (
            "a = b <= b != b",
            [
                ("comparison", "b <= b != b -> b < b != b"),
                ("comparison", "b <= b != b -> b <= b == b"),
            ],
        ),
        ("a = a and b", [("boolean", "a and b -> a or b")]),
        ("a = not b", [("not", "not b -> b")]),
        ("a = a - b", [("arithmetic", "a - b -> a + b")]),
        ("a = a | b", [("arithmetic", "a | b -> a & b")]),
        ("a = A | B", []),
        ("a = True", [("constant", "True -> False")]),
        ("a = 7", [("constant", "7 -> 8"), ("constant", "7 -> 6")]),
        ("a = 'word'", [("text", "'word' -> 'wordXX'")]),
        ("a = min(b)", [("extreme", "min(b) -> max(b)")]),
        ("a = any(b)", [("extreme", "any(b) -> all(b)")]),
        ("a = [x for x in b if x]", [("filter", "for x in b if x -> for x in b")]),
        ("return a", [("return", "return a -> return None")]),
        ("return None", []),
        ("a(b)", [("statement", "a(b) -> pass")]),
        ("a.b = b", [("statement", "a.b = b -> pass")]),
        ("a += b", [("statement", "a += b -> pass"), ("arithmetic", "a += b -> a -= b")]),
        ("raise a", [("statement", "raise a -> pass")]),
        ("raise AssertionError(a == b)", []),
        ("assert a == b", []),
        ("assert_never(a)", []),
        ("a: 'Text'", []),
        ("a = cast('Text', b)", []),
    ],
    ids=str,
)
def test_an_operator_changes_its_kind_of_place(body: str, want: list[tuple[str, str]]) -> None:
    assert changes(body) == want


def test_what_only_guards_or_describes_is_left_alone() -> None:
    source = (
        '"""Docstring."""\n'
        "import a\n"
        "@dataclass(frozen=True)\n"
        "class C:\n"
        '    """Docstring."""\n'
        "    __slots__ = ('x',)\n"
        "    def f(self, x: Literal[1]) -> Literal[2]:\n"
        "        if x == 1:\n"
        "            raise AssertionError(x)\n"
    )

    assert list_mutants(source) == ()


def test_a_mutant_says_where_it_is() -> None:
    source = "class C:\n    def f(self, x):\n        y = x\n        return not y\n"

    assert list_mutants(source) == (
        Mutant(0, 4, "C.f", "return", "return not y", "return None"),
        Mutant(1, 4, "C.f", "not", "not y", "y"),
    )


def test_a_mutant_has_its_own_change_and_no_other() -> None:
    source = "def f(x):\n    return x + 1 < 3\n"
    answers = []
    for mutant in list_mutants(source):
        names: dict[str, object] = {}
        exec(compile_mutant(source, mutant.index, "f.py"), names)  # noqa: S102 - the code above
        f = names["f"]
        assert callable(f)
        answers.append((mutant.change, f(1), f(2), f(3)))

    assert answers == [
        ("return x + 1 < 3 -> return None", None, None, None),
        ("x + 1 < 3 -> x + 1 <= 3", True, True, False),
        ("x + 1 -> x - 1", True, True, True),
        ("1 -> 2", False, False, False),
        ("1 -> 0", True, True, False),
        ("3 -> 4", True, True, False),
        ("3 -> 2", False, False, False),
    ]


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    modules = run.modules_of(["engine/pools.py", "engine/plan.py"])

    assert run.sample(modules, 20, 1) == run.sample(modules, 20, 1)
    assert run.sample(modules, 20, 1) != run.sample(modules, 20, 2)
    assert len(set(run.sample(modules, 20, 1))) == 20


def test_a_package_means_its_modules() -> None:
    assert {"engine/pools.py", "engine/plan.py"} < set(run.modules_of(["engine"]))


@pytest.mark.parametrize("name", ["", "cel", "engine/none.py", "../setup.py"])
def test_what_no_tests_are_known_for_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="no package or module to change"):
        run.modules_of([name])


def test_the_tests_of_the_module_come_first() -> None:
    assert run.tests_of("engine/pools.py")[0] == "tests/unit/engine/test_pools.py"
    for part in run.PARTS.values():
        assert all((run.ROOT / each).exists() for each in part.tests)


def test_the_report_counts_each_end_of_a_mutant() -> None:
    found = [
        (Target("engine/pools.py", Mutant(at, 9 + at, "f", "not", "not a", "a")), end)
        for at, end in enumerate([KILLED, TIMEOUT, SURVIVED, EQUAL, KILLED])
    ]

    assert run.score(found) == (3, 4)
    assert list(run.report(found)) == [
        "engine/pools.py: 3 of 4 killed, 75.0 %; 1 by time; 1 equivalent left out",
        f"survived: {Path('operator/berth/engine/pools.py')}:11: f: not: not a -> a",
        "together: 3 of 4 killed, 75.0 %; 1 by time; 1 equivalent left out",
    ]


def test_a_mutant_is_left_out_only_with_its_reason(tmp_path: Path) -> None:
    table = tmp_path / "equivalent.yaml"
    table.write_text("- mutant: m\n  why: w\n", encoding="utf-8")
    assert run.judged_equivalent(table) == {"m": "w"}

    table.write_text("- mutant: m\n  why: ''\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="m: no reason"):
        run.judged_equivalent(table)


def test_every_mutant_of_the_table_has_its_reason() -> None:
    assert all(run.judged_equivalent().values())


def test_an_entry_of_the_table_that_fits_no_mutant_is_told() -> None:
    known = dict.fromkeys(["engine/pools.py::gone: not: not a -> a", "explain/line.py::f"], "why")

    assert run.stale(known, ["engine/pools.py"]) == ["engine/pools.py::gone: not: not a -> a"]
