# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from berth.controller.bodies import generated_base, unreserve_patch
from berth.model.claims import ConsumerReference, ResourceClaim


@pytest.mark.parametrize(
    ("pod", "reference", "want"),
    [
        ("web", "gpu", "web-gpu-"),
        ("p" * 51, "gpu", "p" * 51 + "-gpu-"),
        ("p" * 50, "verylongclaimnamethatiscut1", "p" * 36 + "-verylongclaimnameth"),
    ],
    ids=["short", "exactly 56 characters", "cut in proportion"],
)
def test_generated_base(pod: str, reference: str, want: str) -> None:
    assert generated_base(pod, reference) == want


def claim(*consumers: ConsumerReference) -> ResourceClaim:
    return ResourceClaim("ns", "c", uid="u", resource_version="7", reserved_for=consumers)


def test_the_last_consumer_takes_the_allocation_with_it() -> None:
    body = unreserve_patch(claim(ConsumerReference("pods", "a", "1")), frozenset({"1"}))
    assert body == {
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "status": {"reservedFor": None, "allocation": None},
    }


def test_other_consumers_keep_the_allocation() -> None:
    other = ConsumerReference("podgroups", "g", "2", api_group="scheduling.k8s.io")
    body = unreserve_patch(claim(ConsumerReference("pods", "a", "1"), other), frozenset({"1"}))
    assert body["status"] == {
        "reservedFor": [
            {"resource": "podgroups", "name": "g", "uid": "2", "apiGroup": "scheduling.k8s.io"}
        ]
    }
