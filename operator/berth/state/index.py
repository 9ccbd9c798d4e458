# SPDX-License-Identifier: Apache-2.0
"""A mapping from a key to a few values, kept small for the usual case of exactly one.

Decides nothing. Most claims have one pod and most pods one claim; a set for each of them would
take more memory than the object that it indexes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=tuple[Any, ...])


class Index(Generic[K, V]):
    """Key → values; a value counts once, however often it is added."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[K, V | set[V]] = {}

    def add(self, key: K, value: V) -> None:
        """Enter ``value`` under ``key``."""
        known = self._values.get(key)
        if known is None:
            self._values[key] = value
        elif isinstance(known, set):
            known.add(value)
        elif known != value:
            self._values[key] = {known, value}

    def discard(self, key: K, value: V) -> None:
        """Take ``value`` from under ``key``, if it is there."""
        known = self._values.get(key)
        if isinstance(known, set):
            known.discard(value)
            if len(known) == 1:
                self._values[key] = known.pop()
        elif known == value:
            del self._values[key]

    def move(self, value: V, old: Iterable[K], new: Iterable[K]) -> None:
        """Enter ``value`` under ``new`` where it was under ``old``."""
        before, after = set(old), set(new)
        for key in before - after:
            self.discard(key, value)
        for key in after - before:
            self.add(key, value)

    def get(self, key: K) -> tuple[V, ...]:
        """Return the values under ``key``, sorted."""
        known = self._values.get(key)
        if known is None:
            return ()
        return tuple(sorted(known)) if isinstance(known, set) else (known,)

    def as_mapping(self) -> Mapping[K, tuple[V, ...]]:
        """Return everything, for comparison."""
        return {key: self.get(key) for key in self._values}
