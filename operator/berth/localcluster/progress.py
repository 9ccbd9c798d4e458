# SPDX-License-Identifier: Apache-2.0
"""How the progress of builds and starts is shown.

A live display on a terminal, one plain line per fact elsewhere, nothing in tests. It only prints;
it decides nothing. Everything goes to stderr: stdout belongs to results.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PLAIN_INTERVAL_SECONDS = 30


class Progress(Protocol):
    """What builders and starters tell."""

    def say(self, text: str) -> None:
        """Show one fact."""

    def building(
        self, programs: Sequence[tuple[str, str, float | None]]
    ) -> contextlib.AbstractContextManager[None]:
        """Show the builds to come: name, version, seconds that it took last time if known."""

    def build_started(self, name: str) -> None:
        """Show that a build began."""

    def build_progressed(self, name: str, packages: int) -> None:
        """Show how many packages are compiled; called several times a second."""

    def build_finished(self, name: str, seconds: float) -> None:
        """Show that a build ended well."""


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

    @contextlib.contextmanager
    def building(self, programs: Sequence[tuple[str, str, float | None]]) -> Iterator[None]:  # noqa: ARG002 - the protocol's signature
        """Do nothing."""
        yield

    def build_started(self, name: str) -> None:
        """Do nothing."""

    def build_progressed(self, name: str, packages: int) -> None:
        """Do nothing."""

    def build_finished(self, name: str, seconds: float) -> None:
        """Do nothing."""


class Plain:
    """One line per fact, for logs and pipes."""

    def __init__(self, console: Console | None = None) -> None:
        """Print to ``console``, else to stderr."""
        self._console = console or Console(stderr=True)
        self._known: dict[str, tuple[str, float | None]] = {}
        self._began = self._last = 0.0

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def building(self, programs: Sequence[tuple[str, str, float | None]]) -> Iterator[None]:
        """Print how much there is to build, and at the end how long it took."""
        self._known = {name: (version, last) for name, version, last in programs}
        total = [last for _, _, last in programs if last is not None]
        about = f", about {_seconds(sum(total))}" if len(total) == len(programs) else ""
        self.say(f"building {len(programs)} programs, once per computer{about}")
        began = time.monotonic()
        yield
        self.say(f"built {len(programs)} programs in {_seconds(time.monotonic() - began)}")

    def build_started(self, name: str) -> None:
        """Print what is being built and how long it took last time."""
        version, last = self._known[name]
        self.say(f"building {name} {version} ({_last_time(last)})")
        self._began = self._last = time.monotonic()

    def build_progressed(self, name: str, packages: int) -> None:
        """Print a sign of life every half a minute."""
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL_SECONDS:
            self._last = now
            self.say(f"building {name}: {packages} packages, {_seconds(now - self._began)}")

    def build_finished(self, name: str, seconds: float) -> None:
        """Print how long it took."""
        self.say(f"built {name} in {_seconds(seconds)}")


class Live:
    """A table of builds that moves, for terminals."""

    def __init__(self, console: Console) -> None:
        """Draw on ``console``."""
        self._console = console
        self._display: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}

    def say(self, text: str) -> None:
        """Print one line above what moves."""
        self._console.print(text, markup=False, highlight=False)

    @contextlib.contextmanager
    def building(self, programs: Sequence[tuple[str, str, float | None]]) -> Iterator[None]:
        """Draw one row per program as long as the builds run."""
        self.say(f"building {len(programs)} programs, once per computer")
        self._display = RichProgress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.fields[title]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim"),
            console=self._console,
        )
        with self._display as display:
            for name, version, last in programs:
                self._tasks[name] = display.add_task(
                    name,
                    start=False,
                    total=1,
                    title=f"{name} {version}",
                    detail=_last_time(last),
                    last=_last_time(last),
                )
            yield

    def build_started(self, name: str) -> None:
        """Start the clock of a row."""
        assert self._display is not None  # noqa: S101 - only called inside building()
        self._display.start_task(self._tasks[name])

    def build_progressed(self, name: str, packages: int) -> None:
        """Show the number of packages in a row."""
        assert self._display is not None  # noqa: S101 - only called inside building()
        last = self._display.tasks[self._tasks[name]].fields["last"]
        self._display.update(self._tasks[name], detail=f"{packages} packages, {last}")

    def build_finished(self, name: str, seconds: float) -> None:
        """Stop the clock of a row."""
        assert self._display is not None  # noqa: S101 - only called inside building()
        self._display.update(self._tasks[name], completed=1, detail=f"took {_seconds(seconds)}")


def for_stderr() -> Progress:
    """Return what suits stderr: a live display on a terminal, else plain lines."""
    console = Console(stderr=True)
    return Live(console) if console.is_terminal else Plain(console)


def _last_time(seconds: float | None) -> str:
    return "first time here" if seconds is None else f"last time {_seconds(seconds)}"


def _seconds(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60:02} s"  # noqa: PLR2004 - two digits read well
