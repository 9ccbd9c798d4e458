# SPDX-License-Identifier: Apache-2.0
"""Answers to "where does this pod, or claim, go": as values, and as JSON.

Decides nothing; ``berth.simulate.ask`` fills these, ``berth.cli`` shows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from berth.explain.conflict import Conflict
from berth.explain.line import one_line
from berth.explain.report import as_json
from berth.model.claims import ClaimKey
from berth.model.results import AllocationResult

VERSION = "berth.dev/answer/v1"


@dataclass(frozen=True, slots=True)
class Held:
    """A claim with its devices; ``is_now`` tells whether it holds them already."""

    claim: ClaimKey
    result: AllocationResult
    is_now: bool

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices as ``driver/pool/device``, in the order of the result."""
        return tuple(str(device.device_id) for device in self.result.devices)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked, and what came out.

    ``kind`` is ``pod`` or ``claim``, ``name`` is ``namespace/name``. ``fits`` says yes or no;
    ``is_now`` tells that it is so already, and ``undecided`` that a "no" is only a search that
    gave up. With yes, ``node`` is where, and ``held`` which devices; ``node`` is empty where a
    claim is allocated and no pod asks. With no, either ``conflict`` is set, or ``message`` says
    what stops the pod before any node is looked at. ``notes`` are things to know beside that.
    """

    kind: str
    name: str
    fits: bool
    is_now: bool = False
    node: str = ""
    held: tuple[Held, ...] = ()
    conflict: Conflict | None = None
    message: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_undecided(self) -> bool:
        """Tell whether the "no" is no proof, because a search ran out of its budget."""
        return self.conflict is not None and bool(self.conflict.undecided)

    @property
    def reason(self) -> str:
        """A "no" on one line; empty for a "yes"."""
        return one_line(self.conflict) if self.conflict is not None else self.message

    def as_json(self) -> dict[str, Any]:
        """Return the answer as plain JSON; no field is ever left out."""
        return {
            "version": VERSION,
            "kind": self.kind,
            "name": self.name,
            "fits": self.fits,
            "isNow": self.is_now,
            "undecided": self.is_undecided,
            "node": self.node,
            "claims": [
                {"claim": str(each.claim), "devices": list(each.devices), "isNow": each.is_now}
                for each in self.held
            ],
            "message": self.reason,
            "conflict": None if self.conflict is None else as_json(self.conflict),
            "notes": list(self.notes),
        }
