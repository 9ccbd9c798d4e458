# SPDX-License-Identifier: Apache-2.0
"""The lanes: which folder is which, in which order they run, and how deep Hypothesis digs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

ROOT = Path(__file__).parent
LANES = ("architecture", "unit", "scenarios", "property", "fuzz", "conformance", "integration")
MARKED_LANES = ("property", "fuzz", "conformance", "integration")

# `quick` is for every run: the same examples each time, so that a red run is red for everybody.
settings.register_profile(
    "quick",
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", parent=settings.get_profile("quick"), max_examples=2000)
# A mutant is killed by the first example that fails; the smallest one is of no use.
settings.register_profile(
    "mutation", parent=settings.get_profile("quick"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Else asyncio makes a loop on first demand, which nobody owns, and its missing close ends a green
# run with an error.
asyncio.set_event_loop(None)


def lane_of(item: pytest.Item) -> str:
    """Return the folder below ``tests/`` that ``item`` lives in."""
    return item.path.relative_to(ROOT).parts[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its lane, and run the quick lanes first."""
    for item in items:
        lane = lane_of(item)
        if lane not in LANES:
            raise pytest.UsageError(
                f"{item.path}: tests live in one of the lanes {', '.join(LANES)}, not in `{lane}`"
            )
        if lane in MARKED_LANES:
            item.add_marker(lane)
    items.sort(key=lambda item: LANES.index(lane_of(item)))
