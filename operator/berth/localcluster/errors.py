# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a local cluster, each with the fields that its text is made of."""

from __future__ import annotations

from berth.errors import BerthError


class LocalClusterError(BerthError):
    """A local cluster that cannot be built, started, found or stopped; the text says why."""


class InvalidClusterSpecError(LocalClusterError):
    """A cluster was asked for that cannot exist: unknown release, component or profile."""


class BuildError(LocalClusterError):
    """A program could not be built; ``program`` names it, ``tail`` is the end of its log."""

    def __init__(self, program: str, detail: str, tail: str = "") -> None:
        self.program = program
        self.detail = detail
        self.tail = tail
        super().__init__(f"build of {program}: {detail}" + (f"\n\n{tail}" if tail else ""))


class ComponentDiedError(LocalClusterError):
    """A component of a cluster ended on its own; ``tail`` is the end of its log."""

    def __init__(self, cluster: str, component: str, status: str, tail: str) -> None:
        self.cluster = cluster
        self.component = component
        self.status = status
        self.tail = tail
        super().__init__(
            f"cluster {cluster}, component {component}: ended on its own: {status}"
            f"\n\nthe end of its log:\n{tail}"
        )


class UnknownClusterError(LocalClusterError):
    """No cluster of that name exists; ``existing`` are those that do."""

    def __init__(self, name: str, existing: tuple[str, ...]) -> None:
        self.name = name
        self.existing = existing
        known = ", ".join(existing) if existing else "there is none"
        super().__init__(f"cluster {name}: no such local cluster: existing ones: {known}")


class ClusterExistsError(LocalClusterError):
    """A cluster of that name exists already."""

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        self.detail = detail
        super().__init__(
            f"cluster {name}: exists already: {detail}"
            f"\n\nhint: `berth local down --name {name}` removes it"
        )
