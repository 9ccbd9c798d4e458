# SPDX-License-Identifier: Apache-2.0
"""The API server's audit log: who asked for what, and what was the answer.

``flags(folder)`` are the API server's flags; ``AuditLog(folder).requests(user)`` what a user has
asked for so far. The log is written before the answer goes out, so it is never behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.kube_access import Json

POLICY: Json = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    # Once per request, when it is answered; a watch when it begins.
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts:berth-system"]},
        {"level": "None"},
    ],
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the API server saw it."""

    user: str
    verb: str
    group: str
    resource: str
    """With the subresource, as RBAC names it; empty for paths that are no resources."""
    namespace: str
    name: str
    path: str
    code: int


def flags(folder: Path) -> tuple[str, ...]:
    """Return flags that make the API server write its log into ``folder``."""
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(POLICY))
    return (f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}")


class AuditLog:
    """Reads the log on as it grows."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "audit.log"
        self._position = 0
        self._requests: list[Request] = []

    def requests(self, user: str) -> list[Request]:
        """Return what ``user`` has asked for so far, oldest first."""
        self._read()
        return [each for each in self._requests if each.user == user]

    def _read(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            content = file.read()
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        for line in complete.splitlines():
            self._requests.append(_request(json.loads(line)))


def _request(record: Json) -> Request:
    about = record.get("objectRef") or {}
    resource = "/".join(part for part in (about.get("resource"), about.get("subresource")) if part)
    return Request(
        user=record["user"]["username"].rpartition(":")[2],
        verb=record["verb"],
        group=about.get("apiGroup", ""),
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        path=record["requestURI"],
        code=(record.get("responseStatus") or {}).get("code", 0),
    )
