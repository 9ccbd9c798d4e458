# SPDX-License-Identifier: Apache-2.0
"""What ``berth.cel`` says of a selector that is false, or fails, in the values of a conflict.

Decides nothing: which part is to blame, and what cures it, is found there.
"""

from __future__ import annotations

from berth import cel
from berth.cel import CelDevice, CelRuntimeError, compile_selector
from berth.errors import InvalidSelectorError
from berth.explain.conflict import FailedPart, FalsePart


def false_parts(expression: str, device: CelDevice) -> tuple[FalsePart, ...]:
    """Return the parts that make the selector false on ``device``, empty where it is not false."""
    parts = cel.explain_false(compile_selector(expression), device)
    return tuple(
        FalsePart(part.span, part.text, tuple((of, (is_,)) for of, is_ in part.values))
        for part in parts
    )


def failed_part(expression: str, device: CelDevice) -> FailedPart:
    """Return where the selector fails on ``device``, and what to put before it."""
    try:
        selector = compile_selector(expression)
    except InvalidSelectorError as error:
        return FailedPart(error.span)
    try:
        selector.matches(device)
    except CelRuntimeError as error:
        return FailedPart(error.span, cel.guard_for(error, selector) or "")
    raise AssertionError(f"`{expression}` was said to fail on a device, and does not")
