# SPDX-License-Identifier: Apache-2.0
"""Which feature a test needs, and from which release on a cluster has it by default.

``@pytest.mark.needs("taint rules")`` names a key of ``FEATURES``; where the release under test
(``BERTH_KUBERNETES``) lacks it, the test is skipped, with that reason. The features are the rows
of docs/reference/releases.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.localcluster.spec import default_release

RELEASES = ("1.34", "1.35", "1.36", "1.37")
BASIC = "claims of pods"
"""The feature of tests that name none."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the table: what it is, and the first release that has it by default."""

    what: str
    since: str = RELEASES[0]


FEATURES = {
    BASIC: Feature("Claims are allocated, pods let go, pinned and explained"),
    "generated claims": Feature("Claims from templates, made by Berth or by Kubernetes"),
    "gate by policy": Feature("The gate as a MutatingAdmissionPolicy", "1.36"),
    "gate by webhook": Feature("The gate as a webhook of the operator's"),
    "older API versions": Feature("`resource.k8s.io` served as v1beta2 or v1beta1 only"),
    "prioritized list": Feature("`firstAvailable`"),
    "admin access": Feature("`adminAccess` in namespaces that may have it"),
    "device taints": Feature("Taints in ResourceSlices", "1.36"),
    "taint rules": Feature("DeviceTaintRules, and with them mode `fenced`", "1.37"),
    "partitionable devices": Feature("Shared counters", "1.36"),
    "consumable capacity": Feature("Devices that are shared by capacity", "1.36"),
    "binding conditions": Feature("Devices that are ready only later", "1.36"),
    "extended resources": Feature("Extended resources that a DeviceClass stands for", "1.36"),
}


def at_least(release: str, since: str) -> bool:
    """Tell whether ``release`` is ``since`` or newer."""
    return [int(part) for part in release.split(".")] >= [int(part) for part in since.split(".")]


def keeps_timestamps() -> bool:
    """Tell whether the API server of the release under test stores ``allocationTimestamp``."""
    return at_least(default_release(), "1.35")


def lack(feature: str, release: str) -> str:
    """Return why a test of ``feature`` cannot run on ``release``; empty where it can."""
    known = FEATURES[feature]
    if at_least(release, known.since):
        return ""
    return f"{feature}: on by default since Kubernetes {known.since}"
