# SPDX-License-Identifier: Apache-2.0
"""The closures of macros that count what their loops cost.

Upstream's loops go on after an error, as their accumulator only carries it; so do these.

Source: expansion of the macros in cel-go ``parser/macro.go`` and ``ext``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from berth.cel.charges import FAILED, charge_of
from berth.cel.closures_fold import pick_sort
from berth.cel.cost_units import LIMIT, LIST
from berth.cel.equality import put_key
from berth.cel.meters import TOO_EXPENSIVE, more
from berth.cel.overloads import Overload
from berth.cel.syntax import Fold, Span
from berth.cel.values import CelAbortError
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

_NOT_BOOL = "no such overload: the condition is no bool"


class Loop:
    """One macro with its closures, ready to be run on many devices."""

    def __init__(
        self,
        node: Fold,
        source: Closure,
        slots: tuple[int, ...],
        parts: Sequence[Closure],
        *,
        constant: bool,
    ) -> None:
        self.span: Span = node.span
        self.source = source
        self.slots = slots
        self.parts = tuple(parts)
        self.item_cost = 0 if constant else LIST

    def spend(self, frame: Any, amount: int) -> None:
        """Charge a part of the loop."""
        frame[0] += amount
        if frame[0] > LIMIT:
            if amount < LIST:
                # Made of single units upstream, which stops at the first one beyond the limit.
                frame[0] = LIMIT + 1
            raise CelAbortError(TOO_EXPENSIVE, self.span)

    def steps(self, device: Any, frame: Any) -> Iterable[None]:
        """Evaluate the range, and set the variables for one item after the other."""
        return self.each(self.source(device, frame), frame)

    def each(self, container: Any, frame: Any) -> Iterable[None]:
        """Set the variables for one item after the other."""
        if type(container) is not tuple and not isinstance(container, dict):
            raise CelRuntimeError("the value is not iterable", self.span)
        return self._each(container, frame)

    def _each(self, container: Any, frame: Any) -> Iterable[None]:
        pairs: Iterable[tuple[Any, Any]]
        if len(self.slots) == 1:
            pairs = ((item, item) for item in container)
        elif type(container) is tuple:
            pairs = enumerate(container)
        else:
            pairs = container.items()
        for first, second in pairs:
            frame[self.slots[-1]] = second
            frame[self.slots[0]] = first
            yield

    def attempt(self, part: Closure, device: Any, frame: Any) -> Any:
        """Return the value of a part, or the error that it ends with."""
        try:
            return part(device, frame)
        except CelRuntimeError as error:
            if type(error) is CelAbortError:
                raise
            # Else the error, its traceback and this frame would hold each other.
            return error.with_traceback(None)

    def test(self, part: Closure, device: Any, frame: Any) -> bool | CelRuntimeError:
        """Return the truth of a condition, or its error."""
        value = self.attempt(part, device, frame)
        if type(value) is bool or isinstance(value, CelRuntimeError):
            return value
        return CelRuntimeError(_NOT_BOOL, self.span)

    def quantifier(self, *, deciding: bool) -> Closure:
        """``all`` and ``exists``; the latter also negates its accumulator."""
        condition = 3 if deciding else 2
        part = self.parts[0]

        def run(device: Any, frame: Any) -> bool:
            failure: CelRuntimeError | None = None
            decided = False
            for _ in self.steps(device, frame):
                self.spend(frame, condition if decided else condition + 1)
                if decided:
                    break
                try:
                    value = part(device, frame)
                except CelRuntimeError as error:
                    if type(error) is CelAbortError:
                        raise
                    failure = failure or error.with_traceback(None)
                    continue
                if value is deciding:
                    decided, failure = True, None
                elif type(value) is not bool:
                    failure = failure or CelRuntimeError(_NOT_BOOL, self.span)
            self.spend(frame, 1)
            if failure is not None:
                raise failure
            return deciding is decided

        return run

    def exactly_one(self, device: Any, frame: Any) -> bool:
        """``exists_one``."""
        count, failure = 0, None
        for _ in self.steps(device, frame):
            value = self.test(self.parts[0], device, frame)
            if isinstance(value, CelRuntimeError):
                failure = value
            elif value:
                self.spend(frame, 2)
                count += 1
        self.spend(frame, 2)
        if failure is not None:
            raise failure
        return count == 1

    def collected(self, device: Any, frame: Any) -> tuple[Any, ...]:
        """``map`` and ``filter``."""
        return self._collect(self.steps(device, frame), device, frame)

    def _collect(self, steps: Iterable[None], device: Any, frame: Any) -> tuple[Any, ...]:
        *tests, value = self.parts
        result: list[Any] = []
        failure = None
        for _ in steps:
            passed = self.test(tests[0], device, frame) if tests else True
            if passed is True:
                self.spend(frame, 1)
                item = self.attempt(value, device, frame)
                self.spend(frame, self.item_cost + 1)
                passed = item if isinstance(item, CelRuntimeError) else True
                result.append(item)
            if isinstance(passed, CelRuntimeError):
                failure = passed
        self.spend(frame, 1)
        if failure is not None:
            raise failure
        return tuple(result)

    def transformed(self, *, entries: bool) -> Closure:
        """``transformMap`` and, where ``entries``, ``transformMapEntry``."""
        *tests, value = self.parts

        def run(device: Any, frame: Any) -> dict[Any, Any]:
            result: dict[Any, Any] = {}
            failure: CelRuntimeError | None = None
            for _ in self.steps(device, frame):
                passed = self.test(tests[0], device, frame) if tests else True
                if isinstance(passed, CelRuntimeError):
                    failure = passed
                if passed is not True:
                    continue
                self.spend(frame, 1)
                if failure is not None and not entries:
                    # The accumulator is the first argument and has failed already.
                    continue
                key = frame[self.slots[0]]
                if not entries:
                    self.spend(frame, 1)
                item = self.attempt(value, device, frame)
                self.spend(frame, 1)
                if failure is None:
                    failure = self._insert(result, key, item, entries=entries)
            self.spend(frame, 1)
            if failure is not None:
                raise failure
            return result

        return run

    def _insert(
        self, result: dict[Any, Any], key: Any, item: Any, *, entries: bool
    ) -> CelRuntimeError | None:
        if isinstance(item, CelRuntimeError):
            return item
        if entries and not isinstance(item, dict):
            return CelRuntimeError("no such overload: the entry is no map", self.span)
        try:
            for name, content in item.items() if entries else ((key, item),):
                if entries and name in result:
                    return CelRuntimeError(f"insert failed: key {name} already exists", self.span)
                put_key(result, name, content)
        except CelRuntimeError as error:
            return error
        return None

    def sorted_by(self, candidates: tuple[Overload, ...]) -> Closure:
        """``sortBy``, which binds its list to a name and reads that twice."""
        charge = charge_of("@sortBy", candidates)
        original = more(self.source, 1, self.span)

        def run(device: Any, frame: Any) -> Any:
            items = original(device, frame)
            self.spend(frame, 1)
            try:
                keys = self._collect(self.each(items, frame), device, frame)
            except CelRuntimeError as error:
                if type(error) is not CelAbortError:
                    self.spend(frame, charge((items, FAILED), FAILED))
                raise
            self.spend(frame, charge((items, keys), items))
            return pick_sort(candidates, (items, keys), self.span)

        return run


def fold(  # noqa: PLR0913 - the parts of one node
    node: Fold,
    source: Closure,
    slots: tuple[int, ...],
    parts: Sequence[Closure],
    candidates: tuple[Overload, ...],
    *,
    constant: bool,
) -> Closure:
    """Return the closure of a macro; ``constant`` tells that what ``map`` collects is one."""
    loop = Loop(node, source, slots, parts, constant=constant)
    match node.macro:
        case "all":
            return loop.quantifier(deciding=False)
        case "exists":
            return loop.quantifier(deciding=True)
        case "exists_one" | "existsOne":
            return loop.exactly_one
        case "sortBy":
            return loop.sorted_by(candidates)
        case "transformMap":
            return loop.transformed(entries=False)
        case "transformMapEntry":
            return loop.transformed(entries=True)
        case "filter":
            loop.parts = (*parts, more(lambda _device, frame: frame[slots[0]], 1, node.span))
            loop.item_cost = LIST
            return loop.collected
        case _:
            return loop.collected
