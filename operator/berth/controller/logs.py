# SPDX-License-Identifier: Apache-2.0
"""One stream of log lines in one format, for Berth and for the libraries that it uses.

Decides the format and which keys a line of Berth may carry. A line says what happened as a
constant text in the past tense; everything variable is in a key of `KEYS`, never a whole object.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Literal, TextIO

import structlog

from berth.audit.words import printable

LogFormat = Literal["auto", "json", "pretty"]

KEYS: Mapping[str, str] = MappingProxyType(
    {
        "attempt": "how often this was tried, from 1",
        "candidate": "a replica, by its identity in the Lease",
        "candidates": "how many devices or nodes were looked at",
        "claim": "a ResourceClaim, as namespace/name",
        "claim_uid": "the same, by uid",
        "consumer": "who uses a claim, as namespace/name",
        "device": "a device, as driver/pool/device",
        "driver": "a DRA driver",
        "elapsed_ms": "how long it took, in milliseconds",
        "error": "the text of an exception, or of an answer",
        "generation": "generation of a pool or object",
        "kind": "plural name of a kind",
        "mode": "the operator's mode",
        "node": "a node",
        "outcome": "how a decision or write ended, from a closed set",
        "path": "path of the API concerned",
        "pod": "a Pod, as namespace/name",
        "pool": "a pool of devices",
        "port": "a port that is listened on",
        "reason": "why, in a word or a line",
        "request": "a request of a claim, as main or main/sub",
        "resource_version": "version of an API object",
        "steps": "steps that a search took",
    }
)
"""Every key that a line of Berth may carry besides ``event``, ``level``, ``logger``,
``timestamp`` and ``exception``, and what its value is."""


def configure_logging(
    log_format: LogFormat = "auto", level: str = "info", *, stream: TextIO | None = None
) -> None:
    """Send all log lines of the process to ``stream``, by default stderr; may be called again.

    Args:
        log_format: ``auto`` is pretty on a terminal, JSON elsewhere.
        level: Least level of Berth's lines: debug, info, warning or error.
        stream: Where to; for tests.

    Raises:
        ValueError: If there is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level: unknown: `{level}`, not one of debug, info, warning, error")
    stream = sys.stderr if stream is None else stream
    pretty = stream.isatty() if log_format == "auto" else log_format == "pretty"
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        # Filters before any work is done for a line that is not shown.
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    rendering: list[Any]
    if pretty:
        rendering = [
            structlog.processors.format_exc_info,
            _make_printable,
            structlog.dev.ConsoleRenderer(colors=stream.isatty()),
        ]
    else:
        rendering = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(_EXTRAS)],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    _quieten(number)


def _make_printable(_: object, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Escape what could move the cursor or begin a line; JSON does so by itself."""
    for key, value in line.items():
        if key == "exception":
            line[key] = "\n".join(printable(each) for each in str(value).split("\n"))
        elif isinstance(value, str):
            line[key] = printable(value)
    return line


_EXTRAS = tuple(KEYS)
"""Extras of other libraries' lines that are kept: Kopf adds a whole object reference to each."""


def _quieten(level: int) -> None:
    """Hold back the lines of libraries that tell nothing about the cluster's state."""
    # One line per event otherwise, about a thousand a second in a busy cluster.
    logging.getLogger("kopf.objects").setLevel(max(level, logging.WARNING))
    for name in ("asyncio", "aiohttp.access", "kubernetes_asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
