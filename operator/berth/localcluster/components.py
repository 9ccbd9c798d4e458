# SPDX-License-Identifier: Apache-2.0
"""The command line and the files of every component of a local cluster.

Pure: it computes text; ``berth.localcluster.cluster`` writes and runs it.

The API server makes its own serving certificate, whose file carries the authority too: clients
verify it, and nothing here needs a tool for keys. The same RSA key signs ServiceAccount tokens; a
throw-away cluster has no use for two. Everything listens on the loopback address only.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from berth.localcluster.spec import GATED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from berth.localcluster.spec import ClusterSpec

HOST = "127.0.0.1"
USERS: Mapping[str, tuple[str, str]] = {
    "admin": ("berth-local-admin", "system:masters"),
    # Of system:masters, since all its controllers share this one account here.
    "kube-controller-manager": ("system:kube-controller-manager", "system:masters"),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kwok": ("berth-local-kwok", "system:masters"),
}
"""Who gets a token: name → user, group. The scheduler has only its bootstrap role, as always."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one cluster keeps its files, and on which ports it listens."""

    folder: Path
    etcd_port: int
    etcd_peer_port: int
    api_port: int

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{HOST}:{self.api_port}"

    @property
    def certificate(self) -> Path:
        """The API server's certificate and its authority, made by itself at its first start."""
        return self.folder / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, user: str) -> Path:
        """Return the kubeconfig of one of ``USERS``."""
        name = "kubeconfig" if user == "admin" else f"{user}.kubeconfig"
        return self.folder / name

    def log_of(self, component: str) -> Path:
        """Return the log of a component."""
        return self.folder / "logs" / f"{component}.log"


def command(
    component: str, binary: Path, layout: Layout, spec: ClusterSpec, stages: Sequence[Path] = ()
) -> tuple[str, ...]:
    """Return the command line of one component, the spec's own flags last."""
    flags = {
        "etcd": _etcd,
        "kube-apiserver": _apiserver,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "kwok": _kwok,
    }[component](layout, spec)
    if component == "kwok":
        flags = (*flags, *(f"--config={each}" for each in stages))
    if component == "kube-apiserver" and spec.apis:
        served = (f"{name}={str(on).lower()}" for name, on in sorted(spec.apis.items()))
        flags = (*flags, f"--runtime-config={','.join(served)}")
    if component in GATED and spec.feature_gates:
        gates = (f"{name}={str(on).lower()}" for name, on in sorted(spec.feature_gates.items()))
        flags = (*flags, f"--feature-gates={','.join(gates)}")
    return (str(binary), *flags, *spec.extra_flags.get(component, ()))


def _etcd(layout: Layout, _: ClusterSpec) -> tuple[str, ...]:
    client = f"http://{HOST}:{layout.etcd_port}"
    peer = f"http://{HOST}:{layout.etcd_peer_port}"
    return (
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def _apiserver(layout: Layout, spec: ClusterSpec) -> tuple[str, ...]:
    key = layout.certificate.with_suffix(".key")
    off = ["ServiceAccount"]
    if spec.without & {"kwok", "kube-controller-manager"}:
        # It taints new nodes as not ready, and here nobody is left to take that back.
        off.append("TaintNodesByCondition")
    # The authorizer of nodes waits for slices of v1, and the API server for it; kwok needs neither.
    modes = ("RBAC", "Node") if spec.apis.get("resource.k8s.io/v1", True) else ("RBAC",)
    return (
        f"--etcd-servers=http://{HOST}:{layout.etcd_port}",
        f"--bind-address={HOST}",
        f"--secure-port={layout.api_port}",
        # Else it looks for the address of a network interface, which a computer may not have.
        f"--advertise-address={HOST}",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={layout.certificate.parent}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={layout.folder / 'tokens.csv'}",
        f"--authorization-mode={','.join(modes)}",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--disable-admission-plugins={','.join(off)}",
        "--profiling=false",
    )


def _controller_manager(layout: Layout, spec: ClusterSpec) -> tuple[str, ...]:
    off = []
    if "resourceclaim-controller" in spec.without:
        off.append("-resourceclaim-controller")
    if "kwok" in spec.without:
        # Nobody renews the leases of the nodes: it would call all of them dead after a while.
        off.append("-node-lifecycle-controller")
    return (
        f"--kubeconfig={layout.kubeconfig_of('kube-controller-manager')}",
        f"--service-account-private-key-file={layout.certificate.with_suffix('.key')}",
        f"--root-ca-file={layout.certificate}",
        f"--controllers={','.join(('*', *off))}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--profiling=false",
    )


def _scheduler(layout: Layout, _: ClusterSpec) -> tuple[str, ...]:
    return (f"--config={layout.folder / 'kube-scheduler.json'}", "--secure-port=0")


def _kwok(layout: Layout, _: ClusterSpec) -> tuple[str, ...]:
    return (
        f"--kubeconfig={layout.kubeconfig_of('kwok')}",
        "--manage-all-nodes=true",
        f"--node-ip={HOST}",
        "--node-lease-duration-seconds=40",
    )


def scheduler_config(layout: Layout) -> dict[str, Any]:
    """Return the scheduler's configuration.

    Its limits of requests take effect only here: the flags of the same name do nothing.
    """
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "enableProfiling": False,
        "clientConnection": {
            "kubeconfig": str(layout.kubeconfig_of("kube-scheduler")),
            "qps": 1000,
            "burst": 2000,
        },
    }


def token_file(tokens: Mapping[str, str]) -> str:
    """Return the API server's file of tokens; ``tokens`` maps each of ``USERS`` to its token."""
    lines = []
    for name, (user, group) in USERS.items():
        tail = f',"{group}"' if group else ""
        lines.append(f"{tokens[name]},{user},{user}{tail}\n")
    return "".join(lines)


def kubeconfig(layout: Layout, cluster: str, token: str, certificate: bytes) -> str:
    """Return a kubeconfig, as JSON, which every reader of YAML takes."""
    name = f"berth-{cluster}"
    data = base64.b64encode(certificate).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [
            {
                "name": name,
                "cluster": {"server": layout.server, "certificate-authority-data": data},
            }
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }
    return json.dumps(content, indent=2) + "\n"
