# SPDX-License-Identifier: Apache-2.0
"""Where the API server has the objects that Berth reads and writes.

Decides URL paths only; names are quoted, so that no name can reach another object.
"""

from __future__ import annotations

from urllib.parse import quote

from berth.codec.versions import GROUP, V1
from berth.model.claims import ClaimKey
from berth.model.pods import PodKey


def claims_path(namespace: str, version: str = V1) -> str:
    """Return the path of the ResourceClaims of a namespace; of all, where it is empty.

    ``version`` is the one that the cluster serves (``berth.controller.served``).
    """
    scope = f"namespaces/{quote(namespace)}/" if namespace else ""
    return f"/apis/{GROUP}/{version}/{scope}resourceclaims"


def claim_path(key: ClaimKey, version: str = V1) -> str:
    """Return the path of one ResourceClaim, likewise."""
    return f"{claims_path(key.namespace, version)}/{quote(key.name)}"


def pod_path(key: PodKey) -> str:
    """Return the path of one Pod."""
    return f"/api/v1/namespaces/{quote(key.namespace)}/pods/{quote(key.name)}"


def leases_path(namespace: str) -> str:
    """Return the path of the Leases of a namespace."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace)}/leases"


def lease_path(namespace: str, name: str) -> str:
    """Return the path of one Lease."""
    return f"{leases_path(namespace)}/{quote(name)}"


def events_path(namespace: str) -> str:
    """Return the path of the Events of a namespace."""
    return f"/apis/events.k8s.io/v1/namespaces/{quote(namespace)}/events"


def event_path(namespace: str, name: str) -> str:
    """Return the path of one Event."""
    return f"{events_path(namespace)}/{quote(name)}"
