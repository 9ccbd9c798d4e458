# SPDX-License-Identifier: Apache-2.0
"""The closures of the macros that go through a list or map.

``all`` and ``exists`` absorb errors as ``&&`` and ``||`` do, the others do not. Steps are counted
one by one, which ends whatever the estimate of ``berth.cel.cost`` should not have seen coming.

Source: cel-go ``parser/macro.go`` and ``ext`` (two-variable comprehensions, lists).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from berth.cel.cost_units import LIMIT
from berth.cel.equality import put_key
from berth.cel.overloads import Overload
from berth.cel.syntax import Span
from berth.cel.values import CelAbortError
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

_NOT_BOOL = "no such overload: the condition is no bool"


def fold(  # noqa: PLR0913, PLR0917 - the parts of one node
    macro: str,
    source: Closure,
    slots: tuple[int, ...],
    parts: Sequence[Closure],
    overloads: tuple[Overload, ...],
    span: Span,
) -> Closure:
    """Return the closure of a macro."""
    steps = _steps(source, slots, span)
    match macro:
        case "all":
            return _quantifier(steps, parts[0], deciding=False, span=span)
        case "exists":
            return _quantifier(steps, parts[0], deciding=True, span=span)
        case "exists_one" | "existsOne":
            return _exactly_one(steps, parts[0], span)
        case "filter":
            return _filter(steps, slots[0], parts[0], span)
        case "map" | "transformList":
            return _map(steps, parts, span)
        case "sortBy":
            return _sort_by(steps, slots[0], parts[0], overloads, span)
        case "transformMap":
            return _transform_map(steps, slots[0], parts, span)
        case _:
            return _transform_entries(steps, parts, span)


def _steps(source: Closure, slots: tuple[int, ...], span: Span) -> Callable[[Any, Any], Any]:
    """Return a generator function that sets the variables for each step and counts it."""

    def run(device: Any, frame: Any) -> Iterable[None]:
        container = source(device, frame)
        if type(container) is not tuple and not isinstance(container, dict):
            raise CelRuntimeError("the value is not iterable", span)
        return _each(container, frame, slots, span)

    return run


def _each(container: Any, frame: Any, slots: tuple[int, ...], span: Span) -> Iterable[None]:
    pairs: Iterable[tuple[Any, Any]]
    if len(slots) == 2:
        pairs = enumerate(container) if type(container) is tuple else container.items()
    else:
        pairs = ((item, None) for item in container)
    for first, second in pairs:
        frame[0] += 1
        if frame[0] > LIMIT:
            raise CelAbortError("actual cost limit exceeded", span)
        frame[slots[0]] = first
        frame[slots[-1]] = second if len(slots) == 2 else first
        yield


def _quantifier(steps: Closure, test: Closure, *, deciding: bool, span: Span) -> Closure:
    undecided = not deciding

    def run(device: Any, frame: Any) -> bool:
        failure: CelRuntimeError | None = None
        for _ in steps(device, frame):
            try:
                value = test(device, frame)
            except CelRuntimeError as error:
                if type(error) is CelAbortError:
                    raise
                failure = failure or error.with_traceback(None)
                continue
            if value is deciding:
                return not undecided
            if type(value) is not bool:
                failure = failure or CelRuntimeError(_NOT_BOOL, span)
        if failure is not None:
            raise failure
        return undecided

    return run


def _holds(test: Closure, device: Any, frame: Any, span: Span) -> bool:
    value = test(device, frame)
    if type(value) is bool:
        return value
    raise CelRuntimeError(_NOT_BOOL, span)


def _exactly_one(steps: Closure, test: Closure, span: Span) -> Closure:
    def run(device: Any, frame: Any) -> bool:
        count = 0
        for _ in steps(device, frame):
            count += _holds(test, device, frame, span)
        return count == 1

    return run


def _filter(steps: Closure, slot: int, test: Closure, span: Span) -> Closure:
    def run(device: Any, frame: Any) -> tuple[Any, ...]:
        return tuple(
            [frame[slot] for _ in steps(device, frame) if _holds(test, device, frame, span)]
        )

    return run


def _map(steps: Closure, parts: Sequence[Closure], span: Span) -> Closure:
    *tests, value = parts

    def run(device: Any, frame: Any) -> tuple[Any, ...]:
        return tuple(
            [
                value(device, frame)
                for _ in steps(device, frame)
                if all(_holds(test, device, frame, span) for test in tests)
            ]
        )

    return run


def _transform_map(steps: Closure, slot: int, parts: Sequence[Closure], span: Span) -> Closure:
    *tests, value = parts

    def run(device: Any, frame: Any) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in steps(device, frame):
            if all(_holds(test, device, frame, span) for test in tests):
                put_key(result, frame[slot], value(device, frame))
        return result

    return run


def _transform_entries(steps: Closure, parts: Sequence[Closure], span: Span) -> Closure:
    *tests, value = parts

    def run(device: Any, frame: Any) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for _ in steps(device, frame):
            if all(_holds(test, device, frame, span) for test in tests):
                entry = value(device, frame)
                if not isinstance(entry, dict):
                    raise CelRuntimeError("no such overload: the entry is no map", span)
                for key, item in entry.items():
                    if key in result:
                        raise CelRuntimeError(f"insert failed: key {key} already exists", span)
                    put_key(result, key, item)
        return result

    return run


def _sort_by(
    steps: Closure, slot: int, key: Closure, overloads: tuple[Overload, ...], span: Span
) -> Closure:
    def run(device: Any, frame: Any) -> Any:
        items: list[Any] = []
        keys: list[Any] = []
        for _ in steps(device, frame):
            items.append(frame[slot])
            keys.append(key(device, frame))
        return pick_sort(overloads, (tuple(items), tuple(keys)), span)

    return run


def pick_sort(overloads: tuple[Overload, ...], args: tuple[Any, Any], span: Span) -> Any:
    """Sort the first list by the second one, with the overload that takes their items.

    Raises:
        CelRuntimeError: If the keys have no order.
    """
    for overload in overloads:
        if overload.accepts(args):
            return overload.body(*args)
    raise CelRuntimeError("no such overload: `sortBy`", span)
