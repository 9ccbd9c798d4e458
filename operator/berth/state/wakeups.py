# SPDX-License-Identifier: Apache-2.0
"""Whose answer may have changed: the pods to decide again, and the pods that wait.

Decides when a pod is looked at again; never by a timer. Waking a pod for nothing costs one
decision, not waking it costs its life, so every rule here errs on the side of waking.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet

from berth.model.pods import PodKey


class Wakeups:
    """Dirty pods are to be decided; waiting ones had a "no", and become dirty when that may end.

    Pods that ask the same question wait in one line: what is a "no" to the first is a "no" to all
    of them, so only the first is woken, and the next one when the first has left the line.
    """

    __slots__ = ("_dirty", "_line_of", "_lines", "waiting")

    def __init__(self) -> None:
        self._dirty: set[PodKey] = set()
        self._line_of: dict[PodKey, Hashable] = {}
        self._lines: dict[Hashable, dict[PodKey, None]] = {}
        self.waiting: AbstractSet[PodKey] = self._line_of.keys()
        """The pods that wait, as they are at any time."""

    def mark(self, pods: Iterable[PodKey]) -> None:
        """Have ``pods`` decided again, because something about them has changed."""
        self._dirty.update(pods)

    def wait(self, pod: PodKey, question: Hashable = None) -> None:
        """Have ``pod`` wait in the line of ``question``; with ``None`` it stands in no line."""
        line = pod if question is None else question
        if self._line_of.get(pod, _NONE) != line:
            self.stop_waiting(pod)
            self._line_of[pod] = line
            self._lines.setdefault(line, {})[pod] = None

    def stop_waiting(self, pod: PodKey) -> None:
        """Take ``pod`` out of its line; if it was the first, the next one is looked at."""
        line = self._line_of.pop(pod, _NONE)
        if line is _NONE:
            return
        pods = self._lines[line]
        was_first = next(iter(pods)) == pod
        del pods[pod]
        if not pods:
            del self._lines[line]
        elif was_first:
            self._dirty.add(next(iter(pods)))

    def may_fit_now(self, *, but: PodKey | None = None) -> None:
        """Have the waiting pods decided again: something came free, or something new came.

        Called for a device or a node's resources that became free, and for every change of a
        slice, class, node, taint rule, policy or namespace. The first of every line is woken.

        ``but`` is a pod that caused the change itself: waking it would make a refused write
        repeat at once, for ever.
        """
        for pods in self._lines.values():
            first = next((pod for pod in pods if pod != but), None)
            if first is not None:
                self._dirty.add(first)

    def gone(self, pod: PodKey) -> None:
        """Drop a pod that exists no more."""
        self._dirty.discard(pod)
        self.stop_waiting(pod)

    def take(self) -> frozenset[PodKey]:
        """Return the dirty pods, and begin anew."""
        taken = frozenset(self._dirty)
        self._dirty.clear()
        return taken


_NONE = object()
