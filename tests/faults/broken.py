# SPDX-License-Identifier: Apache-2.0
"""Runs Berth with one of its safeguards taken out, to see whether the lane notices.

``python -m tests.faults.broken --without=lease-check run ...``; ``SAFEGUARDS`` names them. Nothing
in Berth itself knows of this.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Mapping
from typing import Any


def _replace(owner: type, name: str, method: Callable[..., Any]) -> None:
    # Without a safeguard's name there would be nothing to take out, and the test would be none.
    assert callable(getattr(owner, name))
    setattr(owner, name, method)


def _without_lease_check() -> None:
    """Write as long as one believes to lead, however old the last renewal is."""
    from berth.controller.leader import Elector

    _replace(Elector, "may_write", lambda self: self.leading)


def _without_assumed_state() -> None:
    """Decide from what has been seen alone, as if what was just decided had not been."""
    from berth.state.cluster import Cluster

    def assume(*_: Any) -> None:
        return None

    _replace(Cluster, "assume", assume)


def _finalizer_after_status() -> None:
    """Allocate a claim first, and protect it from deletion afterwards."""
    from berth.controller.answers import ClaimWritten
    from berth.controller.writer import Writer

    protect, allocate = Writer._protect, Writer._allocate

    async def first_nothing(self: Writer, claim: Any) -> Any:
        return ClaimWritten(claim)

    async def then_protect(self: Writer, *arguments: Any) -> Any:
        outcome = await allocate(self, *arguments)
        if isinstance(outcome, ClaimWritten):
            await protect(self, outcome.claim)
        return outcome

    _replace(Writer, "_protect", first_nothing)
    _replace(Writer, "_allocate", then_protect)


SAFEGUARDS: Mapping[str, Callable[[], None]] = {
    "lease-check": _without_lease_check,
    "assumed-state": _without_assumed_state,
    "finalizer-first": _finalizer_after_status,
}


def main() -> None:
    """Take the safeguard out and run Berth with the other arguments."""
    option = sys.argv.pop(1)
    SAFEGUARDS[option.removeprefix("--without=")]()
    runpy.run_module("berth", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
