# SPDX-License-Identifier: Apache-2.0
"""Random and mutated inputs end in an answer or one of Berth's own errors, and soon."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from berth.cel import CelRuntimeError, compile_selector, explain_false, guard_for
from berth.codec.claims import decode_claim, decode_template
from berth.codec.nodes import decode_node
from berth.codec.pods import decode_pod
from berth.codec.policies import decode_allocation_policy
from berth.codec.results import decode_allocation
from berth.codec.slices import decode_class, decode_slice, decode_taint_rule
from berth.errors import DecodeError, InvalidSelectorError
from tests.support.cel_vectors import fixture
from tests.support.fuzzing import SECONDS, expressions, objects, scale, timed

EXPRESSIONS, OBJECTS = 500, 100
"""Inputs of the small run; the full one is two hundred times as large."""
PARTS = 2
"""Parts of the expressions, which several processes may share."""

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(7200)]

DECODERS: dict[str, Callable[[Any], object]] = {
    "AllocationPolicy": decode_allocation_policy,
    "AllocationResult": decode_allocation,
    "DeviceClass": decode_class,
    "DeviceTaintRule": decode_taint_rule,
    "Node": decode_node,
    "Pod": decode_pod,
    "ResourceClaim": decode_claim,
    "ResourceClaimTemplate": decode_template,
    "ResourceSlice": decode_slice,
}


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Write a line to the terminal, which shows what a run has tried."""
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        if reporter is not None:
            reporter.write_line(f"\n{line}")

    return write


def use(expression: str, seen: Counter[str]) -> None:
    """Compile an expression, evaluate it, and explain what comes of it."""
    try:
        selector = compile_selector(expression)
    except InvalidSelectorError as error:
        start, end = error.span or (0, len(expression))
        assert 0 <= start <= end <= len(expression)
        seen["does not compile"] += 1
        return
    assert selector.max_cost >= 0
    device = fixture("gpu" if len(expression) % 4 else "bare")
    try:
        answer = selector.matches(device)
    except CelRuntimeError as error:
        guard_for(error, selector)
        seen["fails"] += 1
        return
    seen[str(answer).lower()] += 1
    if not answer or not selector.metered:
        assert bool(explain_false(selector, device)) is not answer


@pytest.mark.parametrize("part", range(PARTS))
def test_any_text_is_answered(part: int, tell: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()
    slowest = (0.0, "")
    texts = expressions(seed=1, count=EXPRESSIONS * scale())
    for expression in itertools.islice(texts, part, None, PARTS):
        try:
            seconds = timed(lambda: use(expression, seen))  # noqa: B023 - called at once
        except Exception as error:
            raise AssertionError(f"{expression[:2000]!r}: {error!r}") from error
        slowest = max(slowest, (seconds, expression))
    tell(f"{sum(seen.values())} texts: {dict(seen)}, slowest {slowest[0]:.2f} s")
    assert min(seen[each] for each in ("does not compile", "fails", "true", "false")) > 1
    assert slowest[0] < SECONDS, slowest


def test_any_object_is_decoded_or_refused(tell: Callable[[str], None]) -> None:
    seen: Counter[str] = Counter()
    slowest = (0.0, "")
    for kind, obj in objects(seed=2, count=OBJECTS * scale()):

        def decode() -> None:
            try:
                DECODERS[kind](obj)  # noqa: B023 - called at once
            except DecodeError:
                seen["refused"] += 1
            else:
                seen["decoded"] += 1

        try:
            seconds = timed(decode)
        except Exception as error:
            raise AssertionError(f"{kind} {str(obj)[:2000]}: {error!r}") from error
        slowest = max(slowest, (seconds, f"{kind} {str(obj)[:2000]}"))
    assert min(seen["decoded"], seen["refused"]) > 10
    tell(f"{OBJECTS * scale()} objects: {dict(seen)}, slowest {slowest[0]:.2f} s")
    assert slowest[0] < SECONDS, slowest
