# SPDX-License-Identifier: Apache-2.0
"""What pods without a gate were given, and what kube-scheduler has taken back of it.

Decides which nodes such a pod is not given again at once, and when it is given anything again:
the first time at once, then after ever longer pauses. Remembers only what this replica did; a
new one begins with an empty memory, which costs at most one write more. Never writes.

Source: kube-scheduler's forced deallocation (``DynamicResources``, PostFilter), KEP-4381.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from berth.model.claims import ResourceClaim
from berth.model.pods import Pod, PodKey
from berth.state.cluster import Cluster

REFUSED_SECONDS = 60.0
"""How long a node counts as refused; what was in the way there may have gone by then."""
MAX_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class _History:
    """What became of the allocations of one pod; ``claims`` are uids, by what is given now."""

    uid: str
    node: str = ""
    claims: frozenset[str] = frozenset()
    message: str = ""
    times: int = 0
    not_before: float = 0.0
    refused: dict[str, float] = field(default_factory=dict)


class Given:
    """The memory, by pod; an entry goes when its pod is bound or gone."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pods: dict[PodKey, _History] = {}

    def gave(self, pod: Pod, node: str, claims: Iterable[ResourceClaim]) -> None:
        """Remember that the claims of ``pod`` are allocated for ``node``."""
        known = self._pods.get(pod.key)
        if known is None or known.uid != pod.uid:
            known = self._pods[pod.key] = _History(pod.uid)
        known.node, known.message = node, pod.unschedulable_message
        known.claims = frozenset(claim.uid for claim in claims)

    def forget(self, key: PodKey) -> None:
        """Drop what is remembered of a pod."""
        self._pods.pop(key, None)

    def taken_back(self, cluster: Cluster, pod: Pod) -> str:
        """Return the node for which ``pod`` was given devices that are gone now; told once."""
        known = self._of(pod)
        if known is None or not known.node:
            return ""
        claims = (cluster.claim_of(pod, reference) for reference in pod.claims)
        if not any(
            c is not None and c.allocation is None and c.uid in known.claims for c in claims
        ):
            return ""
        node, known.node = known.node, ""
        known.times += 1
        now = self._clock()
        known.refused[node] = now + REFUSED_SECONDS
        if known.times > 1:
            known.not_before = now + min(2.0 ** (known.times - 2), MAX_PAUSE_SECONDS)
        return node

    def pause(self, pod: Pod) -> float:
        """Return the seconds until ``pod`` may be given anything again."""
        known = self._of(pod)
        return 0.0 if known is None else max(0.0, known.not_before - self._clock())

    def refused(self, pod: Pod) -> frozenset[str]:
        """Return the nodes that kube-scheduler has refused a short while ago."""
        known = self._of(pod)
        if known is None:
            return frozenset()
        now = self._clock()
        return frozenset(node for node, until in known.refused.items() if until > now)

    def next_try(self, pod: Pod) -> float:
        """Return the seconds until the first refused node may be tried again."""
        known = self._of(pod)
        waits = () if known is None else known.refused.values()
        now = self._clock()
        return min((until - now for until in waits if until > now), default=0.0)

    def is_news(self, pod: Pod) -> bool:
        """Tell whether kube-scheduler has said something of ``pod`` since it was given devices."""
        known = self._of(pod)
        return known is None or known.message != pod.unschedulable_message

    def _of(self, pod: Pod) -> _History | None:
        known = self._pods.get(pod.key)
        return known if known is not None and known.uid == pod.uid else None
