# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from berth.controller.writer import same_decision
from berth.model.pods import SCHEDULING_GATE, Pod, PodClaimReference

DECIDED = Pod(
    "ml",
    "train",
    uid="u",
    resource_version="5",
    gates=(SCHEDULING_GATE,),
    claims=(PodClaimReference("gpu", template_name="t"),),
    claim_names={"gpu": "train-gpu-abcde"},
)


@pytest.mark.parametrize(
    ("fresh", "want"),
    [
        (replace(DECIDED, resource_version="9"), True),
        (replace(DECIDED, resource_version="9", claim_names={}), True),
        (replace(DECIDED, unschedulable_message="0/3 nodes"), True),
        (replace(DECIDED, claim_names={"gpu": "train-gpu-other"}), False),
        (replace(DECIDED, node_selector={"zone": "b"}), False),
        (replace(DECIDED, deleting=True), False),
        (replace(DECIDED, uid="another"), False),
    ],
    ids=[
        "only the version",
        "the claim's name is not recorded yet",
        "a message of kube-scheduler",
        "another claim was recorded",
        "a node selector was added",
        "it is being deleted",
        "another pod of the name",
    ],
)
def test_what_changes_a_decision(fresh: Pod, *, want: bool) -> None:
    assert same_decision(DECIDED, fresh) is want
