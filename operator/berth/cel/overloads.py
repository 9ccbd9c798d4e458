# SPDX-License-Identifier: Apache-2.0
"""How functions are declared: an overload has argument types, a result type and a body.

The libraries (``library_*``) declare overloads; the checker selects among them by static types,
the compiled expression by the classes of its values. Nothing here evaluates an expression.

Source: cel-go ``common/types`` (which values an overload takes at run time: the outer type, and
the first element of a list or map).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from berth.cel.types import Type
from berth.cel.values import DomainMap, type_name

Body: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class Overload:
    """One signature of a function.

    ``member`` tells that the first of ``params`` is written before the dot.
    """

    function: str
    member: bool
    params: tuple[Type, ...]
    result: Type
    body: Body

    def accepts(self, args: tuple[Any, ...]) -> bool:
        """Tell whether this overload takes values of these types at run time."""
        return len(args) == len(self.params) and all(
            takes(param, arg) for param, arg in zip(self.params, args, strict=True)
        )


def takes(kind: Type, value: Any) -> bool:
    """Tell whether a parameter of the type ``kind`` takes ``value``."""
    if kind.is_variable or kind.name == "dyn":
        return True
    if kind.name != type_name(value):
        return False
    if kind.name == "list" and value:
        return takes(kind.params[0], value[0])
    if kind.name == "map" and value and type(value) is not DomainMap:
        key, item = next(iter(value.items()))
        return takes(kind.params[0], key) and takes(kind.params[1], item)
    return True


def member(name: str, params: tuple[Type, ...], result: Type, body: Body) -> Overload:
    """Declare ``params[0].name(params[1], …)``."""
    return Overload(name, True, params, result, body)  # noqa: FBT003 - the name says which


def function(name: str, params: tuple[Type, ...], result: Type, body: Body) -> Overload:
    """Declare ``name(params[0], …)``; ``name`` may have dots."""
    return Overload(name, False, params, result, body)  # noqa: FBT003 - the name says which
