# SPDX-License-Identifier: Apache-2.0
"""How verbs that answer questions write: text, JSON or YAML; and how they end.

Results go to standard output, messages to standard error. Colour only on a terminal, and never
needed to understand what is written.
"""

from __future__ import annotations

import contextlib
import gc
import re
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import orjson
import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

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


class Output(StrEnum):
    """Forms in which results are written."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


Format = Annotated[Output, typer.Option("--output", "-o", help="How results are written.")]


def console() -> Console:
    """Return the console of standard output; plain, and of any width, when piped."""
    made = Console(highlight=False, emoji=False, markup=False)
    if not made.is_terminal:
        # A pipe has no width: what is longer than 80 characters must not be broken.
        made = Console(highlight=False, emoji=False, markup=False, width=100_000)
    return made


def write_data(data: Any, output: Output) -> None:
    """Write ``data`` as JSON or YAML."""
    if output is Output.JSON:
        typer.echo(orjson.dumps(data, option=orjson.OPT_INDENT_2).decode())
    else:
        typer.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)


def coloured(lines: Iterable[Line]) -> Text:
    """Return the lines of a conflict tree, each in the colour of what it is."""
    text = Text()
    for number, line in enumerate(lines):
        said = Text(line.text, STYLES[line.style])
        said.highlight_regex(_NAMED, "cyan")
        text.append("\n" if number else "")
        text.append(line.indent, "dim")
        text.append_text(said)
    return text


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
    typer.echo(message, err=True)


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
