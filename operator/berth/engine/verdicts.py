# SPDX-License-Identifier: Apache-2.0
"""What a selector says of a device, found once for all devices that look alike to it.

Decides whether a selector is true, false or fails on a device, and remembers it. Never decides
whether a failure matters: it does only where the search reaches the device.

Source: KEP-4381 (``selectors[].cel.expression``).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from berth.cel import CelDevice, CelRuntimeError, compile_selector
from berth.cel.analyse import Projection
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord
from berth.errors import InvalidSelectorError

Verdict = bool | CelRuntimeError | InvalidSelectorError


class SelectorTable:
    """The verdicts of one expression, by what it reads of a device.

    ``reads`` is ``None`` where that is not known, or where the expression does not compile: then
    ``mistake`` says why, and is the verdict for every device.
    """

    __slots__ = ("_known", "_matches", "mistake", "reads")

    def __init__(self, expression: str, reads: Callable[[Projection], Reads]) -> None:
        self._known: dict[Hashable, Verdict] = {}
        self.mistake: InvalidSelectorError | None = None
        self.reads: Reads | None = None
        try:
            selector = compile_selector(expression)
        except InvalidSelectorError as error:
            self.mistake = error
        else:
            self._matches: Callable[[CelDevice], bool] = selector.matches
            if selector.projection.fixed:
                self.reads = reads(selector.projection)

    def verdict(self, record: DeviceRecord) -> Verdict:
        """Return whether the selector is true for the device, or the error it ends with."""
        if self.mistake is not None:
            return self.mistake
        # An expression whose reads are not known is remembered by device.
        key = record if self.reads is None else self.reads.of(record)
        known = self._known.get(key)
        if known is not None:
            return known
        verdict: Verdict
        try:
            verdict = self._matches(record.cel)
        except CelRuntimeError as error:
            verdict = error
        self._known[key] = verdict
        return verdict

    def forget(self, record: DeviceRecord) -> None:
        """Drop what is remembered of a device that is published no more."""
        if self.reads is None:
            self._known.pop(record, None)
