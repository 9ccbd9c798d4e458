# SPDX-License-Identifier: Apache-2.0
"""``make mutate``: change the engine and the explanations a little, and see whether a test notices.

Each mutant runs in a process of its own, forked after the libraries and the lower layers are
loaded; nothing is written to disk. It runs the tests of its package, those of its module first,
until one fails. A mutant that the tests do not end in time counts as killed.

Exit code 0 if the share of killed mutants is at least that of ``--at-least``; 1 if not; 2 for bad
input, or if a test fails without any mutant.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import pkgutil
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

import pytest
import yaml

from tests.mutation.mutants import Mutant, compile_mutant, list_mutants

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator"
EQUIVALENT = Path(__file__).parent / "equivalent.yaml"
# What the tests import whatever they test.
LIBRARIES = ("hypothesis.strategies", "pytest_asyncio", "pytest_timeout", "rich.console", "orjson")
MEMORY = 4 << 30
KILLED, SURVIVED, TIMEOUT, EQUAL = "killed", "survived", "timeout", "equivalent"


@dataclass(frozen=True, slots=True)
class Part:
    """A package to change: what it may build on, and the tests that should notice."""

    lower: tuple[str, ...]
    tests: tuple[str, ...]


PARTS = {
    "engine": Part(
        ("berth.errors", "berth.quantity", "berth.model", "berth.cel"),
        (
            "tests/unit/engine",
            "tests/property/test_allocation.py",
            "tests/conformance/test_allocator.py",
        ),
    ),
    "explain": Part(
        ("berth.errors", "berth.quantity", "berth.model", "berth.cel", "berth.engine"),
        (
            "tests/unit/explain",
            "tests/unit/engine/test_explanation.py",
            "tests/property/test_explain.py",
        ),
    ),
}


class BadInputError(Exception):
    """What was asked for cannot be run."""


@dataclass(frozen=True, slots=True)
class Target:
    """A mutant and the module that it is in, as ``engine/pools.py``."""

    module: str
    mutant: Mutant

    @property
    def path(self) -> Path:
        return SOURCE / "berth" / self.module

    @property
    def name(self) -> str:
        return "berth." + self.module.removesuffix(".py").replace("/", ".")

    @property
    def place(self) -> str:
        """Where and what, but for the line, which moves."""
        return f"{self.module}::{self.mutant.where}: {self.mutant.operator}: {self.mutant.change}"


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code if fullname == self.name else super().get_code(fullname)  # type: ignore[return-value]  # a module of source always has code


class _Finder(MetaPathFinder):
    """Gives the mutant in place of its module."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.code = compile_mutant(
            target.path.read_text(encoding="utf-8"), target.mutant.index, str(target.path)
        )

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol of importlib
        target: ModuleType | None = None,  # noqa: ARG002 - the same
    ) -> ModuleSpec | None:
        if fullname != self.target.name:
            return None
        file = str(self.target.path)
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file, self.code)
        )


def sample(modules: Iterable[str], size: int, seed: int) -> tuple[Target, ...]:
    """Return ``size`` mutants of ``modules`` (all, if 0), the same for the same seed."""
    targets = [
        Target(module, mutant)
        for module in modules
        for mutant in list_mutants((SOURCE / "berth" / module).read_text(encoding="utf-8"))
    ]
    if size and size < len(targets):
        chosen = sorted(random.Random(seed).sample(range(len(targets)), size))
        targets = [targets[each] for each in chosen]
    return tuple(targets)


def modules_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that ``names`` are or contain: ``engine`` or ``engine/pools.py``."""
    found: list[str] = []
    for name in names:
        path = SOURCE / "berth" / name
        package, *_ = (*Path(name).parts, "")
        if package not in PARTS or not path.exists():
            raise BadInputError(
                f"{name}: no package or module to change: give {', '.join(PARTS)} or one of their "
                "modules, as `engine/pools.py`"
            )
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        found += [str(each.relative_to(SOURCE / "berth")) for each in files]
    return tuple(dict.fromkeys(found))


def judged_equivalent(table: Path = EQUIVALENT) -> dict[str, str]:
    """Return why, for each mutant that no test can tell from the original."""
    known = {}
    for entry in yaml.safe_load(table.read_text(encoding="utf-8")) or []:
        if not entry.get("why"):
            raise BadInputError(f"{table.name}: {entry['mutant']}: no reason")
        known[entry["mutant"]] = entry["why"]
    return known


def stale(known: Iterable[str], modules: Sequence[str]) -> list[str]:
    """Return the entries about ``modules`` that no mutant of today has: the code has changed."""
    places = {target.place for target in sample(modules, 0, 0)}
    return [each for each in known if each.split("::", 1)[0] in modules and each not in places]


def tests_of(module: str) -> list[str]:
    """Return the tests to run, those named after the module first: they kill most."""
    package, name = Path(module).parts[0], Path(module).stem
    tests = PARTS[package].tests
    own = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests" / "unit" / package).glob(f"test_{name}.py"))
    ]
    return [*own, *tests]


def run_tests(module: str, target: Target | None) -> int:
    """Run the tests of ``module`` in this process and return pytest's exit code."""
    if target is not None:
        sys.meta_path.insert(0, _Finder(target))
    return int(
        pytest.main(
            [
                *("-q", "-x", "--assert=plain", "--tb=short", "--timeout=20"),
                *("-p", "no:cacheprovider", "-p", "no:xdist"),
                *tests_of(module),
            ]
        )
    )


def fork(module: str, target: Target | None, log: Path | None = None) -> int:
    """Start the tests in a child and return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        out = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = run_tests(module, target)
    except BaseException:  # noqa: BLE001 - the process ends here, and says why in its log
        traceback.print_exc()
    finally:
        # Nothing of the parent may run twice: its buffers, its exit handlers.
        os._exit(code)


def preload(package: str) -> None:
    """Load what the mutants of ``package`` have in common, once for all of them."""
    sys.path.insert(0, str(SOURCE))
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in PARTS[package].lower:
        module = importlib.import_module(name)
        for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
            importlib.import_module(found.name)
    if any(name.startswith(f"berth.{package}") for name in sys.modules):
        raise BadInputError(f"berth.{package} is loaded by a layer below it: nothing would change")


@dataclass(slots=True)
class _Running:
    target: Target
    ends: float


def outcomes(
    targets: Sequence[Target], jobs: int, limit: float, known: dict[str, str]
) -> Iterator[tuple[Target, str]]:
    """Run every mutant, ``jobs`` at a time, and yield what became of it as it ends."""
    waiting = list(reversed(targets))
    running: dict[int, _Running] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                target = waiting.pop()
                if target.place in known:
                    yield target, EQUAL
                    continue
                pid = fork(target.module, target)
                running[pid] = _Running(target, time.monotonic() + limit)
            for pid, each in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    del running[pid]
                    yield each.target, _outcome(each.target, status)
                elif time.monotonic() > each.ends:
                    _kill(pid)
                    del running[pid]
                    yield each.target, TIMEOUT
            time.sleep(0.02)
    finally:
        for pid in running:
            _kill(pid)


def _outcome(target: Target, status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == pytest.ExitCode.OK:
        return SURVIVED
    if code in {pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED, 70}:
        raise BadInputError(f"{target.place}: no test ran: exit code {code}")
    return KILLED


def _kill(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def time_without_mutants(package: str) -> float:
    """Return how long the tests take, in seconds.

    Raises:
        BadInputError: A test fails without a mutant, so that nothing could be learned from them.
    """
    began = time.monotonic()
    log = ROOT / ".run" / f"mutate-{package}.log"
    log.parent.mkdir(exist_ok=True)
    _, status = os.waitpid(fork(f"{package}/__init__.py", None, log), 0)
    if code := os.waitstatus_to_exitcode(status):
        raise BadInputError(f"{package}: the tests fail without a mutant: exit code {code}: {log}")
    return time.monotonic() - began


def run_package(package: str, targets: Sequence[Target], jobs: int) -> list[tuple[Target, str]]:
    preload(package)
    took = time_without_mutants(package)
    # Two at a time on a busy computer take longer than one alone.
    limit = 30 + 5 * took
    _say(f"{package}: {len(targets)} mutants; without one the tests take {took:.0f} s")
    known = judged_equivalent()
    for place in stale(known, sorted({each.module for each in targets})):
        _say(f"no such mutant any more, judge it anew: {place}")
    found: list[tuple[Target, str]] = []
    for target, outcome in outcomes(targets, jobs, limit, known):
        found.append((target, outcome))
        if outcome == SURVIVED:
            _say(f"survived: {_shown(target)}")
    return found


def _shown(target: Target) -> str:
    path = target.path.relative_to(ROOT)
    mutant = target.mutant
    return f"{path}:{mutant.line}: {mutant.where}: {mutant.operator}: {mutant.change}"


def score(found: Sequence[tuple[Target, str]]) -> tuple[int, int]:
    """Return how many were killed, of how many that could be."""
    ends = [outcome for _, outcome in found if outcome != EQUAL]
    return sum(outcome in {KILLED, TIMEOUT} for outcome in ends), len(ends)


def report(found: Sequence[tuple[Target, str]]) -> Iterator[str]:
    """Yield a line a module, the survivors, and the sum."""
    for module in sorted({target.module for target, _ in found}):
        yield _line(module, [each for each in found if each[0].module == module])
    survivors = [target for target, outcome in found if outcome == SURVIVED]
    yield from (f"survived: {line}" for line in sorted(map(_shown, survivors)))
    yield _line("together", found)


def _line(name: str, found: Sequence[tuple[Target, str]]) -> str:
    killed, total = score(found)
    share = f"{100 * killed / total:.1f} %" if total else "none to kill"
    beside = [
        f"{count} {word}"
        for word, count in (
            ("by time", sum(outcome == TIMEOUT for _, outcome in found)),
            ("equivalent left out", sum(outcome == EQUAL for _, outcome in found)),
        )
        if count
    ]
    return f"{name}: {killed} of {total} killed, {share}" + "".join(f"; {each}" for each in beside)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mutate", description=__doc__)
    parser.add_argument("modules", nargs="*", help="packages or modules; default: all")
    parser.add_argument("--sample", type=int, default=60, help="mutants a package; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--at-least", type=float, default=85, metavar="PERCENT")
    given = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"
    found: list[tuple[Target, str]] = []
    try:
        modules = modules_of(given.modules or list(PARTS))
        for package in PARTS:
            own = [each for each in modules if Path(each).parts[0] == package]
            if own:
                targets = sample(own, given.sample, given.seed)
                found += run_package(package, targets, given.jobs)
    except BadInputError as error:
        print(f"mutate: {error}", file=sys.stderr)  # noqa: T201 - a program
        return 2
    for line in report(found):
        _say(line)
    killed, total = score(found)
    return int(100 * killed < given.at_least * total)


if __name__ == "__main__":
    sys.exit(main())
