# SPDX-License-Identifier: Apache-2.0
"""Write the figures of a report into the page about performance.

Decides what is between the two marks of that page; everything else there is written by hand.
"""

from __future__ import annotations

from pathlib import Path

from bench.fleets import Json
from bench.tables import markdown, tables, taken_on
from berth.errors import BerthError

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN = "<!-- figures: written by `python -m bench --write-docs` -->"
END = "<!-- end of figures -->"


def write(report: Json, page: Path = PAGE) -> None:
    """Put the tables of ``report`` between the marks of ``page``.

    Raises:
        BerthError: If the page has not exactly one pair of marks.
    """
    page.write_text(with_figures(page.read_text(encoding="utf-8"), report), encoding="utf-8")


def with_figures(text: str, report: Json) -> str:
    """Return the text of a page with the tables of ``report`` between its marks."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended or BEGIN in after or END in after:
        raise BerthError(f"page: marks missing or doubled: one `{BEGIN}` before one `{END}`")
    figures = "\n\n".join((taken_on(report), *map(markdown, tables(report))))
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
