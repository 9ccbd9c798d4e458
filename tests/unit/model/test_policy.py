# SPDX-License-Identifier: Apache-2.0
"""Label selectors select as Kubernetes does; a claim is ours when one policy covers all of it."""

import pytest

from berth.model.policy import (
    AllocationPolicy,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    Placement,
    claims_policy,
    needs_class_drivers,
)

ML = {"team": "ml", "berth.dev/allocate": "enabled"}


def requirement(key: str, operator: LabelOperator, *values: str) -> LabelSelector:
    return LabelSelector(match_expressions=(LabelRequirement(key, operator, frozenset(values)),))


@pytest.mark.parametrize(
    ("selector", "labels", "want_match"),
    [
        pytest.param(LabelSelector(), {}, True, id="an empty selector matches no labels"),
        pytest.param(LabelSelector(), ML, True, id="an empty selector matches any labels"),
        pytest.param(LabelSelector({"team": "ml"}), ML, True, id="an equal label matches"),
        pytest.param(LabelSelector({"team": "web"}), ML, False, id="another value does not match"),
        pytest.param(LabelSelector({"tier": "ml"}), ML, False, id="an absent label does not match"),
        pytest.param(LabelSelector({"tier": ""}), ML, False, id="absent is not empty"),
        pytest.param(LabelSelector({"tier": ""}), {"tier": ""}, True, id="empty equals empty"),
        pytest.param(
            LabelSelector({"team": "ml", "tier": "x"}), ML, False, id="all labels must match"
        ),
        pytest.param(requirement("team", LabelOperator.IN, "ml", "web"), ML, True, id="In holds"),
        pytest.param(requirement("team", LabelOperator.IN, "web"), ML, False, id="In fails"),
        pytest.param(requirement("x", LabelOperator.IN, ""), ML, False, id="In needs the label"),
        pytest.param(requirement("team", LabelOperator.NOT_IN, "ml"), ML, False, id="NotIn fails"),
        pytest.param(requirement("team", LabelOperator.NOT_IN, "web"), ML, True, id="NotIn holds"),
        pytest.param(
            requirement("x", LabelOperator.NOT_IN, "web"), ML, True, id="NotIn holds when absent"
        ),
        pytest.param(requirement("team", LabelOperator.EXISTS), ML, True, id="Exists holds"),
        pytest.param(requirement("x", LabelOperator.EXISTS), ML, False, id="Exists fails"),
        pytest.param(
            requirement("x", LabelOperator.EXISTS), {"x": ""}, True, id="an empty label exists"
        ),
        pytest.param(
            requirement("x", LabelOperator.DOES_NOT_EXIST), ML, True, id="DoesNotExist holds"
        ),
        pytest.param(
            requirement("team", LabelOperator.DOES_NOT_EXIST), ML, False, id="DoesNotExist fails"
        ),
        pytest.param(
            LabelSelector(
                {"team": "ml"},
                (
                    LabelRequirement("team", LabelOperator.EXISTS),
                    LabelRequirement("team", LabelOperator.NOT_IN, frozenset({"ml"})),
                ),
            ),
            ML,
            False,
            id="labels and all expressions must hold",
        ),
    ],
)
def test_a_label_selector_selects_as_kubernetes_does(
    selector: LabelSelector, labels: dict[str, str], *, want_match: bool
) -> None:
    assert selector.matches(labels) is want_match


EVERYTHING = AllocationPolicy("everything")
ML_ONLY = AllocationPolicy("ml", namespace_selector=LabelSelector({"team": "ml"}))
GPU = AllocationPolicy("gpu", device_classes=frozenset({"gpu"}))
NIC = AllocationPolicy("nic", device_classes=frozenset({"nic"}))
ACME = AllocationPolicy("acme", drivers=frozenset({"gpu.acme"}))
BOTH = AllocationPolicy(
    "both", device_classes=frozenset({"gpu", "nic"}), drivers=frozenset({"gpu.acme"})
)
DRIVERS = {"gpu": {"gpu.acme"}, "mixed": {"gpu.acme", "gpu.other"}, "nic": {"nic.other"}}


@pytest.mark.parametrize(
    ("policies", "labels", "classes", "want_policy"),
    [
        pytest.param([], ML, ["gpu"], None, id="without a policy nothing is ours"),
        pytest.param([EVERYTHING], {}, ["gpu"], "everything", id="no restriction covers all"),
        pytest.param([ML_ONLY], ML, ["gpu"], "ml", id="a selected namespace"),
        pytest.param([ML_ONLY], {"team": "web"}, ["gpu"], None, id="another namespace"),
        pytest.param([GPU], ML, ["gpu", "gpu"], "gpu", id="every class is listed"),
        pytest.param([GPU], ML, ["gpu", "nic"], None, id="one class is not listed"),
        pytest.param([GPU, NIC], ML, ["gpu", "nic"], None, id="two halves do not make a whole"),
        pytest.param([GPU], ML, [], "gpu", id="a claim that asks for nothing"),
        pytest.param([ACME], ML, ["gpu"], "acme", id="all devices are of the driver"),
        pytest.param([ACME], ML, ["mixed"], None, id="some devices are of another driver"),
        pytest.param([ACME], ML, ["nic"], None, id="all devices are of another driver"),
        pytest.param([ACME], ML, ["unpublished"], "acme", id="no device is published yet"),
        pytest.param([BOTH], ML, ["gpu"], "both", id="class and driver hold"),
        pytest.param([BOTH], ML, ["nic"], None, id="class holds, driver does not"),
        pytest.param([BOTH], ML, ["mixed"], None, id="neither class nor driver holds"),
        pytest.param([ML_ONLY, GPU, ACME], ML, ["gpu"], "acme", id="the first by name counts"),
        pytest.param(
            [ML_ONLY, GPU, EVERYTHING], {"team": "web"}, ["nic"], "everything", id="the one left"
        ),
    ],
)
def test_a_claim_is_ours_when_one_policy_covers_all_of_it(
    policies: list[AllocationPolicy],
    labels: dict[str, str],
    classes: list[str],
    want_policy: str | None,
) -> None:
    found = claims_policy(policies, labels, classes, DRIVERS)
    assert (found and found.name) == want_policy
    # The order in which policies were observed plays no role.
    assert claims_policy(reversed(policies), labels, classes, DRIVERS) == found


def test_drivers_of_classes_are_needed_only_where_a_policy_names_drivers() -> None:
    assert not needs_class_drivers([EVERYTHING, GPU])
    assert needs_class_drivers([EVERYTHING, ACME])


def test_the_placement_that_counts_is_that_of_the_policy_which_covers_the_claim() -> None:
    pack = AllocationPolicy("a-pack", namespace_selector=LabelSelector({"team": "ml"}))
    spread = AllocationPolicy("b-spread", placement=Placement.SPREAD)
    assert claims_policy([spread, pack], {"team": "web"}, ["gpu"], {}) == spread
    assert claims_policy([spread, pack], {"team": "ml"}, ["gpu"], {}) == pack
