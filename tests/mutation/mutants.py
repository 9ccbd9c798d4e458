# SPDX-License-Identifier: Apache-2.0
"""The small changes that a test ought to notice, one at a time, in the source of a module.

Not changed: annotations, decorators, docstrings, match patterns, ``assert_never`` and checks that
end in ``AssertionError``, since no correct program reaches what they guard against.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
EXTREMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Fields that say how a program is read or checked, not what it does.
UNREAD = {"annotation", "returns", "decorator_list", "type_comment", "type_params", "pattern"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. ``index`` counts those of its module; ``where`` is a class or a function."""

    index: int
    line: int
    where: str
    operator: str
    before: str
    after: str

    @property
    def change(self) -> str:
        return f"{self.before} -> {self.after}"


@dataclass(frozen=True, slots=True)
class _Change:
    """What may be done at one place of a tree; ``apply`` does it there."""

    node: ast.AST
    where: str
    operator: str
    before: str
    after: str
    apply: Callable[[], None]


def list_mutants(source: str) -> tuple[Mutant, ...]:
    """Return every mutant of a module, in the order of its text."""
    return tuple(
        Mutant(index, _line(each.node), each.where, each.operator, each.before, each.after)
        for index, each in enumerate(_changes(ast.parse(source)))
    )


def compile_mutant(source: str, index: int, filename: str) -> CodeType:
    """Return the code of the module with the change number ``index`` made."""
    tree = ast.parse(source)
    chosen = next(each for number, each in enumerate(_changes(tree)) if number == index)
    chosen.apply()
    return compile(ast.fix_missing_locations(tree), filename, "exec")


def _line(node: ast.AST) -> int:
    at = node.target if isinstance(node, ast.comprehension) else node
    line: int = getattr(at, "lineno", 0)
    return line


def _changes(tree: ast.Module) -> Iterator[_Change]:
    # As a list: a change that is made while others are looked for would hide some of them.
    places = list(_places(tree, ()))
    for parent, field, position, where in places:
        node = _get(parent, field, position)
        before = ast.unparse(node)
        for operator, replacement in _replacements(node, in_function=bool(where)):
            after = ast.unparse(ast.fix_missing_locations(replacement))
            yield _Change(
                node,
                ".".join(where) or "module",
                operator,
                _shown(before),
                _shown(after),
                _setter(parent, field, position, replacement),
            )


def _shown(code: str) -> str:
    return " ".join(code.split())


def _get(parent: ast.AST, field: str, position: int | None) -> ast.AST:
    value = getattr(parent, field)
    node: ast.AST = value if position is None else value[position]
    return node


def _setter(
    parent: ast.AST, field: str, position: int | None, replacement: ast.AST
) -> Callable[[], None]:
    def apply() -> None:
        if position is None:
            setattr(parent, field, replacement)
        else:
            getattr(parent, field)[position] = replacement

    return apply


def _places(
    parent: ast.AST, where: tuple[str, ...]
) -> Iterator[tuple[ast.AST, str, int | None, tuple[str, ...]]]:
    for field, value in ast.iter_fields(parent):
        if field in UNREAD:
            continue
        for position, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(node, ast.AST) or _is_left_alone(node, parent, field):
                continue
            yield parent, field, position, where
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    yield from _places(node, (*where, name))
                case _:
                    yield from _places(node, where)


def _is_left_alone(node: ast.AST, parent: ast.AST, field: str) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.If(body=[ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError")))]):
            return True
        case ast.Raise(exc=ast.Call(func=ast.Name(id="AssertionError"))):
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            return True
        case ast.Constant():
            # The first argument of `cast` is a type; a format is changed with the value it shows.
            of_cast = isinstance(parent, ast.Call) and ast.unparse(parent.func) == "cast"
            return of_cast or field == "format_spec"
        case ast.JoinedStr():
            return field == "format_spec"
    return False


def _replacements(node: ast.AST, *, in_function: bool) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return", ast.Return(ast.Constant(None))
        case ast.AugAssign(target=target, op=operator, value=value):
            yield "statement", ast.Pass()
            if type(operator) in ARITHMETIC:
                yield "arithmetic", ast.AugAssign(target, ARITHMETIC[type(operator)](), value)
        case ast.stmt() if in_function and _can_go(node):
            yield "statement", ast.Pass()
        case ast.BinOp(left=left, op=operator, right=right) if (
            in_function and type(operator) in ARITHMETIC and not _joins(node)
        ):
            yield "arithmetic", ast.BinOp(left, ARITHMETIC[type(operator)](), right)
        case ast.comprehension(ifs=[_, *_]):
            yield "filter", ast.comprehension(node.target, node.iter, [], node.is_async)
        case ast.expr():
            yield from _of_expression(node)


def _of_expression(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            for at, each in enumerate(ops):
                swapped = [*ops[:at], COMPARISONS[type(each)](), *ops[at + 1 :]]
                yield "comparison", ast.Compare(left, swapped, comparators)
        case ast.BoolOp(op=operator, values=values):
            other = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield "boolean", ast.BoolOp(other, values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", operand
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in EXTREMES:
            yield "extreme", ast.Call(ast.Name(EXTREMES[name], ast.Load()), args, keywords)
        case ast.Constant():
            yield from _of_constant(node)


def _can_go(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            return True
        case ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(each, ast.Attribute | ast.Subscript) for each in targets)
    return False


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _joins(node: ast.BinOp) -> bool:
    """Tell whether texts or types are joined: every run would fail, which proves nothing."""
    return any(
        isinstance(side, ast.JoinedStr)
        or (isinstance(side, ast.Constant) and isinstance(side.value, str))
        or (isinstance(node.op, ast.BitOr) and ast.unparse(side)[:1].isupper())
        for side in (node.left, node.right)
    )


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    match node.value:
        case bool() as value:
            yield "constant", ast.Constant(not value)
        case int() as value:
            yield "constant", ast.Constant(value + 1)
            yield "constant", ast.Constant(value - 1)
        case str() as value if value:
            yield "text", ast.Constant(f"{value}XX")
