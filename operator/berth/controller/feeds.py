# SPDX-License-Identifier: Apache-2.0
"""Kinds that Kopf feeds: from an API object to the ledger, with start-up and missed deletions.

Kopf tells neither when its first listing is complete nor what was deleted while a watch was
broken. So each kind is listed by us at start, before leading, and every few minutes; the
difference includes the deleted objects. Kopf's events keep it current in between. The kinds that
change all the time (claims, pods, nodes) have informers instead.

Source: ``docs/adr/0009-informer-for-hot-kinds.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from berth.controller.api import ApiClient
from berth.errors import DecodeError

log = structlog.get_logger("berth.feeds")

RawObject = Mapping[str, Any]


@dataclass(slots=True)
class KopfFedKind:
    """One kind: where it is listed, how it is decoded, and what an event does to the ledger.

    ``apply`` takes the API object and may raise ``DecodeError``; ``remove`` takes namespace and
    name. ``undecodable`` is told of objects that cannot be used, after they were removed.
    """

    group: str
    version: str
    plural: str
    apply: Callable[[RawObject], None]
    remove: Callable[[str, str], None]
    undecodable: Callable[[RawObject, DecodeError], None]
    _seen: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where the kind is listed, over all namespaces."""
        return f"/apis/{self.group}/{self.version}/{self.plural}"

    def on_event(self, event_type: str | None, raw: RawObject) -> None:
        """Apply one event; ``event_type`` is ``None`` for objects of Kopf's own listing.

        Events of different objects come in any order, those of one object may repeat, and a
        listing of ours may have been newer: what is older than the ledger is dropped.
        """
        key, uid, version = _identity(raw)
        known_uid, known_version = self._seen.get(key, ("", 0))
        if event_type == "DELETED":
            if known_uid in {"", uid}:
                self._forget(key)
        elif not (known_uid and version < known_version) and (known_uid, known_version) != (
            uid,
            version or -1,
        ):
            self._accept(key, uid, version, raw)

    async def relist(self, api: ApiClient) -> None:
        """List the kind, apply what is newer, and remove what is gone.

        Raises:
            ApiError: If the API server refuses the list, ``Unreachable`` if it cannot be asked.
        """
        before = set(self._seen)
        listed = await api.list(self.path)
        present = set()
        for raw in listed["items"]:
            key, _, _ = _identity(raw)
            present.add(key)
            self.on_event(None, raw)
        # Objects that came during the request are no part of its answer, so only older ones go.
        for key in before - present:
            self._forget(key)

    def _accept(self, key: tuple[str, str], uid: str, version: int, raw: RawObject) -> None:
        self._seen[key] = (uid, version)
        try:
            self.apply(raw)
        except DecodeError as error:
            self.remove(*key)
            log.warning("object cannot be used", error=str(error))
            self.undecodable(raw, error)

    def _forget(self, key: tuple[str, str]) -> None:
        if self._seen.pop(key, None) is not None:
            self.remove(*key)


def _identity(raw: RawObject) -> tuple[tuple[str, str], str, int]:
    metadata = raw["metadata"]
    key = (metadata.get("namespace", ""), metadata["name"])
    # Integers since KEP-5504; one of another form cannot be compared, and counts.
    version = metadata.get("resourceVersion", "")
    return key, metadata["uid"], int(version) if version.isdigit() else 0
