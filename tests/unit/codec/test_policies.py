# SPDX-License-Identifier: Apache-2.0
"""An AllocationPolicy is read, or refused with the field that is wrong and what to change."""

from types import MappingProxyType
from typing import Any

import pytest

from berth.codec.policies import (
    REASON_INVALID_SELECTOR,
    REASON_INVALID_SPEC,
    decode_allocation_policy,
    encode_policy_status,
    rejection_message,
    rejection_reason,
)
from berth.errors import DecodeError
from berth.model.policy import (
    AllocationPolicy,
    LabelOperator,
    LabelRequirement,
    LabelSelector,
    Placement,
)

NOW = "2026-11-24T17:00:00Z"
EARLIER = "2026-11-24T16:00:00Z"


def policy(spec: object, **metadata: object) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "AllocationPolicy",
        "metadata": {"name": "p", "generation": 3, **metadata},
        "spec": spec,
    }


def expression(**fields: object) -> dict[str, Any]:
    return {"namespaceSelector": {"matchExpressions": [fields]}}


def labels(**fields: object) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": fields}}


def refused(spec: object) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode_allocation_policy(policy(spec))
    return caught.value


def test_a_policy_without_restrictions_covers_everything() -> None:
    assert decode_allocation_policy(policy({})) == AllocationPolicy("p", 3)


def test_empty_lists_do_not_restrict() -> None:
    spec: dict[str, Any] = {"deviceClasses": [], "drivers": [], "namespaceSelector": {}}
    want = AllocationPolicy("p", 3, namespace_selector=LabelSelector())
    assert decode_allocation_policy(policy(spec)) == want


def test_every_field_is_read() -> None:
    spec: dict[str, Any] = {
        "namespaceSelector": {
            "matchLabels": {"example.com/team": "ml", "empty": ""},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "tier", "operator": "NotIn", "values": ["c"]},
                {"key": "on", "operator": "Exists"},
                {"key": "off", "operator": "DoesNotExist", "values": []},
            ],
        },
        "deviceClasses": ["gpu.example.com", "nic"],
        "drivers": ["gpu.example.com"],
        "placement": "Pack",
    }
    assert decode_allocation_policy(policy(spec)) == AllocationPolicy(
        name="p",
        generation=3,
        namespace_selector=LabelSelector(
            MappingProxyType({"example.com/team": "ml", "empty": ""}),
            (
                LabelRequirement("tier", LabelOperator.IN, frozenset({"a", "b"})),
                LabelRequirement("tier", LabelOperator.NOT_IN, frozenset({"c"})),
                LabelRequirement("on", LabelOperator.EXISTS),
                LabelRequirement("off", LabelOperator.DOES_NOT_EXIST),
            ),
        ),
        device_classes=frozenset({"gpu.example.com", "nic"}),
        drivers=frozenset({"gpu.example.com"}),
        placement=Placement.PACK,
    )


@pytest.mark.parametrize(
    ("spec", "want_text"),
    [
        pytest.param(
            labels(**{"a/b/c": "v"}),
            "allocationpolicy p: spec.namespaceSelector.matchLabels[a/b/c]: `a/b/c` is not a label "
            "key: `a/b` before the slash must be a DNS name in lower case of at most 253 "
            "characters",
            id="two slashes",
        ),
        pytest.param(
            labels(**{"a{b}": "v"}),
            "allocationpolicy p: spec.namespaceSelector.matchLabels[a{b}]: `a{b}` is not a label "
            "key: use letters, digits, `-`, `_` and `.`, with a letter or digit first and "
            "last, and "
            "at most one slash",
            id="a key with braces",
        ),
        pytest.param(
            labels(**{"x" * 64: "v"}),
            f"allocationpolicy p: spec.namespaceSelector.matchLabels[{'x' * 64}]: `{'x' * 64}` is "
            f"not a label key: `{'x' * 64}` has 64 characters, at most 63 are allowed",
            id="a long key",
        ),
        pytest.param(
            labels(team="ml-"),
            "allocationpolicy p: spec.namespaceSelector.matchLabels[team]: `ml-` is not a label "
            "value: use letters, digits, `-`, `_` and `.`, with a letter or digit first and last",
            id="a value that ends wrongly",
        ),
        pytest.param(
            labels(team="x" * 64),
            f"allocationpolicy p: spec.namespaceSelector.matchLabels[team]: `{'x' * 64}` is not a "
            "label value: it has 64 characters, at most 63 are allowed",
            id="a long value",
        ),
        pytest.param(
            labels(team=3),
            "allocationpolicy p: spec.namespaceSelector.matchLabels[team]: must be a string",
            id="a value that is a number",
        ),
        pytest.param(
            expression(key="team", operator="In"),
            "allocationpolicy p: spec.namespaceSelector.matchExpressions[0]: operator In of label "
            "`team` needs at least one value: list it under `values`, or use Exists or "
            "DoesNotExist",
            id="In without values",
        ),
        pytest.param(
            expression(key="team", operator="Exists", values=["ml"]),
            "allocationpolicy p: spec.namespaceSelector.matchExpressions[0]: operator Exists of "
            "label `team` takes no values: leave `values` out, or use In or NotIn",
            id="Exists with values",
        ),
        pytest.param(
            expression(key="team", operator="Gt", values=["1"]),
            "allocationpolicy p: spec.namespaceSelector.matchExpressions[0].operator: `Gt` is "
            "not an "
            "operator: use In, NotIn, Exists or DoesNotExist",
            id="an unknown operator",
        ),
        pytest.param(
            expression(key="team", operator="In", values=["a b"]),
            "allocationpolicy p: spec.namespaceSelector.matchExpressions[0].values[0]: `a b` "
            "is not "
            "a label value: use letters, digits, `-`, `_` and `.`, with a letter or digit "
            "first and "
            "last",
            id="a wrong value in a list",
        ),
        pytest.param(
            expression(operator="Exists"),
            "allocationpolicy p: spec.namespaceSelector.matchExpressions[0].key: is missing",
            id="no key",
        ),
        pytest.param(
            {"namespaceSelector": ["team"]},
            "allocationpolicy p: spec.namespaceSelector: must be an object",
            id="a list instead of a selector",
        ),
    ],
)
def test_a_bad_selector_is_refused_with_its_field_and_a_remedy(
    spec: dict[str, Any], want_text: str
) -> None:
    error = refused(spec)
    assert str(error) == want_text
    assert rejection_reason(error) == REASON_INVALID_SELECTOR


@pytest.mark.parametrize(
    ("spec", "want_text"),
    [
        pytest.param(
            {"deviceClasses": ["gpu", "*"]},
            "allocationpolicy p: spec.deviceClasses[1]: patterns are not supported: leave the list "
            "out to cover every DeviceClass",
            id="a star",
        ),
        pytest.param(
            {"deviceClasses": ["GPU"]},
            "allocationpolicy p: spec.deviceClasses[0]: `GPU` is not the name of a "
            "DeviceClass: use "
            "lower-case letters, digits, `-` and `.`, with a letter or digit first and last, "
            "at most "
            "253 characters",
            id="a class in upper case",
        ),
        pytest.param(
            {"deviceClasses": "gpu"},
            "allocationpolicy p: spec.deviceClasses: must be a list",
            id="text instead of a list",
        ),
        pytest.param(
            {"drivers": ["x" * 64]},
            f"allocationpolicy p: spec.drivers[0]: `{'x' * 64}` is not the name of a driver: use "
            "lower-case letters, digits, `-` and `.`, with a letter or digit first and last, "
            "at most "
            "63 characters",
            id="a long driver",
        ),
        pytest.param(
            {"drivers": [f"d{number}" for number in range(65)]},
            "allocationpolicy p: spec.drivers: has 65 entries, at most 64 are allowed",
            id="too many drivers",
        ),
        pytest.param(
            {"placement": "Random"},
            "allocationpolicy p: spec.placement: `Random` is not a placement: use FirstFit, "
            "Pack or "
            "Spread",
            id="an unknown placement",
        ),
        pytest.param(
            {"deviceClass": ["gpu"]},
            "allocationpolicy p: spec.deviceClass: is not known to this version: it may be a "
            "restriction, so the policy cannot be used without it; correct the name or upgrade "
            "Berth",
            id="an unknown field",
        ),
        pytest.param([], "allocationpolicy p: spec: must be an object", id="a list as spec"),
    ],
)
def test_a_bad_spec_is_refused_with_its_field_and_a_remedy(spec: object, want_text: str) -> None:
    error = refused(spec)
    assert str(error) == want_text
    assert rejection_reason(error) == REASON_INVALID_SPEC


def test_a_policy_without_a_spec_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"^allocationpolicy p: spec: is missing$"):
        decode_allocation_policy({"metadata": {"name": "p"}})


def condition(**fields: object) -> dict[str, Any]:
    return {
        "type": "Accepted",
        "status": "True",
        "reason": "Valid",
        "message": "Berth allocates the claims that this policy covers",
        "observedGeneration": 3,
        "lastTransitionTime": EARLIER,
        **fields,
    }


def test_a_new_policy_gets_its_verdict() -> None:
    assert encode_policy_status(policy({}), None, NOW) == {
        "observedGeneration": 3,
        "conditions": [condition(lastTransitionTime=NOW)],
    }


def test_a_bad_selector_is_reported_with_its_exact_cause() -> None:
    spec = expression(key="team", operator="In")
    error = refused(spec)
    want_message = (
        "spec.namespaceSelector.matchExpressions[0]: operator In of label `team` needs at "
        "least one "
        "value: list it under `values`, or use Exists or DoesNotExist; the policy is not used "
        "until "
        "this is corrected"
    )
    assert rejection_message(error) == want_message
    assert encode_policy_status(policy(spec), error, NOW) == {
        "observedGeneration": 3,
        "conditions": [
            condition(
                status="False",
                reason="InvalidSelector",
                message=want_message,
                lastTransitionTime=NOW,
            )
        ],
    }


def test_a_verdict_that_is_there_is_not_written_again() -> None:
    seen = policy({}) | {"status": {"observedGeneration": 3, "conditions": [condition()]}}
    assert encode_policy_status(seen, None, NOW) is None


def test_a_verdict_that_stays_keeps_its_time_and_the_other_conditions() -> None:
    other = {"type": "Other", "status": "True"}
    seen = policy({}, generation=4) | {
        "status": {"observedGeneration": 3, "conditions": [condition(), other]}
    }
    assert encode_policy_status(seen, None, NOW) == {
        "observedGeneration": 4,
        "conditions": [other, condition(observedGeneration=4)],
    }


def test_a_verdict_that_turns_around_gets_the_new_time() -> None:
    seen = policy({}) | {"status": {"observedGeneration": 3, "conditions": [condition()]}}
    status = encode_policy_status(seen, refused({"placement": "Random"}), NOW)
    assert status is not None
    assert status["conditions"] == [
        condition(
            status="False",
            reason="InvalidSpec",
            message="spec.placement: `Random` is not a placement: use FirstFit, Pack or "
            "Spread; the "
            "policy is not used until this is corrected",
            lastTransitionTime=NOW,
        )
    ]
