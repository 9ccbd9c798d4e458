# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that writes down how each test ended, and which features it is about.

``-p tests.releases.record`` with ``BERTH_TEST_RECORD=FILE``; one JSON object a line, written as
tests end, so that a run that is cut off is not lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.releases import BASIC

VARIABLE = "BERTH_TEST_RECORD"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write one line at the end of a test: of its call, or of what kept it from being called."""
    report = yield
    # A test that passed can still fail while it is cleaned up; that is a line of its own.
    if report.when == "call" or report.outcome != "passed":
        features = [each for mark in item.iter_markers("needs") for each in mark.args]
        reason = ""
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
        line = {
            "test": item.nodeid,
            "outcome": report.outcome,
            "reason": reason,
            "features": features or [BASIC],
        }
        with Path(os.environ[VARIABLE]).open("a") as file:
            file.write(json.dumps(line) + "\n")
    return report
