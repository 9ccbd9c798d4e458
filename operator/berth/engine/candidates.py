# SPDX-License-Identifier: Apache-2.0
"""The devices that one request may try on one node, found as far as the search looks.

Decides nothing beyond ``berth.engine.eligibility``; remembers its answers for one attempt. An
error on a device is kept in its place, and raised only when the search reaches it.

Source: KEP-4381.
"""

from __future__ import annotations

from collections.abc import Sequence

from berth.engine.eligibility import Eligibility
from berth.engine.plan import PlannedBody
from berth.engine.records import DeviceRecord
from berth.errors import BerthError


class Candidates:
    """Eligible devices of one request, in the order of the search."""

    __slots__ = ("_body", "_devices", "_eligibility", "_errors", "_found", "_scanned")

    def __init__(
        self, body: PlannedBody, devices: Sequence[DeviceRecord], eligibility: Eligibility
    ) -> None:
        self._body = body
        self._devices = devices
        self._eligibility = eligibility
        self._found: list[DeviceRecord] = []
        self._errors: dict[int, BerthError] = {}
        self._scanned = 0

    def at(self, position: int) -> DeviceRecord | None:
        """Return the candidate at that place, or ``None`` beyond the last one."""
        while len(self._found) <= position:
            if self._scanned == len(self._devices):
                return None
            record = self._devices[self._scanned]
            self._scanned += 1
            try:
                refusal = self._eligibility.refusal(self._body, record)
            except BerthError as error:
                self._errors[len(self._found)] = error
                self._found.append(record)
            else:
                if refusal is None:
                    self._found.append(record)
        return self._found[position]

    def raise_error_of(self, position: int) -> None:
        """Raise the error that the candidate ends with, if it does."""
        error = self._errors.get(position) if self._errors else None
        if error is not None:
            raise error

    def is_untakable(self, record: DeviceRecord) -> bool:
        """Tell whether a device that mode All lists cannot be taken, whatever else is taken."""
        return (
            self._eligibility.in_use(self._body, record) is not None
            or self._eligibility.untakable(self._body, record) is not None
        )

    def has_fewer(self, position: int, count: int) -> bool:
        """Tell whether fewer than ``count`` are left, none of which ends with an error.

        Looks at ``count`` more candidates at most.
        """
        if self.at(position + count - 1) is not None:
            return False
        return not any(place >= position for place in self._errors)

    def rest(self, position: int) -> Sequence[DeviceRecord]:
        """Return all candidates from ``position`` on."""
        self.at(len(self._devices))
        return self._found[position:]

    @property
    def has_errors(self) -> bool:
        """Tell whether any device of the node ends with an error."""
        self.at(len(self._devices))
        return bool(self._errors)
