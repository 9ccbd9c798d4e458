# SPDX-License-Identifier: Apache-2.0
"""Which programs a control plane is made of, and which Go module pins each.

It reads ``go.mod`` and ``go.sum`` and computes names; it never builds. A further Kubernetes
release is one more folder ``kubernetes-MAJOR.MINOR`` under ``tools/``: nothing here changes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from berth.localcluster.errors import InvalidClusterSpecError, LocalClusterError

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, slots=True)
class Program:
    """One program to build."""

    name: str
    version: str
    """Version of the module that it comes from, with its ``v``."""
    package: str
    """Go import path of its ``main``."""
    module: Path
    """Our folder with ``go.mod`` and ``go.sum``."""
    digest: str
    """Of ``go.mod``, ``go.sum`` and the linker flags: another one is another build."""
    ldflags: str
    stages_of: str = ""
    """Go module whose kwok stages are kept beside the program; empty for all others."""

    @property
    def key(self) -> str:
        """Name of the folder in the cache; one build, one key."""
        return f"{self.name}-{self.version}-{self.digest[:12]}"


def control_plane(tools: Path, kubernetes: str) -> tuple[Program, ...]:
    """Return the programs of one release, in the order in which they are worth building.

    Raises:
        InvalidClusterSpecError: If ``tools`` does not pin that release.
    """
    module = tools / f"kubernetes-{kubernetes}"
    if not (module / "go.mod").is_file():
        known = ", ".join(releases(tools))
        raise InvalidClusterSpecError(
            f"kubernetes {kubernetes}: no such release is pinned: known ones: {known}"
        )
    return (
        _program(tools / "etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        *(
            _program(module, name, f"k8s.io/kubernetes/cmd/{name}", root="k8s.io/kubernetes")
            for name in KUBERNETES_PROGRAMS
        ),
        _program(
            tools / "kwok",
            "kwok",
            "sigs.k8s.io/kwok/cmd/kwok",
            root="sigs.k8s.io/kwok",
            stages_of="sigs.k8s.io/kwok",
        ),
    )


def helm(tools: Path) -> Program:
    """Return Helm, which tests and demos install the chart with."""
    return _program(tools / "helm", "helm", "helm.sh/helm/v4/cmd/helm", root="helm.sh/helm/v4")


def releases(tools: Path) -> tuple[str, ...]:
    """Return the pinned Kubernetes releases (``1.37``), oldest first."""
    found = (each.name.removeprefix("kubernetes-") for each in tools.glob("kubernetes-*"))
    return tuple(sorted(found, key=lambda text: [int(part) for part in text.split(".")]))


def required_version(go_mod: str, module: str) -> str:
    """Return the version that the text of a ``go.mod`` requires of ``module``."""
    found = re.search(rf"^(?:require)?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise LocalClusterError(f"go.mod: does not require `{module}`")
    return found[1]


def _program(
    module: Path, name: str, package: str, *, root: str = "", stages_of: str = ""
) -> Program:
    go_mod = (module / "go.mod").read_text()
    version = required_version(go_mod, root or package)
    flags = _ldflags(name, version)
    inputs = "\0".join((go_mod, (module / "go.sum").read_text(), flags, package))
    digest = hashlib.sha256(inputs.encode()).hexdigest()
    return Program(name, version, package, module, digest, flags, stages_of)


def _ldflags(name: str, version: str) -> str:
    values: tuple[str, ...] = ()
    if name in KUBERNETES_PROGRAMS:
        # Without these the server takes itself for v0.0.0 and feature gates misbehave.
        major, minor, _ = version.removeprefix("v").split(".", 2)
        at = "k8s.io/component-base/version"
        values = (f"{at}.gitVersion={version}", f"{at}.gitMajor={major}", f"{at}.gitMinor={minor}")
    elif name == "helm":
        values = (f"helm.sh/helm/v4/internal/version.version={version}",)
    return " ".join(("-s", "-w", *(f"-X {each}" for each in values)))
