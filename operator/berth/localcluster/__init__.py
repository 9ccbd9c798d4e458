# SPDX-License-Identifier: Apache-2.0
"""A real control plane on this computer: etcd and Kubernetes' own programs as plain processes.

For ``berth local``, tests and demos. It never talks to any other cluster.
"""

from berth.localcluster.cluster import Component, LocalCluster, existing
from berth.localcluster.spec import ClusterSpec

__all__ = ["ClusterSpec", "Component", "LocalCluster", "existing"]
