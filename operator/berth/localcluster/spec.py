# SPDX-License-Identifier: Apache-2.0
"""What a local cluster is asked to be, and whether that is possible.

Pure: it reads no file but the list of pinned releases that it is given, and of the environment
only ``BERTH_KUBERNETES``, the release of clusters for which none is named.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from berth.localcluster.errors import InvalidClusterSpecError
from berth.localcluster.profiles import PROFILES

DEFAULT_KUBERNETES = "1.37"
RELEASE_VARIABLE = "BERTH_KUBERNETES"
DEFAULT_NAME = "berth"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
"""In the order in which they start."""
OMITTABLE = ("kube-scheduler", "kube-controller-manager", "kwok", "resourceclaim-controller")
GATED = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Components that know Kubernetes' feature gates."""
MAX_NODES = 5000
MAX_DEVICES = 128 * 128

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
_API = re.compile(r"[a-z0-9.-]+/v[0-9][a-z0-9]*(/[a-z]+)?|api/(all|ga|beta|alpha)")
_GATE = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_NONE: Mapping[str, Any] = MappingProxyType({})


def default_release() -> str:
    """Return the release of a cluster for which none is named."""
    return os.environ.get(RELEASE_VARIABLE) or DEFAULT_KUBERNETES


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """One local cluster.

    Raises:
        InvalidClusterSpecError: On creation, if it cannot be honoured as written.
    """

    name: str = DEFAULT_NAME
    kubernetes: str = field(default_factory=default_release)
    """Release, as ``MAJOR.MINOR``."""
    nodes: int = 3
    devices: int = 8
    """Per node."""
    without: frozenset[str] = frozenset()
    extra_flags: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NONE)
    """Component → flags, appended to ours: of a flag given twice the last one counts."""
    feature_gates: Mapping[str, bool] = field(default_factory=lambda: _NONE)
    """Set on every component of Kubernetes."""
    apis: Mapping[str, bool] = field(default_factory=lambda: _NONE)
    """Group and version → whether it is served, where the release does otherwise by itself."""
    profile: str = "gpu"

    def __post_init__(self) -> None:
        """Refuse what cannot be honoured."""
        where = f"cluster {self.name}"
        if not _NAME.fullmatch(self.name):
            raise InvalidClusterSpecError(
                f"{where}: the name is not usable: it needs 1 to 30 lower-case letters, digits "
                "and `-`, and a letter or digit at both ends"
            )
        for what, number, most in (
            ("nodes", self.nodes, MAX_NODES),
            ("devices", self.devices, MAX_DEVICES),
        ):
            if not 0 <= number <= most:
                raise InvalidClusterSpecError(
                    f"{where}: {what}: {number} is not within 0 to {most}"
                )
        _known(where, "without", self.without, OMITTABLE)
        _known(where, "flag", self.extra_flags, COMPONENTS)
        _known(where, "profile", (self.profile,), tuple(PROFILES))
        for flag in (each for flags in self.extra_flags.values() for each in flags):
            if not flag.startswith("-"):
                raise InvalidClusterSpecError(f"{where}: flag: `{flag}` does not start with `-`")
        for gate in self.feature_gates:
            if not _GATE.fullmatch(gate):
                raise InvalidClusterSpecError(f"{where}: feature gate: `{gate}` is no gate's name")
        for api in self.apis:
            if not _API.fullmatch(api):
                raise InvalidClusterSpecError(f"{where}: api: `{api}` is no group and version")

    @property
    def components(self) -> tuple[str, ...]:
        """The components that run, in the order in which they start."""
        return tuple(each for each in COMPONENTS if each not in self.without)

    def to_json(self) -> dict[str, Any]:
        """Return this as plain JSON."""
        return {
            **{key: value for key, value in _fields(self).items() if key != "without"},
            "without": sorted(self.without),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ClusterSpec:
        """Return what ``to_json`` made."""
        flags = {name: tuple(each) for name, each in data["extra_flags"].items()}
        return cls(
            **{"apis": {}, **data, "without": frozenset(data["without"]), "extra_flags": flags}
        )


def parse_gate(text: str) -> tuple[str, bool]:
    """Return name and value of ``DRAAdminAccess=true``.

    Raises:
        InvalidClusterSpecError: If the text is not of that form.
    """
    name, separator, value = text.partition("=")
    if not separator or value.lower() not in ("true", "false"):
        raise InvalidClusterSpecError(
            f"feature gate `{text}`: not understood: it reads like `DRAAdminAccess=true`"
        )
    return name, value.lower() == "true"


def parse_api(text: str) -> tuple[str, bool]:
    """Return group and version, and the value, of ``resource.k8s.io/v1beta1=true``.

    Raises:
        InvalidClusterSpecError: If the text is not of that form.
    """
    name, separator, value = text.partition("=")
    if not separator or value.lower() not in ("true", "false"):
        raise InvalidClusterSpecError(
            f"api `{text}`: not understood: it reads like `resource.k8s.io/v1beta1=true`"
        )
    return name, value.lower() == "true"


def parse_flag(text: str) -> tuple[str, str]:
    """Return component and flag of ``kube-apiserver=--v=4``.

    Raises:
        InvalidClusterSpecError: If the text is not of that form.
    """
    component, separator, flag = text.partition("=")
    if not separator or not flag.startswith("-"):
        raise InvalidClusterSpecError(
            f"flag `{text}`: not understood: it reads like `kube-apiserver=--v=4`"
        )
    return component, flag


def _fields(spec: ClusterSpec) -> dict[str, Any]:
    plain = {"extra_flags", "feature_gates", "apis"}
    return {
        name: dict(getattr(spec, name)) if name in plain else getattr(spec, name)
        for name in ClusterSpec.__dataclass_fields__
    }


def _known(where: str, what: str, given: Iterable[str], known: tuple[str, ...]) -> None:
    for each in sorted(given):
        if each not in known:
            raise InvalidClusterSpecError(
                f"{where}: {what}: `{each}` is unknown: known ones: {', '.join(known)}"
            )
