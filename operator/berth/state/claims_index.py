# SPDX-License-Identifier: Apache-2.0
"""Claims by name, by owner, and by the pods that they name.

Decides which claim a pod's reference stands for. Never which devices a claim holds
(``berth.state.devices_in_use``).

Source: KEP-4381; the resourceclaim controller's rules for adopting claims.
"""

from __future__ import annotations

from collections.abc import Iterator

from berth.model.claims import POD_CLAIM_NAME_ANNOTATION, ClaimKey, ResourceClaim
from berth.model.pods import Pod, PodClaimReference, PodKey
from berth.state.index import Index


class ClaimsIndex:
    """The claims as last observed."""

    __slots__ = ("_of_pod", "_owned", "claims")

    def __init__(self) -> None:
        self.claims: dict[ClaimKey, ResourceClaim] = {}
        self._owned: Index[str, ClaimKey] = Index()
        self._of_pod: Index[PodKey, ClaimKey] = Index()

    def put(self, claim: ResourceClaim) -> ResourceClaim | None:
        """Enter ``claim``; return what was there under its name."""
        key = claim.key
        old = self.claims.get(key)
        self.claims[key] = claim
        if old is None or old.owners != claim.owners or old.reserved_for != claim.reserved_for:
            self._owned.move(key, _owner_uids(old), _owner_uids(claim))
            self._of_pod.move(key, _pods_named(old), _pods_named(claim))
        return old

    def drop(self, key: ClaimKey) -> ResourceClaim | None:
        """Remove the claim; return what was there."""
        old = self.claims.pop(key, None)
        self._owned.move(key, _owner_uids(old), ())
        self._of_pod.move(key, _pods_named(old), ())
        return old

    def resolve(self, pod: Pod, reference: PodClaimReference) -> ResourceClaim | None:
        """Return the claim that ``reference`` of ``pod`` stands for, ``None`` if there is none.

        A claim from a template counts only if the pod, or its pod group, controls it: another
        object of that name is somebody else's. Where the pod's status names no claim yet, one
        that was made for the pod is found by its owner and annotation. Where the status names a
        claim that has not been seen, nothing else is taken in its place.
        """
        if reference.claim_name is not None:
            return self.claims.get(ClaimKey(pod.namespace, reference.claim_name))
        if reference.template_name is None:
            return None
        if reference.name not in pod.claim_names:
            return self._unrecorded(pod, reference.name)
        name = pod.claim_names[reference.name]
        claim = None if name is None else self.claims.get(ClaimKey(pod.namespace, name))
        return claim if claim is not None and _is_owned_by(claim, pod) else None

    def owned_by(self, uid: str) -> tuple[ClaimKey, ...]:
        """Return the claims whose controller is the object with ``uid``."""
        return self._owned.get(uid) if uid else ()

    def naming(self, pod: PodKey) -> tuple[ResourceClaim, ...]:
        """Return the claims that name ``pod`` as consumer or controller, by name only."""
        return tuple(self.claims[key] for key in self._of_pod.get(pod))

    def indexes(self) -> tuple[object, ...]:
        """Return everything that is derived from the claims, for comparison."""
        return self._owned.as_mapping(), self._of_pod.as_mapping()

    def _unrecorded(self, pod: Pod, reference: str) -> ResourceClaim | None:
        made = (
            self.claims[key] for key in self.owned_by(pod.uid) if key.namespace == pod.namespace
        )
        # Two generators may have made one each; everybody must take the same.
        return min(
            (c for c in made if c.annotations.get(POD_CLAIM_NAME_ANNOTATION) == reference),
            key=lambda claim: (claim.created, claim.name),
            default=None,
        )


def is_news(old: ResourceClaim, new: ResourceClaim) -> bool:
    """Tell whether the change may change what is to be done about the claim's pods."""
    return _decisive(old) != _decisive(new)


def _decisive(claim: ResourceClaim) -> tuple[object, ...]:
    return (
        claim.allocation,
        claim.reserved_for,
        claim.device_conditions,
        claim.deleting,
        claim.owners,
        claim.annotations,
        claim.spec,
    )


def _is_owned_by(claim: ResourceClaim, pod: Pod) -> bool:
    return any(
        owner.controller
        and (
            (bool(pod.uid) and owner.uid == pod.uid)
            or (bool(pod.pod_group) and owner.kind == "PodGroup" and owner.name == pod.pod_group)
        )
        for owner in claim.owners
    )


def _owner_uids(claim: ResourceClaim | None) -> tuple[str, ...]:
    return (claim.controller_uid,) if claim is not None and claim.controller_uid else ()


def _pods_named(claim: ResourceClaim | None) -> Iterator[PodKey]:
    if claim is None:
        return
    for owner in claim.owners:
        if owner.controller and owner.kind == "Pod":
            yield PodKey(claim.namespace, owner.name)
    for consumer in claim.reserved_for:
        if consumer.resource == "pods" and not consumer.api_group:
            yield PodKey(claim.namespace, consumer.name)
