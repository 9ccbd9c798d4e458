# SPDX-License-Identifier: Apache-2.0
"""The closures of operators, calls, literals and local names.

Each function returns the closure of one kind of node, from the closures of its parts. ``&&`` and
``||`` absorb errors in either order; an operand that is no bool counts as an error.

Source: CEL language definition, "Logical Operators" and "Evaluation"; cel-go ``interpreter``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from berth.cel.equality import Opaque, equal, put_key, surely_equal
from berth.cel.overloads import Body, Overload
from berth.cel.syntax import Span
from berth.cel.values import (
    NONE,
    CelAbortError,
    CelType,
    Optional,
    Uint,
    class_of_name,
    type_name,
)
from berth.errors import CelRuntimeError

Closure: TypeAlias = Callable[[Any, Any], Any]

_NOT_BOOL = "no such overload: the operand is no bool"
_NUMBERS = (int, Uint, float)


class Lazy:
    """A bound value that nobody has asked for yet, and then its outcome."""

    __slots__ = ("closure", "done", "failure", "value")

    def __init__(self, closure: Closure) -> None:
        self.closure = closure
        self.done = False
        self.value: Any = None
        self.failure: CelRuntimeError | None = None


def constant(value: Any) -> Closure:
    """Return a value that never changes."""
    return lambda _device, _frame: value


def local(slot: int) -> Closure:
    """Read the variable of a macro."""
    return lambda _device, frame: frame[slot]


def lazy_local(slot: int) -> Closure:
    """Read a bound value, evaluating it at the first time."""

    def read(device: Any, frame: Any) -> Any:
        lazy = frame[slot]
        if not lazy.done:
            lazy.done = True
            try:
                lazy.value = lazy.closure(device, frame)
            except CelRuntimeError as error:
                lazy.failure = error
        if lazy.failure is not None:
            raise lazy.failure
        return lazy.value

    return read


def bind(slot: int, value: Closure, body: Closure) -> Closure:
    """``cel.bind``: give a value a name."""

    def run(device: Any, frame: Any) -> Any:
        frame[slot] = Lazy(value)
        return body(device, frame)

    return run


def logic(terms: Sequence[Closure], conjunction: bool, span: Span) -> Closure:  # noqa: FBT001 - a field of the node
    """A chain of ``&&`` or ``||``."""
    chain = tuple(terms)
    deciding = not conjunction

    def run(device: Any, frame: Any) -> bool:
        failure: CelRuntimeError | None = None
        for term in chain:
            try:
                value = term(device, frame)
            except CelRuntimeError as error:
                if type(error) is CelAbortError:
                    raise
                failure = failure or error.with_traceback(None)
                continue
            if value is deciding:
                return not conjunction
            if value is not conjunction:
                failure = failure or CelRuntimeError(_NOT_BOOL, span)
        if failure is not None:
            raise failure
        return conjunction

    return run


def conditional(test: Closure, then: Closure, otherwise: Closure, span: Span) -> Closure:
    """``test ? then : otherwise``."""

    def run(device: Any, frame: Any) -> Any:
        decision = test(device, frame)
        if decision is True:
            return then(device, frame)
        if decision is False:
            return otherwise(device, frame)
        raise CelRuntimeError(_NOT_BOOL, span)

    return run


def equals(left: Closure, right: Closure, negated: bool, span: Span) -> Closure:  # noqa: FBT001 - which operator
    """``==`` and ``!=``; the latter takes an error of the comparison as unequal."""
    if negated:
        return lambda device, frame: not surely_equal(left(device, frame), right(device, frame))

    def run(device: Any, frame: Any) -> bool:
        first, second = left(device, frame), right(device, frame)
        try:
            return equal(first, second)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def equals_constant(left: Closure, value: Any, negated: bool, span: Span) -> Closure:  # noqa: FBT001 - which operator
    """``==`` and ``!=`` against a constant, which is what most selectors consist of."""
    kind = type(value)
    if isinstance(value, Opaque) and value.accepts(value) and not negated:
        return _equals_opaque(left, value, span)
    if kind not in (str, bool, int):
        return equals(left, constant(value), negated, span)
    if negated:

        def differs(device: Any, frame: Any) -> bool:
            first = left(device, frame)
            return first != value if type(first) is kind else not surely_equal(first, value)

        return differs

    def run(device: Any, frame: Any) -> bool:
        first = left(device, frame)
        if type(first) is kind:
            return bool(first == value)
        try:
            return equal(first, value)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def _equals_opaque(left: Closure, value: Opaque, span: Span) -> Closure:
    kind = type(value)

    def run(device: Any, frame: Any) -> bool:
        first = left(device, frame)
        if type(first) is kind:
            return first.same(value)
        try:
            return equal(first, value)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def member_of_constant(item: Closure, members: Any, span: Span) -> Closure | None:
    """``x in [constants]`` as a look-up in a set; ``None`` where upstream does not do that.

    Upstream hashes the left side, and a Semver or bytes cannot be hashed there: an error that
    nothing absorbs. Kept as it is, since it decides whether a pod is allocated.
    """
    if type(members) is not tuple:
        return None
    if not members:
        return constant(value=False)
    if any(type(member) not in (str, bool, *_NUMBERS, CelType, type(None)) for member in members):
        return None
    bools = frozenset(member for member in members if type(member) is bool)
    others = frozenset(
        int(member) if type(member) is Uint else member
        for member in members
        if type(member) is not bool and member == member  # noqa: PLR0124 - leaves out NaN
    )

    def run(device: Any, frame: Any) -> bool:
        value = item(device, frame)
        kind = type(value)
        if kind is bool:
            return value in bools
        if kind in (str, int, float, Uint):
            return value in others
        if kind is bytes or (isinstance(value, Opaque) and type_name(value).endswith("Semver")):
            raise CelAbortError("internal error: the value cannot be hashed", span)
        return (value is None or kind is CelType) and value in others

    return run


def fallback(target: Closure, other: Closure, keep: bool, span: Span) -> Closure:  # noqa: FBT001 - which function
    """``or`` (``keep`` it optional) and ``orValue``; ``other`` is evaluated only when needed."""

    def run(device: Any, frame: Any) -> Any:
        optional = target(device, frame)
        if type(optional) is not Optional:
            raise CelRuntimeError("no such overload: the value is not optional", span)
        if optional.present:
            return optional if keep else optional.value
        value = other(device, frame)
        if keep and type(value) is not Optional:
            raise CelRuntimeError("no such overload: the value is not optional", span)
        return value

    return run


def opt_map(target: Closure, slot: int, body: Closure, flat: bool, span: Span) -> Closure:  # noqa: FBT001 - which macro
    """``optMap`` and, where ``flat``, ``optFlatMap``."""

    def run(device: Any, frame: Any) -> Any:
        optional = target(device, frame)
        if type(optional) is not Optional:
            raise CelRuntimeError("no such overload: the value is not optional", span)
        if not optional.present:
            return NONE
        frame[slot] = optional.value
        value = body(device, frame)
        return value if flat else Optional(present=True, value=value)

    return run


def indispensable(closure: Closure, span: Span) -> Closure:
    """Turn an error of ``closure`` into one that nothing absorbs."""

    def run(device: Any, frame: Any) -> Any:
        try:
            return closure(device, frame)
        except CelRuntimeError as error:
            raise CelAbortError(f"internal error: {error.detail}", error.span or span) from None

    return run


def list_of(items: Sequence[Closure], optional: frozenset[int], span: Span) -> Closure:
    """A list literal."""
    closures = tuple(items)
    if not optional:
        return lambda device, frame: tuple([item(device, frame) for item in closures])

    def run(device: Any, frame: Any) -> tuple[Any, ...]:
        values = []
        for position, item in enumerate(closures):
            value = item(device, frame)
            if position in optional:
                if type(value) is not Optional:
                    raise CelRuntimeError("the value of an optional item is not optional", span)
                if not value.present:
                    continue
                value = value.value
            values.append(value)
        return tuple(values)

    return run


def map_of(
    keys: Sequence[Closure], values: Sequence[Closure], optional: frozenset[int], span: Span
) -> Closure:
    """A map literal; of equal keys the last one counts."""
    entries = tuple(zip(keys, values, strict=True))

    def run(device: Any, frame: Any) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for position, (key_closure, value_closure) in enumerate(entries):
            key, value = key_closure(device, frame), value_closure(device, frame)
            if position in optional:
                if type(value) is not Optional:
                    raise CelRuntimeError("the value of an optional entry is not optional", span)
                if not value.present:
                    continue
                value = value.value
            try:
                put_key(result, key, value)
            except CelRuntimeError as error:
                raise _placed(error, span) from None
        return result

    return run


def call(
    name: str, candidates: tuple[Overload, ...], parts: Sequence[Closure], span: Span
) -> Closure:
    """A function or operator, chosen by the types of the values among ``candidates``."""

    def find(*args: Any) -> Body:
        for overload in candidates:
            if overload.accepts(args):
                return overload.body
        raise CelRuntimeError(f"no such overload: `{name}`", span)

    if len(parts) == 1:
        return _call_one(parts[0], find, by_first(candidates), span)
    if len(parts) == 2:
        return _call_two(parts[0], parts[1], find, by_both(candidates), span)
    closures = tuple(parts)

    def run(device: Any, frame: Any) -> Any:
        args = [part(device, frame) for part in closures]
        body = find(*args)
        try:
            return body(*args)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def _call_one(part: Closure, find: Body, table: dict[type, Body], span: Span) -> Closure:
    def run(device: Any, frame: Any) -> Any:
        value = part(device, frame)
        body = table.get(type(value)) or find(value)
        try:
            return body(value)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def _call_two(
    left: Closure,
    right: Closure,
    find: Body,
    table: dict[type, tuple[type, Body]],
    span: Span,
) -> Closure:
    def run(device: Any, frame: Any) -> Any:
        first, second = left(device, frame), right(device, frame)
        entry = table.get(type(first))
        body = entry[1] if entry and entry[0] is type(second) else find(first, second)
        try:
            return body(first, second)
        except CelRuntimeError as error:
            raise _placed(error, span) from None

    return run


def by_first(candidates: tuple[Overload, ...]) -> dict[type, Body]:
    """Return bodies by class, as far as the class alone decides."""
    table: dict[type, Body] = {}
    for overload in candidates:
        cls = class_of_name(overload.params[0].name)
        if cls is None:
            break
        table.setdefault(cls, overload.body)
    return table


def by_both(candidates: tuple[Overload, ...]) -> dict[type, tuple[type, Body]]:
    """Return bodies by the class of the first argument, each with that of the second."""
    table: dict[type, tuple[type, Body]] = {}
    for overload in candidates:
        first = class_of_name(overload.params[0].name)
        second = class_of_name(overload.params[1].name)
        if first is None or second is None:
            break
        table.setdefault(first, (second, overload.body))
    return table


def _placed(error: CelRuntimeError, span: Span) -> CelRuntimeError:
    if error.span is None:
        error.span = span
    return error
