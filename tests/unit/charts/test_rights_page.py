# SPDX-License-Identifier: Apache-2.0
"""The page of rights lists what the chart grants, without running anything."""

from __future__ import annotations

import pytest

from tests.support.helm import ROOT
from tests.support.rights import MODES, manifests_of, rights_of
from tests.support.rights_page import listed

pytestmark = pytest.mark.timeout(600)


def test_the_page_of_rights_lists_those_that_the_chart_grants() -> None:
    granted = {str(right) for each in MODES.values() for right in rights_of(manifests_of(each))}
    page = (ROOT / "docs" / "reference" / "rbac.md").read_text(encoding="utf-8")
    assert listed(page) == granted, "`BERTH_GOLDEN=write make test-rbac` writes it anew"
