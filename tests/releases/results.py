# SPDX-License-Identifier: Apache-2.0
"""From the ends of tests to the table of what works where. Pure: reads and writes no file.

A test counts once, by the worst of its ends. A feature works on a release if its tests ran and
none failed; it is absent if they were all skipped because the release lacks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.reference import table
from tests.support.releases import FEATURES, lack

Json = dict[str, Any]
WORST = ("failed", "skipped", "passed")
NOTE = "<!-- Made from releases.json, which `make test-releases` writes; do not edit. -->"


def summary(version: str, lines: Iterable[Json]) -> Json:
    """Return what one release's run amounts to."""
    ends: dict[str, Json] = {}
    for line in lines:
        before = ends.get(line["test"])
        if before is None or WORST.index(line["outcome"]) < WORST.index(before["outcome"]):
            ends[line["test"]] = line
    counts = Counter(line["outcome"] for line in ends.values())
    skips = Counter(line["reason"] for line in ends.values() if line["outcome"] == "skipped")
    features: dict[str, Counter[str]] = {name: Counter() for name in FEATURES}
    for line in ends.values():
        for name in line["features"]:
            features[name][line["outcome"]] += 1
    return {
        "version": version,
        **{outcome: counts[outcome] for outcome in ("passed", "failed", "skipped")},
        "skips": dict(sorted(skips.items())),
        "failures": sorted(name for name, line in ends.items() if line["outcome"] == "failed"),
        "features": {
            name: dict(sorted(found.items())) for name, found in features.items() if found
        },
    }


def report(release: str, found: Mapping[str, Any]) -> str:
    """Return a release's result as text for a terminal."""
    lines = [
        f"Kubernetes {release} ({found['version']}): {found['passed']} passed, "
        f"{found['failed']} failed, {found['skipped']} skipped"
    ]
    lines += [f"  skipped {count}: {reason}" for reason, count in found["skips"].items()]
    lines += [f"  failed: {name}" for name in found["failures"]]
    return "\n".join(lines)


def cell(feature: str, release: str, found: Mapping[str, Any]) -> str:
    """Return how a feature fares on a release, in a few words."""
    counts = found["features"].get(feature, {})
    if counts.get("failed"):
        return f"**{counts['failed']} of {sum(counts.values())} fail**"
    if counts.get("passed"):
        return f"yes ({counts['passed']})"
    return "not by default" if lack(feature, release) else "not tested"


def page(results: Mapping[str, Any]) -> str:
    """Return docs/reference/releases.md."""
    releases = results["releases"]
    head = ("feature", "what it is", *releases)
    rows = [
        (name, feature.what, *(cell(name, each, releases[each]) for each in releases))
        for name, feature in FEATURES.items()
    ]
    counts = [
        (
            name,
            found["version"],
            str(found["passed"]),
            str(found["failed"]),
            str(found["skipped"]),
            "; ".join(f"{count}: {reason}" for reason, count in found["skips"].items()) or "–",
        )
        for name, found in releases.items()
    ]
    return "\n".join(
        (
            "# Kubernetes releases",
            "",
            NOTE,
            "",
            "What works where, from the integration tests on a real control plane of each release,",
            "started as `berth local up --kubernetes RELEASE` does: no feature gate and no API is",
            "switched on that is not on by default. The number of tests is in parentheses.",
            f"Tests: {', '.join(f'`{each}`' for each in results['tests'])}.",
            "",
            *table(head, rows),
            "",
            "“Not by default” means that the API server drops or does not serve what the feature",
            "needs. Where a cluster has switched it on, Berth uses it.",
            "",
            "What Berth does without:",
            "",
            "- **No MutatingAdmissionPolicy** (before 1.36): the chart installs a webhook of the",
            "  operator's instead (`gate.by`, [decision 10](../adr/0010-webhook-with-the-charts-"
            "certificate.md)).",
            "  While no replica runs, new pods with claims are refused, where with the policy they",
            "  would wait.",
            "- **No DeviceTaintRules** (before 1.37): no mode `fenced`; taints of slices count",
            "  all the same. With 1.36 and `resource.k8s.io/v1beta2` switched on, rules are",
            "  read there.",
            "- **No `resource.k8s.io/v1`**: claims are read and written in v1beta2 or v1beta1,",
            "  whichever is the newest that is served.",
            "",
            "At its start the operator logs `feature is degraded` once for each of them, with what",
            "would bring the feature.",
            "",
            "## Results",
            "",
            *table(("release", "version", "passed", "failed", "skipped", "why skipped"), counts),
            "",
        )
    )
