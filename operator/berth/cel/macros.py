# SPDX-License-Identifier: Apache-2.0
"""Expands the macros of the device environment; a call that is none of them stays a call.

Source: standard macros of CEL; cel-go's ext libraries bindings, two-variable comprehensions and
lists; optional library. DRA enables these, but not the one-variable ``existsOne``.
"""

from __future__ import annotations

from berth.cel.syntax import Bind, Call, Fold, Has, Name, Node, OptMap, Select, Span

_FOLDS = {
    # (macro, number of arguments): number of variables
    ("all", 2): 1,
    ("exists", 2): 1,
    ("exists_one", 2): 1,
    ("filter", 2): 1,
    ("map", 2): 1,
    ("map", 3): 1,
    ("sortBy", 2): 1,
    ("all", 3): 2,
    ("exists", 3): 2,
    ("exists_one", 3): 2,
    ("existsOne", 3): 2,
    ("transformList", 3): 2,
    ("transformList", 4): 2,
    ("transformMap", 3): 2,
    ("transformMap", 4): 2,
    ("transformMapEntry", 3): 2,
    ("transformMapEntry", 4): 2,
}


class CelSyntaxError(Exception):
    """A mistake found while the tree is built; becomes an ``InvalidSelectorError``."""

    def __init__(self, detail: str, span: Span, *, unsupported: bool = False) -> None:
        self.detail = detail
        self.span = span
        self.unsupported = unsupported
        super().__init__(detail)


def expand(call: Call) -> Node:
    """Return what ``call`` stands for: a node for a macro, or ``call`` itself.

    Raises:
        CelSyntaxError: If the arguments of a macro are not of the form that it needs.
    """
    function, target, args = call.function, call.target, call.args
    if target is None:
        return _has(call) if function == "has" and len(args) == 1 else call
    if function == "bind" and len(args) == 3 and isinstance(target, Name) and target.name == "cel":
        return Bind(call.span, _variable(args[0]), args[1], args[2])
    if function in ("optMap", "optFlatMap") and len(args) == 2:
        return OptMap(call.span, target, _variable(args[0]), args[1], function == "optFlatMap")
    count = _FOLDS.get((function, len(args)))
    if count is None:
        return call
    variables = tuple(_variable(arg) for arg in args[:count])
    if len(set(variables)) < count:
        raise CelSyntaxError(f"`{function}` needs two different variables", args[1].span)
    return Fold(call.span, function, variables, target, args[count:])


def _has(call: Call) -> Node:
    selection = call.args[0]
    if not isinstance(selection, Select) or selection.optional:
        raise CelSyntaxError("`has` needs a field selection such as `has(a.b)`", selection.span)
    return Has(call.span, selection.operand, selection.field)


def _variable(node: Node) -> str:
    if not isinstance(node, Name):
        raise CelSyntaxError("the variable of a macro must be a plain name", node.span)
    return node.name
