# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from berth.controller.feeds import KopfFedKind, RawObject
from berth.errors import DecodeError


class Recorder:
    """A kind whose ledger is a dictionary, and an API server that answers one fixed list."""

    def __init__(self) -> None:
        self.ledger: dict[tuple[str, str], str] = {}
        self.refused: list[str] = []
        self.answer: list[RawObject] = []
        self.during_list: list[tuple[str | None, RawObject]] = []
        self.kind = KopfFedKind(
            "example.com", "v1", "things", self.apply, self.remove, self.undecodable
        )

    def apply(self, raw: RawObject) -> None:
        if raw.get("bad"):
            raise DecodeError("thing", "bad", "is bad")
        self.ledger[raw["metadata"].get("namespace", ""), raw["metadata"]["name"]] = raw["value"]

    def remove(self, namespace: str, name: str) -> None:
        self.ledger.pop((namespace, name), None)

    def undecodable(self, raw: RawObject, error: DecodeError) -> None:
        self.refused.append(f"{raw['metadata']['name']}: {error}")

    async def list(self, path: str) -> dict[str, Any]:
        assert path == "/apis/example.com/v1/things"
        for event in self.during_list:
            self.kind.on_event(*event)
        return {"items": self.answer}


def thing(name: str, version: int, value: str = "x", uid: str = "u1", **more: object) -> RawObject:
    metadata = {"name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata, "value": value, **more}


def test_an_older_event_does_not_overwrite_a_newer_listing() -> None:
    recorder = Recorder()
    recorder.kind.on_event(None, thing("a", 7, "new"))
    recorder.kind.on_event("MODIFIED", thing("a", 5, "old"))
    assert recorder.ledger == {("", "a"): "new"}


def test_the_late_deletion_of_a_predecessor_leaves_its_successor() -> None:
    recorder = Recorder()
    recorder.kind.on_event("ADDED", thing("a", 9, "second", uid="u2"))
    recorder.kind.on_event("DELETED", thing("a", 8, uid="u1"))
    recorder.kind.on_event("MODIFIED", thing("a", 7, "first", uid="u1"))
    assert recorder.ledger == {("", "a"): "second"}


def test_a_deletion_is_applied() -> None:
    recorder = Recorder()
    recorder.kind.on_event("ADDED", thing("a", 1))
    recorder.kind.on_event("DELETED", thing("a", 2))
    assert recorder.ledger == {}


async def test_a_listing_removes_what_was_deleted_while_nobody_watched() -> None:
    recorder = Recorder()
    recorder.kind.on_event("ADDED", thing("gone", 1))
    recorder.kind.on_event("ADDED", thing("kept", 2))
    recorder.answer = [thing("kept", 2), thing("new", 3)]
    await recorder.kind.relist(recorder)  # type: ignore[arg-type]  # only `list` is used
    assert recorder.ledger == {("", "kept"): "x", ("", "new"): "x"}


async def test_an_object_that_came_during_the_listing_stays() -> None:
    recorder = Recorder()
    recorder.during_list = [("ADDED", thing("just-made", 4))]
    await recorder.kind.relist(recorder)  # type: ignore[arg-type]  # only `list` is used
    assert recorder.ledger == {("", "just-made"): "x"}


def test_an_object_that_becomes_unusable_is_removed_and_reported() -> None:
    recorder = Recorder()
    recorder.kind.on_event("ADDED", thing("a", 1))
    recorder.kind.on_event("MODIFIED", thing("a", 2, bad=True))
    assert recorder.ledger == {}
    assert recorder.refused == ["a: thing: bad: is bad"]


@pytest.mark.parametrize("version", ["", "abc"])
def test_a_version_that_is_no_number_is_applied_once(version: str) -> None:
    recorder = Recorder()
    raw = thing("a", 0)
    raw["metadata"]["resourceVersion"] = version
    recorder.kind.on_event("ADDED", raw)
    assert recorder.ledger == {("", "a"): "x"}
