# SPDX-License-Identifier: Apache-2.0
"""The whole audit, as one answer and as many small ones.

Decides what is looked at, and in which order findings are told. Each unit is judged in one go on
the ledger of that moment, so that a long sweep may let events in between two units.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from berth.audit.claims import judge_claim
from berth.audit.devices import judge_pool, overlaps
from berth.audit.finding import Finding, Severity
from berth.audit.pods import judge_pod
from berth.audit.view import Scope, View
from berth.model.claims import ClaimKey
from berth.model.devices import DeviceID, PoolID
from berth.model.pods import PodKey
from berth.state.cluster import Cluster

_ORDER = (Severity.ERROR, Severity.WARNING)


@dataclass(frozen=True, slots=True)
class DeviceUnit:
    """Who holds one device."""

    device: DeviceID


@dataclass(frozen=True, slots=True)
class PoolUnit:
    """The counters and capacities of one pool."""

    pool: PoolID


@dataclass(frozen=True, slots=True)
class ClaimUnit:
    """One claim for itself."""

    claim: ClaimKey


@dataclass(frozen=True, slots=True)
class PodUnit:
    """One pod."""

    pod: PodKey


Unit = DeviceUnit | PoolUnit | ClaimUnit | PodUnit


def audit(cluster: Cluster, now: int, scope: Scope = Scope()) -> tuple[Finding, ...]:  # noqa: B008 - a frozen value
    """Return everything that is wrong, errors first, then by kind and object.

    Args:
        cluster: The ledger; read only.
        now: Seconds since 1970, in UTC.
        scope: What is known beside the ledger.
    """
    view = View.of(cluster, now, scope)
    found = [finding for unit in units_of(view) for finding in judge(view, unit)]
    return tuple(sorted(found, key=order))


def order(finding: Finding) -> tuple[int, str, str, tuple[str, ...]]:
    """Return the key by which findings are sorted."""
    return _ORDER.index(finding.severity), finding.kind, finding.where, finding.key[2]


def units_of(view: View) -> Iterator[Unit]:
    """Yield all that there is to judge; what there is is taken note of before the first one."""
    cluster = view.cluster
    shared = cluster.in_use.shared
    # Nearly every device has one user, and nothing can be wrong with that.
    contended = [
        device
        for device, users in cluster.in_use.holders.items()
        if len(users) > 1 or device in shared
    ]
    devices = [*contended, *(device for device in shared if device not in cluster.in_use.holders)]
    pools = list(view.publications.pools)
    claims = list(cluster.claims)
    pods = list(cluster.pods)
    # Lazily, because all together take a while in a large cluster.
    return itertools.chain(
        map(DeviceUnit, devices), map(PoolUnit, pools), map(ClaimUnit, claims), map(PodUnit, pods)
    )


def judge(view: View, unit: Unit) -> Iterator[Finding]:
    """Yield what is wrong with one unit; nothing where it is not there any more."""
    match unit:
        case DeviceUnit(device):
            yield from overlaps(view.cluster, device)
        case PoolUnit(pool):
            yield from judge_pool(view, pool)
        case ClaimUnit(key):
            claim = view.cluster.claims.get(key)
            if claim is not None:
                yield from judge_claim(view, claim)
        case PodUnit(pod_key):
            pod = view.cluster.pods.get(pod_key)
            if pod is not None:
                yield from judge_pod(view, pod)
