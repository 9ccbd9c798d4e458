# SPDX-License-Identifier: Apache-2.0
"""How verbs that answer questions write: text, JSON or YAML; and how they end.

Results go to standard output, messages to standard error. Colour only on a terminal, and never
needed to understand what is written.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import orjson
import typer
import yaml
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from berth.audit.words import printable
from berth.errors import BerthError
from berth.explain.tree import Line, Style

YES = 0
NO = 1
BAD_INPUT = 2
GC_THRESHOLDS = (200_000, 50, 100)
STYLES = {
    Style.HEADLINE: "bold red",
    Style.CAUSE: "bold",
    Style.REQUEST: "bold",
    Style.NODES: "",
    Style.REASON: "",
    Style.DOUBT: "yellow",
    Style.HINT: "green",
    Style.BLANK: "",
}
_NAMED = re.compile(r"`[^`]+`")
_UNSEEN = re.compile(
    r"[\x7f-\xa0\xad\u0600-\u0605\u061c\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\ufeff]"
)
"""What JSON leaves as it is, and a terminal obeys or does not show."""


class Output(StrEnum):
    """Forms in which results are written."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


Format = Annotated[Output, typer.Option("--output", "-o", help="How results are written.")]


class _SafeConsole(Console):
    """Writes texts out of API objects and files so that none of them can steer the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else _visible(text), style, control)


def _visible(text: str) -> str:
    """Return ``text`` with its line breaks, and all else that is not printable as escapes."""
    if text.isprintable() or text == "\n":
        return text
    return "\n".join(printable(line) for line in text.split("\n"))


def console() -> Console:
    """Return the console of standard output; plain, and of any width, when piped."""
    made = _SafeConsole(highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        # A pipe has no width: what is longer than 80 characters must not be broken.
        made = _SafeConsole(highlight=False, emoji=False, markup=False, width=100_000)
    return made


def write_data(data: Any, output: Output) -> None:
    """Write ``data`` as JSON or YAML."""
    if output is Output.JSON:
        text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
        typer.echo(_UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text))
    else:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        if not text.replace("\n", "").isprintable():
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False)
        typer.echo(text, nl=False)


def coloured(lines: Iterable[Line]) -> Text:
    """Return the lines of a conflict tree, each in the colour of what it is."""
    text = Text()
    for number, line in enumerate(lines):
        said = Text(printable(line.text), STYLES[line.style])
        said.highlight_regex(_NAMED, "cyan")
        text.append("\n" if number else "")
        text.append(line.indent, "dim")
        text.append_text(said)
    return text


def one_line(*parts: str | tuple[str, str]) -> Text:
    """Return texts, each with its style where it has one, as one line whatever is in them."""
    return Text.assemble(
        *(
            printable(each) if isinstance(each, str) else (printable(each[0]), each[1])
            for each in parts
        )
    )


def print_table(table: Table, out: Console) -> None:
    """Write a table; when piped without the blanks that fill up its last column."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def warn(message: str) -> None:
    """Write one line to standard error."""
    typer.echo(printable(message), err=True)


def bad_input(message: str) -> NoReturn:
    """End with exit code 2."""
    warn(message)
    raise typer.Exit(BAD_INPUT)


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Have large, long-lived data made without the garbage collector going through it again."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def usable_input() -> Iterator[None]:
    """Turn what Berth raises about its input into a message and exit code 2."""
    try:
        with few_collections():
            yield
    except BerthError as error:
        bad_input(str(error))
    except OSError as error:
        bad_input(f"{error.filename or 'file'}: cannot be read: {error.strerror or error}")


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Say on a terminal that something is being read, which may take seconds."""
    if not sys.stderr.isatty():
        yield
        return
    with Console(stderr=True).status(f"reading {what}"):
        yield


def progress() -> Progress:
    """Return a progress display on standard error, which shows only on a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
