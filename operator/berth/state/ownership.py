# SPDX-License-Identifier: Apache-2.0
"""Which claims are Berth's: policies and the labels of namespaces.

Keeps what ``berth.model.policy`` needs to decide. Never decides what a claim gets.

Source: ``berth.dev/v1alpha1`` AllocationPolicy.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from berth.model.claims import ResourceClaim
from berth.model.policy import AllocationPolicy, claims_policy, needs_class_drivers
from berth.state.published import Published, put

NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Ownership:
    """AllocationPolicies and namespaces as last observed."""

    __slots__ = ("_published", "namespaces", "policies")

    def __init__(self, published: Published) -> None:
        self._published = published
        self.policies: dict[str, AllocationPolicy] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}

    def put_policy(self, policy: AllocationPolicy) -> bool:
        """Enter a policy; tell whether that changed anything."""
        return put(self.policies, policy.name, policy)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> bool:
        """Enter a namespace's labels; tell whether that changed anything."""
        return put(self.namespaces, name, MappingProxyType(dict(labels)))

    def policy_of(self, claim: ResourceClaim) -> AllocationPolicy | None:
        """Return the policy that makes ``claim`` Berth's, ``None`` where it is not.

        A namespace that has not been seen counts as one without labels.
        """
        if not self.policies:
            return None
        policies = self.policies.values()
        names = claim.spec.class_names
        return claims_policy(
            policies,
            self.namespaces.get(claim.namespace, NO_LABELS),
            names,
            self._published.drivers_of(names) if needs_class_drivers(policies) else {},
        )
