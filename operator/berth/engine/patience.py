# SPDX-License-Identifier: Apache-2.0
"""Selectors that cost so much that a decision must not wait for them.

Decides which selectors are costly, by the estimate that the API server's limit goes by, and says
so where one has not been judged on a device. Never evaluates one, never waits.

Source: ``k8s.io/dynamic-resource-allocation/cel`` (cost limit of a selector);
``docs/adr/0013-fair-between-namespaces.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from berth.model.claims import ResourceClaim

if TYPE_CHECKING:
    from berth.engine.records import DeviceRecord
    from berth.engine.snapshot import Snapshot
    from berth.engine.verdicts import SelectorTable

COSTLY_UNITS = 20_000
"""A selector whose estimated cost is higher takes milliseconds for each device."""
LONG_EXPRESSION = 1_000
"""An expression of more characters takes tens of milliseconds to compile."""


class Patience:
    """Whether costly selectors are left for later; one for all tables of an inventory."""

    __slots__ = ("later",)

    def __init__(self) -> None:
        self.later = False


class JudgementPending(Exception):  # noqa: N818 - no mistake: the decision is to be made later
    """A costly selector has not been judged on a device yet; who decides goes on later.

    ``table.judge(record)`` does it, and may take a second.
    """

    def __init__(self, table: SelectorTable, record: DeviceRecord) -> None:
        self.table = table
        self.record = record
        super().__init__(f"a selector has not been judged on {record.id} yet")


def has_costly_selector(snapshot: Snapshot, claims: Iterable[ResourceClaim]) -> bool:
    """Tell whether a claim, or the class of one of its requests, has a costly selector."""
    for claim in claims:
        for request in claim.spec.requests:
            for body in request.alternatives:
                known = snapshot.classes.get(body.device_class_name)
                for selector in (*(known.selectors if known else ()), *body.selectors):
                    if selector.cel and snapshot.inventory.verdicts(selector.cel).is_costly:
                        return True
    return False
