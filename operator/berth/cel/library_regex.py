# SPDX-License-Identifier: Apache-2.0
"""Regular expressions in the dialect of Go: ``matches``, ``find``, ``findAll``.

Source: RE2 syntax; CEL ``matches``; ``k8s.io/apiserver/pkg/cel/library/regex.go``.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, INT, STRING, list_of
from berth.errors import CelRuntimeError

_MAX_NESTING = 450
"""Groups inside each other; Go refuses trees higher than 1,000, RE2 does not."""

_ANY_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
REGEX_FUNCTIONS = frozenset(("matches", "find", "findAll"))


def _options() -> re2.Options:
    options = re2.Options()
    # RE2 writes its complaints to standard error unless it is told not to.
    options.log_errors = False
    options.max_mem = 8 << 20
    return options


@functools.lru_cache(maxsize=512)
def compile_pattern(pattern: str) -> Any:
    """Return the compiled pattern.

    Raises:
        CelRuntimeError: If RE2 does not accept the pattern.
    """
    depth = deepest = 0
    for character in pattern:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > _MAX_NESTING or _ANY_BYTE.search(pattern):
        raise CelRuntimeError("error parsing regexp: nested too deeply, or `\\C`, which Go lacks")
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        text = error.args[0] if error.args else ""
        if isinstance(text, bytes):
            text = text.decode(errors="replace")
        raise CelRuntimeError(f"error parsing regexp: {text}") from None


def program_size(pattern: str) -> int:
    """Return how many instructions the compiled pattern has; 0 if it does not compile."""
    try:
        return int(compile_pattern(pattern).programsize)
    except CelRuntimeError:
        return 0


def _matches(text: str, pattern: str) -> bool:
    return compile_pattern(pattern).search(text) is not None


def _find(text: str, pattern: str) -> str:
    match = compile_pattern(pattern).search(text)
    return "" if match is None else str(match.group())


def _find_all(text: str, pattern: str, limit: int = -1) -> tuple[str, ...]:
    """Return the matches as Go finds them: an empty one that abuts the last is left out."""
    found: list[str] = []
    last_end = -1
    # One pass: every new search would encode all of the text again.
    for match in compile_pattern(pattern).finditer(text):
        if len(found) == limit:
            break
        start, end = match.span()
        if end > start or end != last_end:
            found.append(text[start:end])
        last_end = end
    return tuple(found)


OVERLOADS: tuple[Overload, ...] = (
    function("matches", (STRING, STRING), BOOL, _matches),
    member("matches", (STRING, STRING), BOOL, _matches),
    member("find", (STRING, STRING), STRING, _find),
    member("findAll", (STRING, STRING), list_of(STRING), _find_all),
    member("findAll", (STRING, STRING, INT), list_of(STRING), _find_all),
)
