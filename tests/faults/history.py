# SPDX-License-Identifier: Apache-2.0
"""What the API server did, as it was recorded: one line an event, in the order of its versions.

Decides how a history is written down and read back. It knows nothing of Berth.

Source: Kubernetes API concepts; versions of objects in one etcd compare as integers (KEP-5504).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]

LISTED, ADDED, MODIFIED, DELETED = "LISTED", "ADDED", "MODIFIED", "DELETED"
GAP, END = "GAP", "END"
MARKS = (GAP, END)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event; ``at`` is when the recorder saw it, in seconds of the machine's clock."""

    kind: str
    type: str
    version: int
    at: float
    object: Json

    @property
    def deleted(self) -> bool:
        return self.type == DELETED

    @property
    def name(self) -> str:
        metadata = self.object["metadata"]
        return f"{metadata.get('namespace', '')}/{metadata['name']}"

    @property
    def uid(self) -> str:
        return str(self.object["metadata"]["uid"])

    def to_line(self) -> bytes:
        return (
            orjson.dumps(
                {
                    "version": self.version,
                    "kind": self.kind,
                    "type": self.type,
                    "at": round(self.at, 4),
                    "object": self.object,
                }
            )
            + b"\n"
        )

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        raw = orjson.loads(line)
        return cls(raw["kind"], raw["type"], raw["version"], raw["at"], raw["object"])


class History:
    """A recorded history on disk; reading it takes little memory, however long it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gaps: list[str] = []
        self.complete = False
        self._places: list[tuple[int, int]] = []
        offset = 0
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    self._index(line, offset)
                offset += len(line)
        self._places.sort()

    def _index(self, line: bytes, offset: int) -> None:
        raw = orjson.loads(line)
        if raw["type"] == GAP:
            self.gaps.append(str(raw["object"]["detail"]))
        elif raw["type"] == END:
            self.complete = True
        else:
            self._places.append((raw["version"], offset))

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Entry]:
        with self.path.open("rb") as file:
            for _, offset in self._places:
                file.seek(offset)
                yield Entry.from_line(file.readline())


@dataclass(frozen=True, slots=True)
class Write:
    """A write of one replica that the API server carried out, as seen between the two."""

    replica: str
    what: str
    path: str
    version: int
    at: float
    """When its answer came."""
    knew: int = 0
    """Up to which version the replica had been told of claims, a while before it sent this."""


def read_writes(path: Path) -> list[Write]:
    if not path.exists():
        return []
    return [Write(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
