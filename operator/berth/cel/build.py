# SPDX-License-Identifier: Apache-2.0
"""Builds syntax nodes from what the parser reduces: literals, operators, macros, limits.

A value on the parser's stack is ``(node, depth)``; each method is named after the grammar rule
that it handles and gets the parts of that rule, tokens included. Depth is counted here, so that
everything that later walks a tree may recurse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from berth.cel.literals import (
    LiteralError,
    decode_bytes,
    decode_float,
    decode_int,
    decode_string,
    decode_uint,
)
from berth.cel.macros import CelSyntaxError, expand
from berth.cel.syntax import (
    Call,
    Conditional,
    Index,
    ListLiteral,
    Literal,
    Logic,
    MapLiteral,
    Name,
    Node,
    Select,
    Span,
)

__all__ = ["MAX_DEPTH", "Builder", "CelSyntaxError"]

MAX_DEPTH = 250
"""Levels of nesting; cel-go's limit for its parser."""

_RESERVED = frozenset(
    (
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    )
)
_KEYWORDS = frozenset(("in", "true", "false", "null"))

Parsed: TypeAlias = tuple[Node, int]


class _Prefixed(NamedTuple):
    """A run of one unary operator before an operand that is still to be applied."""

    operator: str
    length: int
    operand: Node
    depth: int
    start: int


class Builder:
    """The callbacks of the parser, one per grammar rule; keeps no state."""

    def expr(self, parts: list[Any]) -> Parsed:
        if len(parts) == 1:
            single: Parsed = parts[0]
            return single
        (test, d1), _, (then, d2), _, (otherwise, d3) = parts
        span = (test.span[0], otherwise.span[1])
        return _deeper(Conditional(span, test, then, otherwise), max(d1, d2, d3))

    def conditionalor(self, parts: list[Any]) -> Parsed:
        return _chain(parts, conjunction=False)

    def conditionaland(self, parts: list[Any]) -> Parsed:
        return _chain(parts, conjunction=True)

    def relation(self, parts: list[Any]) -> Parsed:
        return _binary(parts)

    addition = relation

    def multiplication(self, parts: list[Any]) -> Parsed:
        return _binary([*parts[:-1], _apply(parts[-1])])

    def unary(self, parts: list[Any]) -> Parsed | _Prefixed:
        if len(parts) == 1:
            single: Parsed = parts[0]
            return single
        (token,), operand = parts
        operator = f"{token}_"
        if not isinstance(operand, _Prefixed):
            node, depth = operand
            return _Prefixed(operator, 1, node, depth, token.start_pos)
        if operand.operator == operator:
            return operand._replace(length=operand.length + 1, start=token.start_pos)
        node, depth = _apply(operand)
        if not isinstance(node, Literal) or operand.length > 1:
            raise CelSyntaxError(
                f"syntax error: `{token}` before `{operand.operator[0]}`", node.span
            )
        return _Prefixed(operator, 1, node, depth, token.start_pos)

    def member(self, parts: list[Any]) -> Parsed:
        single: Parsed = parts[0]
        return single

    primary = literal_or_node = member

    def member_dot(self, parts: list[Any]) -> Parsed:
        operand, depth = parts[0]
        _refuse_min_int(operand)
        name = parts[-1]
        span = (operand.span[0], name.end_pos)
        if name.type == "ESCAPED":
            field = str(name)[1:-1]
            if not field or any(not (c.isascii() and (c.isalnum() or c in "_.-/ ")) for c in field):
                raise CelSyntaxError(f"{name} is no escaped field name", _place(name))
        else:
            field = _field_name(name)
        return _deeper(Select(span, operand, field, len(parts) == 4), depth)

    def member_dot_arg(self, parts: list[Any]) -> Parsed:
        operand, depth = parts[0]
        _refuse_min_int(operand)
        args = parts[4] if len(parts) == 6 else []
        span = (operand.span[0], parts[-1].end_pos)
        call = expand(Call(span, _field_name(parts[2]), operand, tuple(n for n, _ in args)))
        return _deeper(call, max([depth, *(d for _, d in args)]))

    def member_index(self, parts: list[Any]) -> Parsed:
        operand, d1 = parts[0]
        _refuse_min_int(operand)
        key, d2 = parts[-2]
        span = (operand.span[0], parts[-1].end_pos)
        return _deeper(Index(span, operand, key, len(parts) == 5), max(d1, d2))

    def member_object(self, parts: list[Any]) -> Parsed:
        node: Node = parts[0][0]
        raise CelSyntaxError(
            "messages cannot be constructed: no message type is declared",
            (node.span[0], parts[-1].end_pos),
        )

    def fieldinits(self, parts: list[Any]) -> list[Any]:
        return parts

    def ident(self, parts: list[Any]) -> Parsed:
        return Name(_place(parts[-1]), _plain_name(parts[-1])), 1

    dot_ident = ident

    def ident_arg(self, parts: list[Any]) -> Parsed:
        name = parts[0] if parts[0].type == "IDENT" else parts[1]
        args = parts[-2] if isinstance(parts[-2], list) else []
        span = (parts[0].start_pos, parts[-1].end_pos)
        call = expand(Call(span, _plain_name(name), None, tuple(n for n, _ in args)))
        return _deeper(call, max((d for _, d in args), default=0))

    dot_ident_arg = ident_arg

    def paren_expr(self, parts: list[Any]) -> Parsed:
        node, depth = parts[1]
        # What stands around it begins and ends with the parentheses.
        return _deeper(replace(node, span=(parts[0].start_pos, parts[2].end_pos)), depth)

    def list_lit(self, parts: list[Any]) -> Parsed:
        items = [part for part in parts if isinstance(part, tuple)]
        span = (parts[0].start_pos, parts[-1].end_pos)
        optional = frozenset(i for i, (_, _, flag) in enumerate(items) if flag)
        node = ListLiteral(span, tuple(item[0] for item in items), optional)
        return _deeper(node, max((item[1] for item in items), default=0))

    def item(self, parts: list[Any]) -> tuple[Node, int, bool]:
        node, depth = parts[-1]
        return node, depth, len(parts) == 2

    def exprlist(self, parts: list[Any]) -> list[Parsed]:
        return parts[::2]

    def map_lit(self, parts: list[Any]) -> Parsed:
        entries = parts[1] if isinstance(parts[1], list) else []
        span = (parts[0].start_pos, parts[-1].end_pos)
        node = MapLiteral(
            span,
            tuple(key for (key, _), _, _ in entries),
            tuple(value for _, (value, _), _ in entries),
            frozenset(i for i, (_, _, flag) in enumerate(entries) if flag),
        )
        return _deeper(node, max((max(k[1], v[1]) for k, v, _ in entries), default=0))

    def mapinits(self, parts: list[Any]) -> list[Any]:
        return parts[::2]

    def entry(self, parts: list[Any]) -> tuple[Parsed, Parsed, bool]:
        return parts[-3], parts[-1], len(parts) == 4

    def literal(self, parts: list[Any]) -> Parsed:
        token = parts[0]
        try:
            return Literal(_place(token), _literal(token)), 1
        except LiteralError as error:
            if token.type == "INT_LIT" and _digits_of_min_int(token):
                return Literal(_place(token), _MIN_INT_WITHOUT_SIGN), 1
            raise CelSyntaxError(str(error), _place(token)) from None

    def __getattr__(self, rule: str) -> Any:
        """Handle ``relation_lt`` and its kind: ``[left, operator]`` goes up as it is."""
        if rule.startswith(("relation_", "addition_", "multiplication_", "unary_")):
            return list
        raise AttributeError(rule)


class _MinInt:
    """2^63 where a minus sign must follow; no value of CEL."""


_MIN_INT_WITHOUT_SIGN = _MinInt()


def _digits_of_min_int(token: str) -> bool:
    digits = int(token, 16) if token[:2] == "0x" else int(token) if len(token) < 64 else 0
    return digits == 1 << 63


def _literal(token: Any) -> object:
    kind, text = token.type, str(token)
    match kind:
        case "INT_LIT":
            return decode_int(text, negative=False)
        case "UINT_LIT":
            return decode_uint(text)
        case "FLOAT_LIT":
            return decode_float(text)
        case "STRING_LIT" | "MLSTRING_LIT":
            return decode_string(text)
        case "BYTES_LIT":
            return decode_bytes(text)
        case "BOOL_LIT":
            return text == "true"
        case _:
            return None


def _place(token: Any) -> Span:
    return (token.start_pos, token.end_pos)


def _plain_name(token: Any) -> str:
    if token in _RESERVED or token in _KEYWORDS:
        raise CelSyntaxError(f"`{token}` is a reserved word", _place(token))
    return str(token)


def _field_name(token: Any) -> str:
    if token in _KEYWORDS:
        raise CelSyntaxError(f"`{token}` is a keyword and no field name", _place(token))
    return str(token)


def _deeper(node: Node, depth: int) -> Parsed:
    if depth >= MAX_DEPTH:
        raise CelSyntaxError(f"nested deeper than {MAX_DEPTH} levels", node.span)
    return node, depth + 1


def _chain(parts: list[Any], *, conjunction: bool) -> Parsed:
    if len(parts) == 1:
        single: Parsed = parts[0]
        return single
    (left, d1), _, (right, d2) = parts
    span = (left.span[0], right.span[1])
    # A chain grows on the left; one in parentheses means the same when it is merged.
    if isinstance(left, Logic) and left.conjunction is conjunction:
        return Logic(span, conjunction, (*left.terms, right)), max(d1, d2 + 1)
    return _deeper(Logic(span, conjunction, (left, right)), max(d1, d2))


def _binary(parts: list[Any]) -> Parsed:
    if len(parts) == 1:
        single: Parsed = parts[0]
        _refuse_min_int(single[0])
        return single
    ((left, d1), operator), (right, d2) = parts
    _refuse_min_int(right)
    function = "@in" if operator == "in" else f"_{operator}_"
    span = (left.span[0], right.span[1])
    return _deeper(Call(span, function, None, (left, right)), max(d1, d2))


def _refuse_min_int(node: Node) -> None:
    if isinstance(node, Literal) and node.value is _MIN_INT_WITHOUT_SIGN:
        raise CelSyntaxError("`9223372036854775808` does not fit an int of 64 bits", node.span)


def _apply(value: Parsed | _Prefixed) -> Parsed:
    """Apply a run of unary operators; an even run cancels out, as in cel-go."""
    if not isinstance(value, _Prefixed):
        return value
    operator, count, node, depth, start = value
    span = (start, node.span[1])
    if isinstance(node, Literal) and operator == "-_":
        number = -(1 << 63) if node.value is _MIN_INT_WITHOUT_SIGN else node.value
        if number is not node.value and count == 1:
            return Literal(span, number), depth
        if type(number) in (int, float) and number is node.value and depth == 1:
            return Literal(span, number if count % 2 == 0 else -number), depth  # type: ignore[operator]  # the types are tested in this line
    _refuse_min_int(node)
    if count % 2 == 0:
        return node, depth
    return _deeper(Call(span, operator, None, (node,)), depth)
