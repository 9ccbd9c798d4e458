# SPDX-License-Identifier: Apache-2.0
"""Numbers, names and amounts read as people write them."""

from __future__ import annotations

import pytest

from berth.explain.words import amount, expression_text, name_list, plural


@pytest.mark.parametrize(("count", "want"), [(0, "0 devices"), (1, "1 device"), (2, "2 devices")])
def test_a_noun_goes_with_its_number(count: int, want: str) -> None:
    assert plural(count, "device") == want


@pytest.mark.parametrize(
    ("names", "want"),
    [
        ((), ""),
        (("a",), "a"),
        (("gpu-0", "gpu-1"), "gpu-0, gpu-1"),
        (("gpu-0", "gpu-1", "gpu-2"), "gpu-0 … gpu-2"),
        (("gpu-9", "gpu-10", "gpu-11", "gpu-13"), "gpu-9 … gpu-11, gpu-13"),
        (("gpu-01", "gpu-02", "gpu-03"), "gpu-01 … gpu-03"),
        (("a-0", "b-1", "c-2"), "a-0, b-1, c-2"),
        (("gpu-2", "gpu-1", "gpu-0"), "gpu-2, gpu-1, gpu-0"),
        (("a", "b", "c", "d", "e", "f"), "a, b, c, d and 2 more"),
        (("a", "b", "c", "d", "x0", "x1", "x2"), "a, b, c, d and 3 more"),
    ],
)
def test_names_are_listed(names: tuple[str, ...], want: str) -> None:
    assert name_list(names) == want


@pytest.mark.parametrize(
    ("resource", "units", "want"),
    [
        ("cpu", 4000, "4"),
        ("cpu", 1500, "1500m"),
        ("cpu", 0, "0"),
        ("cpu", 999, "999m"),
        ("cpu", 1001, "1001m"),
        ("cpu", 2_000_000, "2000"),
        ("memory", 16 << 30, "16Gi"),
        ("memory", 1536 << 20, "1536Mi"),
        ("memory", 1000, "1000"),
        ("ephemeral-storage", 0, "0"),
        ("example.com/fpga", 1024, "1024"),
    ],
)
def test_an_amount_has_its_unit(resource: str, units: int, want: str) -> None:
    assert amount(resource, units) == want


def test_a_long_expression_is_cut_on_one_line() -> None:
    assert expression_text("a &&\n  b") == "a && b"
    assert expression_text("x" * 160) == "x" * 160
    assert expression_text("x" * 161) == "x" * 159 + "…"
    assert expression_text("x" * 200) == "x" * 159 + "…"
