# SPDX-License-Identifier: Apache-2.0
"""The closures of macros that count what their loops cost.

Upstream's loops go on after an error, as their accumulator only carries it; so do these.

Source: expansion of the macros in cel-go ``parser/macro.go`` and ``ext``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from berth.cel.charges import charge_of
from berth.cel.closures_fold import pick_sort
from berth.cel.cost_units import LIMIT, LIST
from berth.cel.equality import put_key
from berth.cel.meters import TOO_EXPENSIVE, caught, more, paid_local
from berth.cel.overloads import Overload
from berth.cel.syntax import Fold, Span
from berth.cel.values import CelAbortError
from berth.cel.work import MOST, TOO_LONG
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
        self.no_bool = CelRuntimeError(_NOT_BOOL, node.span)
        self.no_range = CelRuntimeError("the value is not iterable", node.span)

    def spend(self, frame: Any, amount: int) -> None:
        """Charge a part of the loop."""
        frame[0] += amount
        if frame[0] > LIMIT:
            raise self.too_expensive(frame, amount)

    def too_expensive(self, frame: Any, amount: int) -> CelAbortError:
        """Return the error of a cost beyond the limit."""
        if amount < LIST:
            # Made of single units upstream, which stops at the first one beyond the limit.
            frame[0] = LIMIT + 1
        return CelAbortError(TOO_EXPENSIVE, self.span)

    def pairs(self, container: Any) -> Iterable[Any]:
        """Return what the loop goes through: items, or pairs where it has two variables."""
        pairs: Iterable[Any] = container
        if len(self.slots) == 1:
            return pairs
        return enumerate(container) if type(container) is tuple else container.items()

    def over(self, run: Callable[[Any, Any, Any], Any]) -> Closure:
        """Return the closure that evaluates the range and gives it to ``run``."""

        def begin(device: Any, frame: Any) -> Any:
            container = self.source(device, frame)
            if type(container) is tuple or isinstance(container, dict):
                return run(device, frame, container)
            return container if type(container) is CelRuntimeError else self.no_range

        return begin

    def quantifier(self, *, deciding: bool) -> Closure:
        """``all`` and ``exists``; the latter also negates its accumulator."""
        condition = 3 if deciding else 2
        step = condition + 1
        part = self.parts[0]
        single = len(self.slots) == 1
        first, second = self.slots[0], self.slots[-1]
        undecided = not deciding

        def run(device: Any, frame: Any, container: Any) -> Any:
            failure: CelRuntimeError | None = None
            decided = False
            for item in self.pairs(container):
                if decided:
                    self.spend(frame, condition)
                    break
                if single:
                    frame[first] = item
                else:
                    frame[first], frame[second] = item
                frame[0] += step
                if frame[0] > LIMIT:
                    raise self.too_expensive(frame, step)
                if frame[1] > MOST:
                    raise CelAbortError(TOO_LONG, self.span)
                value = part(device, frame)
                if value is undecided:
                    continue
                if value is deciding:
                    decided, failure = True, None
                elif failure is None:
                    failure = value if type(value) is CelRuntimeError else self.no_bool
            self.spend(frame, 1)
            return (deciding is decided) if failure is None else failure

        return self.over(run)

    def steps(self, frame: Any, container: Any) -> Iterable[None]:
        """Set the variables for one step after the other; a step without cost is counted."""
        single = len(self.slots) == 1
        first, second = self.slots[0], self.slots[-1]
        cost = frame[0]
        for item in self.pairs(container):
            if single:
                frame[first] = item
            else:
                frame[first], frame[second] = item
            yield
            if frame[0] == cost:
                frame[1] += 1
            if frame[1] > MOST:
                raise CelAbortError(TOO_LONG, self.span)
            cost = frame[0]

    def failed(self, value: Any) -> CelRuntimeError:
        """Return the error of a condition that is neither true nor false."""
        return value if type(value) is CelRuntimeError else self.no_bool

    def exactly_one(self, device: Any, frame: Any, container: Any) -> bool | CelRuntimeError:
        """``exists_one``."""
        count, failure = 0, None
        part = self.parts[0]
        for _ in self.steps(frame, container):
            value = part(device, frame)
            if value is True:
                self.spend(frame, 2)
                count += 1
            elif value is not False:
                failure = self.failed(value)
        self.spend(frame, 2)
        return count == 1 if failure is None else failure

    def collected(self, device: Any, frame: Any, container: Any) -> Any:
        """``map`` and ``filter``."""
        *tests, value = self.parts
        test = tests[0] if tests else None
        result: list[Any] = []
        failure = None
        for _ in self.steps(frame, container):
            passed = True if test is None else test(device, frame)
            if passed is True:
                self.spend(frame, 1)
                item = value(device, frame)
                self.spend(frame, self.item_cost + 1)
                if type(item) is CelRuntimeError:
                    failure = item
                result.append(item)
            elif passed is not False:
                failure = self.failed(passed)
        self.spend(frame, 1)
        return tuple(result) if failure is None else failure

    def transformed(self, *, entries: bool) -> Closure:
        """``transformMap`` and, where ``entries``, ``transformMapEntry``."""
        *tests, value = self.parts

        def run(device: Any, frame: Any, container: Any) -> Any:
            result: dict[Any, Any] = {}
            failure: CelRuntimeError | None = None
            for _ in self.steps(frame, container):
                passed = tests[0](device, frame) if tests else True
                if passed is not True:
                    failure = failure if passed is False else self.failed(passed)
                    continue
                self.spend(frame, 1)
                if failure is not None and not entries:
                    # The accumulator is the first argument and has failed already.
                    continue
                key = frame[self.slots[0]]
                if not entries:
                    self.spend(frame, 1)
                item = value(device, frame)
                self.spend(frame, 1)
                if failure is None:
                    failure = self._insert(result, key, item, frame, entries=entries)
            self.spend(frame, 1)
            return result if failure is None else failure

        return self.over(run)

    def _insert(
        self, result: dict[Any, Any], key: Any, item: Any, frame: Any, *, entries: bool
    ) -> CelRuntimeError | None:
        if type(item) is CelRuntimeError:
            return item
        if entries and not isinstance(item, dict):
            return CelRuntimeError("no such overload: the entry is no map", self.span)
        try:
            for name, content in item.items() if entries else ((key, item),):
                if entries and name in result:
                    return CelRuntimeError(f"insert failed: key {name} already exists", self.span)
                put_key(result, name, content)
        except CelRuntimeError as error:
            return caught(error, frame, self.span)
        return None

    def sorted_by(self, candidates: tuple[Overload, ...]) -> Closure:
        """``sortBy``, which binds its list to a name and reads that twice."""
        charge = charge_of("@sortBy", candidates)
        original = more(self.source, 1, self.span)

        def run(device: Any, frame: Any) -> Any:
            items = original(device, frame)
            if type(items) is CelRuntimeError:
                return items
            self.spend(frame, 1)
            keys: Any = self.no_range
            if type(items) is tuple or isinstance(items, dict):
                keys = self.collected(device, frame, items)
            self.spend(frame, charge((items, keys), items))
            if type(keys) is CelRuntimeError:
                return keys
            try:
                return pick_sort(candidates, (items, keys), self.span)
            except CelRuntimeError as error:
                return caught(error, frame, self.span)

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
            return loop.over(loop.exactly_one)
        case "sortBy":
            return loop.sorted_by(candidates)
        case "transformMap":
            return loop.transformed(entries=False)
        case "transformMapEntry":
            return loop.transformed(entries=True)
        case "filter":
            loop.parts = (*parts, paid_local(slots[0], node.span))
            loop.item_cost = LIST
            return loop.over(loop.collected)
        case _:
            return loop.over(loop.collected)
