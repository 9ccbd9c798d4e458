# SPDX-License-Identifier: Apache-2.0
"""The pages of ``docs/reference`` that are made from the code, so that they cannot be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import typer
from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo

from berth.cli import app
from berth.controller.logs import KEYS
from berth.controller.metrics import Metrics
from berth.controller.settings import PREFIX, Settings

NOTE = "<!-- Made from the code by `make golden`; do not edit. -->"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table as lines."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows),
    ]


def page(*lines: str) -> str:
    """Return ``lines`` as a page, with the note below the heading."""
    heading, *rest = lines
    return "\n".join((heading, "", NOTE, "", *rest)) + "\n"


def settings_page() -> str:
    """Return the page of settings."""
    rows = [
        (
            f"`{name}`",
            f"`{PREFIX}{name.upper()}`",
            _type_of(field),
            _default_of(field),
            field.description or "",
        )
        for name, field in Settings.model_fields.items()
    ]
    return page(
        "# Settings",
        "Each setting is an environment variable; `kopf run -m berth.controller` reads only those.",
        "`berth run` has [options](cli.md#berth-run) for most of them, and an option wins.",
        "A value that cannot be used stops the start, and all mistakes are named at once.",
        "",
        *table(("setting", "variable", "values", "default", "what it is"), rows),
    )


def _type_of(field: FieldInfo) -> str:
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    kinds = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}
    return next(
        (
            word
            for kind, word in kinds.items()
            if annotation is kind or kind in get_args(annotation)
        ),
        str(annotation),
    )


def _default_of(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "made at start"
    if field.default is None:
        return "–"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def metrics_page() -> str:
    """Return the page of metrics."""
    rows = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            (described,) = metric.describe()
            total = "_total" if described.type == "counter" else ""
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append(
                (
                    f"`{described.name}{total}`",
                    described.type,
                    labels or "–",
                    described.documentation,
                )
            )
    return page(
        "# Metrics",
        "Served in Prometheus' format under `/metrics`, beside `/healthz` (is the process sound)",
        "and `/readyz` (is everything listed; the answer names what is missing).",
        "Labels take their values from closed sets; no metric carries the name of an object.",
        "",
        *table(("metric", "type", "labels", "what it is"), sorted(rows)),
    )


def log_keys_page() -> str:
    """Return the page of log keys."""
    return page(
        "# Log keys",
        "Logs are key and value: JSON in a cluster, readable on a terminal.",
        "The message is a constant (`claim allocated`), what it is about is in keys of this list.",
        "Objects are never logged as a whole.",
        "",
        *table(("key", "value"), [(f"`{key}`", value) for key, value in sorted(KEYS.items())]),
        "",
        "Every record also has `event` (the message), `level`, `logger` and `timestamp`, and",
        "`exception` where there is a traceback. INFO says that something has changed,",
        "WARNING that somebody should look, ERROR that somebody should look now.",
    )


def cli_page() -> str:
    """Return the page of the command line."""
    lines = [
        "# Command line",
        "Results go to standard output, messages and logs to standard error.",
        "Exit code 0 means yes, 1 no, 2 that the input cannot be used.",
    ]
    for path, command in _commands("berth", typer.main.get_command(app)):
        lines += ["", f"## {path}", "", (command.help or "").strip(), "", *_usage(path, command)]
    return page(*lines)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    # `Any`, here and below: typer carries a click of its own, whose types it does not export.
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(f"{path} {name}", child)


def _usage(path: str, command: Any) -> list[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    names = (each.metavar or str(each.name).upper() for each in arguments)
    metavars = [
        name if each.required else f"[{name}]" for name, each in zip(names, arguments, strict=True)
    ]
    usage = " ".join(("[OPTIONS]" if options else "", *metavars))
    if hasattr(command, "commands"):
        usage += " COMMAND"
    rows = [
        (
            ", ".join(f"`{name}`" for name in (*p.opts, *p.secondary_opts)),
            str(getattr(p, "help", None) or ""),
        )
        for p in (*arguments, *options)
        if p.name != "help"
        and not str(p.name).endswith("_completion")
        and not getattr(p, "hidden", False)
    ]
    block = ["```", f"{path} {usage.strip()}".rstrip(), "```"]
    return [*block, "", *table(("option", "what it does"), rows)] if rows else block


PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "metrics.md": metrics_page,
    "log-keys.md": log_keys_page,
}
