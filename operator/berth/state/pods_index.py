# SPDX-License-Identifier: Apache-2.0
"""Pods by name, by uid, by the claims and templates that they refer to.

Decides which changes of a pod matter for allocation. Never what a pod takes of its node
(``berth.state.node_usage``).
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.model.claims import ClaimKey
from berth.model.pods import Pod, PodKey
from berth.state.index import Index


class PodsIndex:
    """The pods as last observed."""

    __slots__ = ("_by_claim", "_by_template", "by_uid", "pending", "pods")

    def __init__(self) -> None:
        self.pods: dict[PodKey, Pod] = {}
        self.by_uid: dict[str, PodKey] = {}
        self.pending: set[PodKey] = set()
        """Pods that ask for devices and have no node: whom an administrator may concern."""
        self._by_claim: Index[ClaimKey, PodKey] = Index()
        self._by_template: Index[tuple[str, str], PodKey] = Index()

    def put(self, pod: Pod) -> Pod | None:
        """Enter ``pod``; return what was there under its name."""
        key = pod.key
        old = self.pods.get(key)
        self.pods[key] = pod
        self._index(key, old, pod)
        return old

    def drop(self, key: PodKey) -> Pod | None:
        """Remove the pod; return what was there."""
        old = self.pods.pop(key, None)
        self._index(key, old, None)
        return old

    def of_claim(self, key: ClaimKey) -> tuple[PodKey, ...]:
        """Return the pods whose references name the claim."""
        return self._by_claim.get(key)

    def of_template(self, namespace: str, name: str) -> tuple[PodKey, ...]:
        """Return the pods with a reference to the template."""
        return self._by_template.get((namespace, name))

    def indexes(self) -> tuple[object, ...]:
        """Return everything that is derived from the pods, for comparison."""
        return (
            self.by_uid,
            self.pending,
            self._by_claim.as_mapping(),
            self._by_template.as_mapping(),
        )

    def _index(self, key: PodKey, old: Pod | None, new: Pod | None) -> None:
        if old is None or new is None or old.uid != new.uid:
            if old is not None and self.by_uid.get(old.uid) == key:
                del self.by_uid[old.uid]
            if new is not None and new.uid:
                self.by_uid[new.uid] = key
        if new is not None and _is_pending(new):
            self.pending.add(key)
        else:
            self.pending.discard(key)
        if _references(old) != _references(new):
            self._by_claim.move(key, _claims(old), _claims(new))
            self._by_template.move(key, _templates(old), _templates(new))


def concerns_allocation(old: Pod | None, new: Pod) -> bool:
    """Tell whether the change from ``old`` to ``new`` may change what is to be done about it.

    Most events of a pod are news of its containers; a pod that asks for no devices and is without
    Berth's gate never concerns Berth.
    """
    if not _asks(new) and not new.is_gated and not (old is not None and old.is_gated):
        return False
    return old is None or _decisive(old) != _decisive(new)


def _asks(pod: Pod) -> bool:
    return bool(pod.claims or pod.extended_requests)


def _is_pending(pod: Pod) -> bool:
    return pod.is_gated or (
        _asks(pod) and not pod.node_name and not pod.is_terminal and not pod.deleting
    )


def _decisive(pod: Pod) -> tuple[object, ...]:
    return (
        pod.uid,
        pod.gates,
        pod.claim_names,
        pod.node_name,
        pod.phase,
        pod.deleting,
        pod.unschedulable_message,
        pod.claims,
        pod.priority,
        pod.node_selector,
        pod.required_affinity,
        pod.tolerations,
        pod.requests,
    )


def _references(pod: Pod | None) -> tuple[object, ...]:
    return () if pod is None else (pod.claims, pod.claim_names)


def _claims(pod: Pod | None) -> Iterator[ClaimKey]:
    if pod is not None:
        for _, name in pod.resolved_claims():
            if name is not None:
                yield ClaimKey(pod.namespace, name)


def _templates(pod: Pod | None) -> Iterator[tuple[str, str]]:
    if pod is not None:
        for reference in pod.claims:
            if reference.template_name is not None:
                yield (pod.namespace, reference.template_name)
