# SPDX-License-Identifier: Apache-2.0
"""The page of docs/reference about Berth's rights, from what their removal was seen to cost."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.rights import Right

WHY: Mapping[str, str] = {
    "get pods": "read what became of a patch after a conflict or a lost answer",
    "patch pods": "remove the gate and pin the node, in one patch",
    "get resourceclaims.resource.k8s.io": "read what became of a patch, as for pods",
    "patch resourceclaims.resource.k8s.io": "add the finalizer that protects an allocated claim",
    "patch resourceclaims/status.resource.k8s.io": "write the allocation and whom it is for",
    "patch resourceclaims/binding.resource.k8s.io": "the same; Kubernetes 1.36 asks for this too",
    "patch allocationpolicies/status.berth.dev": "say whether a policy is accepted",
    "create events.events.k8s.io": "say what became of a pod",
    "patch events.events.k8s.io": "count up what goes on, instead of one more event",
    "create resourceclaims.resource.k8s.io": "make claims from templates",
    "delete resourceclaims.resource.k8s.io": "remove the generated claims of finished pods",
    "patch pods/status": "record the names of generated claims",
    "get leases.coordination.k8s.io": "see who leads",
    "update leases.coordination.k8s.io": "lead, and go on leading",
}
"""Right → what it is for; lists and watches are for the same everywhere."""
HEAD = """# Rights

Written by `make test-rbac`. It runs Berth with each right of each role taken away, one at a time,
and this is what failed. `make test` does so with some of them. From the API server's audit log both
also show that Berth asks for nothing else, is refused nothing, writes nothing in mode `observe`,
and reads no Secrets.

| right | modes | what for | without it |
|---|---|---|---|
"""
TAIL = """
The Lease is that of the release: its rights are in a Role of the release's namespace, and for that
name alone. All others are in a ClusterRole, because pods and claims of every namespace may be
Berth's. `resourceclaims/binding` is no object: the API server asks for that right beside the one on
the status, at the level of the cluster, so that a RoleBinding would not do.
"""


def why(right: Right) -> str:
    if right.verb == "list":
        return "know all of them: at the start, before leading, after a lost watch"
    if right.verb == "watch":
        return "see changes when they happen"
    return WHY[str(right)]


def page(costs: Mapping[str, Mapping[Right, str]]) -> str:
    """Return the page; ``costs`` is mode → right → what fails without it."""
    rows: dict[tuple[Right, str], list[str]] = {}
    for mode, of_mode in costs.items():
        for right, cost in of_mode.items():
            rows.setdefault((right, cost), []).append(mode)
    modes = list(costs)
    lines = []
    for (right, cost), which in rows.items():
        shown = "all" if which == modes else ", ".join(f"`{each}`" for each in which)
        lines.append(f"| `{right}` | {shown} | {why(right)} | {cost} |\n")
    return HEAD + "".join(lines) + TAIL


def listed(text: str) -> set[str]:
    """Return the rights that a page lists."""
    return {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
