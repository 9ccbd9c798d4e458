# SPDX-License-Identifier: Apache-2.0
"""Whose answer may have changed: the pods to decide again, and the pods that wait.

Decides when a pod is looked at again; never by a timer. Waking a pod for nothing costs one
decision, not waking it costs its life, so every rule here errs on the side of waking.
"""

from __future__ import annotations

from collections.abc import Iterable

from berth.model.pods import PodKey


class Wakeups:
    """Dirty pods are to be decided; waiting ones had a "no", and become dirty when that may end."""

    __slots__ = ("_dirty", "waiting")

    def __init__(self) -> None:
        self._dirty: set[PodKey] = set()
        self.waiting: set[PodKey] = set()

    def mark(self, pods: Iterable[PodKey]) -> None:
        """Have ``pods`` decided again, because something about them has changed."""
        self._dirty.update(pods)

    def may_fit_now(self, *, but: PodKey | None = None) -> None:
        """Have the waiting pods decided again: something came free, or something new came.

        Called for a device or a node's resources that became free, and for every change of a
        slice, class, node, taint rule, policy or namespace. All of them are woken; which of them
        the change could help would need the set of devices that each could use.

        ``but`` is a pod that caused the change itself: waking it would make a refused write
        repeat at once, for ever.
        """
        self._dirty.update(pod for pod in self.waiting if pod != but)

    def gone(self, pod: PodKey) -> None:
        """Drop a pod that exists no more."""
        self._dirty.discard(pod)
        self.waiting.discard(pod)

    def take(self) -> frozenset[PodKey]:
        """Return the dirty pods, and begin anew."""
        taken = frozenset(self._dirty)
        self._dirty.clear()
        return taken
