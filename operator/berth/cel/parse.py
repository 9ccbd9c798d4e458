# SPDX-License-Identifier: Apache-2.0
"""Text of a CEL expression to its syntax tree; the only module that knows lark.

The grammar is the one that cel-python ships, read as text (cel-python itself is not imported),
with the rules and terminals of ``_CHANGES`` put in place of its own: optional syntax, trailing
commas, escaped field names, and literals that are lexed strictly. The parser is LALR and builds
nodes while it reads, so no input makes it recurse; nesting is limited to 250 as upstream.

Source: CEL language definition, "Syntax"; limits of cel-go's parser.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import re
from typing import TYPE_CHECKING, Any

import lark

from berth.cel.build import Builder, CelSyntaxError
from berth.errors import InvalidSelectorError

if TYPE_CHECKING:
    from berth.cel.syntax import Node, Span

MAX_LENGTH = 10 * 1024
"""Bytes of the longest expression that the API accepts."""

_STRING = (
    r"""/[rR](?:"[^"\r\n]*"|'[^'\r\n]*')/"""
    r"""| /"(?:[^"\\\r\n]|\\[^\r\n])*"/"""
    r"""| /'(?:[^'\\\r\n]|\\[^\r\n])*'/"""
)
_LONG_STRING = (
    r"""/[rR](?:\"{3}(?:[^"]|"(?!""))*\"{3}|\'{3}(?:[^']|'(?!''))*\'{3})/"""
    r"""| /\"{3}(?:[^"\\]|\\(?:.|\n)|"(?!""))*\"{3}/"""
    r"""| /\'{3}(?:[^'\\]|\\(?:.|\n)|'(?!''))*\'{3}/"""
)
_CHANGES = (
    # Where the rule or terminal starts in the shipped text, and what stands there instead.
    ("relation_in    : ", "relation_in : relation IN\nIN.2 : /in(?![_a-zA-Z0-9])/"),
    (
        "member_dot     : ",
        'member_dot : member "." ["?"] (IDENT | ESCAPED)\nESCAPED : /`[^`\\n]*`/',
    ),
    ("member_index   : ", 'member_index : member "[" ["?"] expr "]"'),
    (
        "list_lit       : ",
        'list_lit : "[" [item ("," item)* [","]] "]"\nitem : ["?"] expr',
    ),
    ("map_lit        : ", 'map_lit : "{" [mapinits [","]] "}"'),
    ("mapinits       : ", 'mapinits : entry ("," entry)*\nentry : ["?"] expr ":" expr'),
    ("INT_LIT        : ", r"INT_LIT : /0x[0-9a-fA-F]+|[0-9]+/"),
    ("UINT_LIT       : ", r"UINT_LIT.2 : /(?:0x[0-9a-fA-F]+|[0-9]+)[uU]/"),
    (
        "FLOAT_LIT      : ",
        r"FLOAT_LIT.2 : /(?:[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)/",
    ),
    ("STRING_LIT     : ", f"STRING_LIT.2 : {_STRING}"),
    ("MLSTRING_LIT   : ", f"MLSTRING_LIT.3 : {_LONG_STRING}"),
    ("BYTES_LIT      : ", "BYTES_LIT.4 : /[bB]/ MLSTRING_LIT | /[bB]/ STRING_LIT"),
    ("BOOL_LIT       : ", "BOOL_LIT.2 : /(?:true|false)(?![_a-zA-Z0-9])/"),
    ("NULL_LIT       : ", "NULL_LIT.2 : /null(?![_a-zA-Z0-9])/"),
)
_RULE = re.compile(r"\n(?=[_a-zA-Z0-9.]+ *:|//|\n|%)")


def parse(text: str) -> Node:
    """Return the syntax tree of ``text``.

    Raises:
        InvalidSelectorError: If ``text`` is too long, nested too deeply or not CEL.
    """
    length = len(text.encode(errors="surrogatepass"))
    if length > MAX_LENGTH:
        raise InvalidSelectorError(
            text, f"the expression has {length} bytes, the limit is {MAX_LENGTH}"
        )
    if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise InvalidSelectorError(text, "the expression is no valid Unicode text")
    try:
        return _finish(_parser().parse(text))
    except CelSyntaxError as problem:
        raise InvalidSelectorError(
            text, problem.detail, problem.span, unsupported=problem.unsupported
        ) from None
    except lark.exceptions.UnexpectedInput as error:
        detail, span = _describe(text, error)
        raise InvalidSelectorError(text, detail, span) from None


def grammar_text(shipped: str) -> str:
    """Return the shipped grammar with Berth's rules in place of those of the same name.

    Raises:
        AssertionError: If the shipped text has no longer a rule that is to be replaced.
    """
    rules = _RULE.split(shipped)
    for start, replacement in _CHANGES:
        found = [index for index, rule in enumerate(rules) if rule.startswith(start)]
        if len(found) != 1:
            raise AssertionError(f"cel-python's grammar has {len(found)} rules `{start.strip()}`")
        rules[found[0]] = replacement
    return "\n".join(rules)


@functools.cache
def _parser() -> lark.Lark:
    spec = importlib.util.find_spec("celpy")
    if spec is None or not spec.submodule_search_locations:
        raise AssertionError("cel-python is not installed, so its grammar cannot be read")
    path = pathlib.Path(spec.submodule_search_locations[0], "cel.lark")
    return lark.Lark(
        grammar_text(path.read_text(encoding="utf-8")),
        start="expr",
        parser="lalr",
        lexer="contextual",
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=Builder(),
    )


def _finish(value: Any) -> Node:
    node: Node = value[0]
    return node


def _describe(text: str, error: lark.exceptions.UnexpectedInput) -> tuple[str, Span]:
    if isinstance(error, lark.exceptions.UnexpectedToken) and error.token.type != "$END":
        token = error.token
        text_of, start = str(token), token.start_pos or 0
        shown = text_of if len(text_of) <= 40 else f"{text_of[:40]}…"
        return f"syntax error: unexpected `{shown}`", (start, start + len(text_of))
    if isinstance(error, lark.exceptions.UnexpectedCharacters):
        position: Any = error.pos_in_stream
        start = int(position)
        return f"syntax error: unexpected `{text[start]}`", (start, start + 1)
    return "syntax error: the expression ends too early", (len(text), len(text))
