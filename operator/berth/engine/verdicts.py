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
from berth.engine.patience import COSTLY_UNITS, LONG_EXPRESSION, JudgementPending, Patience
from berth.engine.reads import Reads
from berth.engine.records import DeviceRecord
from berth.errors import InvalidSelectorError

Verdict = bool | CelRuntimeError | InvalidSelectorError


class SelectorTable:
    """The verdicts of one expression, by what it reads of a device.

    ``reads`` is ``None`` where that is not known, or where the expression does not compile: then
    ``mistake`` says why, and is the verdict for every device. ``is_costly`` tells that verdicts
    are left for later where ``patience`` says so.
    """

    __slots__ = (
        "_expression",
        "_is_compiled",
        "_known",
        "_matches",
        "_patience",
        "_reads_of",
        "is_costly",
        "mistake",
        "reads",
    )

    def __init__(
        self,
        expression: str,
        reads: Callable[[Projection], Reads],
        patience: Patience | None = None,
    ) -> None:
        self._expression = expression
        self._reads_of = reads
        self._patience = patience = patience or Patience()
        self._known: dict[Hashable, Verdict] = {}
        self._is_compiled = False
        self.is_costly = len(expression) > LONG_EXPRESSION
        self.mistake: InvalidSelectorError | None = None
        self.reads: Reads | None = None
        if not (self.is_costly and patience.later):
            self._compile()

    def _compile(self) -> None:
        try:
            selector = compile_selector(self._expression)
        except InvalidSelectorError as error:
            self.mistake = error
        else:
            self._matches: Callable[[CelDevice], bool] = selector.matches
            if selector.projection.fixed:
                self.reads = self._reads_of(selector.projection)
            self.is_costly = self.is_costly or selector.max_cost > COSTLY_UNITS
        # Last: another thread may be here, and whoever sees this set sees all of it.
        self._is_compiled = True

    def verdict(self, record: DeviceRecord) -> Verdict:
        """Return whether the selector is true for the device, or the error it ends with.

        Raises:
            JudgementPending: If that is left for later.
        """
        if not self._is_compiled:
            if self._patience.later:
                raise JudgementPending(self, record)
            self._compile()
        if self.mistake is not None:
            return self.mistake
        # An expression whose reads are not known is remembered by device.
        key = record if self.reads is None else self.reads.of(record)
        known = self._known.get(key)
        if known is not None:
            return known
        if self.is_costly and self._patience.later:
            raise JudgementPending(self, record)
        return self._judge(key, record)

    def judge(self, record: DeviceRecord) -> None:
        """Find and remember the verdict on a device; may take a second, in any thread."""
        if not self._is_compiled:
            self._compile()
        if self.mistake is None:
            self._judge(record if self.reads is None else self.reads.of(record), record)

    def _judge(self, key: Hashable, record: DeviceRecord) -> Verdict:
        verdict: Verdict
        try:
            verdict = self._matches(record.cel)
        except CelRuntimeError as error:
            verdict = error
        self._known[key] = verdict
        return verdict
