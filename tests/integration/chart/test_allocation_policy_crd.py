# SPDX-License-Identifier: Apache-2.0
"""AllocationPolicies on a real API server: stored when good, refused with a remedy when bad."""

from __future__ import annotations

from typing import Any

import pytest

from berth.codec.policies import decode_allocation_policy, encode_policy_status
from berth.errors import DecodeError
from tests.support.kube import Kube, KubeError
from tests.support.kube_access import Json

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("gated_release"),
]

KEY_RULE = (
    "must be a label key, NAME or DOMAIN/NAME, with a NAME of at most 63 letters, digits, '-', '_' "
    "and '.', which starts and ends with a letter or digit"
)
VALUE_RULE = (
    "must be a label value: at most 63 letters, digits, '-', '_' and '.', which starts and ends "
    "with a letter or digit; or empty"
)
NAME_RULE = (
    "must be the name of a {}: lower-case letters, digits, '-' and '.', which starts and ends with "
    "a letter or digit"
)
NO_PATTERN = "patterns are not supported: leave {} out to cover every {}"
NO_CLASS_PATTERN = NO_PATTERN.format("deviceClasses", "class")
EXPRESSION_FIELD = "spec.namespaceSelector.matchExpressions[0]"
CLASSES_FIELD = "spec.deviceClasses"
VALUES_FIELD = f"{EXPRESSION_FIELD}.values"
VALUES_NEEDED = (
    "operators In and NotIn need at least one value: list it under values, or use Exists or "
    "DoesNotExist"
)
VALUES_REFUSED = (
    "operators Exists and DoesNotExist take no values: leave values out, or use In or NotIn"
)
OPERATORS = 'supported values: "In", "NotIn", "Exists", "DoesNotExist"'
PLACEMENTS = 'supported values: "FirstFit", "Pack", "Spread"'


def policy(spec: Any, name: str = "tested") -> Json:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "AllocationPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def expression(**fields: Any) -> Json:
    return {"namespaceSelector": {"matchExpressions": [fields]}}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="without restrictions"),
        pytest.param({"namespaceSelector": {}}, id="an empty selector"),
        pytest.param(
            {
                "namespaceSelector": {
                    "matchLabels": {"example.com/team": "ml", "Tier_1.x": ""},
                    "matchExpressions": [
                        {"key": "a", "operator": "In", "values": ["x", ""]},
                        {"key": "b", "operator": "DoesNotExist", "values": []},
                    ],
                },
                "deviceClasses": ["gpu.example.com"],
                "drivers": ["gpu.example.com", "nic.example.com"],
                "placement": "Spread",
            },
            id="every field",
        ),
        pytest.param(
            {"deviceClasses": [f"class-{number}" for number in range(64)]}, id="64 classes"
        ),
        pytest.param({"deviceClasses": [], "drivers": []}, id="empty lists"),
    ],
)
async def test_a_good_policy_is_stored_and_read_back(kube: Kube, spec: Json) -> None:
    made = await kube.create(policy(spec))
    try:
        assert made["spec"] == {"placement": "FirstFit", **spec}
        assert decode_allocation_policy(made).name == "tested"
    finally:
        await kube.delete("allocationpolicies", "tested")


@pytest.mark.parametrize(
    ("spec", "want_causes"),
    [
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"a/b/c": "v"}}},
            [f"spec.namespaceSelector.matchLabels: Invalid value: every key {KEY_RULE}"],
            id="a label key with two slashes",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"x" * 64: "v"}}},
            [f"spec.namespaceSelector.matchLabels: Invalid value: every key {KEY_RULE}"],
            id="a label key that is too long",
        ),
        pytest.param(
            {"namespaceSelector": {"matchLabels": {"team": "ml-"}}},
            [f"spec.namespaceSelector.matchLabels: Invalid value: every value {VALUE_RULE}"],
            id="a label value that ends wrongly",
        ),
        pytest.param(
            expression(key="team", operator="In"),
            [f"{VALUES_FIELD}: Invalid value: {VALUES_NEEDED}"],
            id="In without values",
        ),
        pytest.param(
            expression(key="team", operator="NotIn", values=[]),
            [f"{VALUES_FIELD}: Invalid value: {VALUES_NEEDED}"],
            id="NotIn with an empty list",
        ),
        pytest.param(
            expression(key="team", operator="Exists", values=["ml"]),
            [f"{VALUES_FIELD}: Invalid value: {VALUES_REFUSED}"],
            id="Exists with values",
        ),
        pytest.param(
            expression(key="a b", operator="Exists"),
            [f'spec.namespaceSelector.matchExpressions[0].key: Invalid value: "a b": {KEY_RULE}'],
            id="an expression's key with a space",
        ),
        pytest.param(
            expression(key="team", operator="In", values=["a b"]),
            [f'{VALUES_FIELD}[0]: Invalid value: "a b": {VALUE_RULE}'],
            id="an expression's value with a space",
        ),
        pytest.param(
            expression(key="team", operator="Gt", values=["1"]),
            [f'{EXPRESSION_FIELD}.operator: Unsupported value: "Gt": {OPERATORS}'],
            id="an unknown operator",
        ),
        pytest.param(
            expression(key="team", operator="In", values=["ml", "ml"]),
            [f'{VALUES_FIELD}[1]: Duplicate value: "ml"'],
            id="a value twice",
        ),
        pytest.param(
            {"deviceClasses": ["gpu", "*"]},
            [f'{CLASSES_FIELD}[1]: Invalid value: "*": {NO_CLASS_PATTERN}'],
            id="a star for classes",
        ),
        pytest.param(
            {"deviceClasses": ["GPU"]},
            [f'spec.deviceClasses[0]: Invalid value: "GPU": {NAME_RULE.format("DeviceClass")}'],
            id="a class in upper case",
        ),
        pytest.param(
            {"deviceClasses": ["gpu", "gpu"]},
            ['spec.deviceClasses[1]: Duplicate value: "gpu"'],
            id="a class twice",
        ),
        pytest.param(
            {"deviceClasses": [f"class-{number}" for number in range(65)]},
            ["spec.deviceClasses: Too many: 65: must have at most 64 items"],
            id="65 classes",
        ),
        pytest.param(
            {"drivers": ["*", "-x"]},
            [
                f'spec.drivers[0]: Invalid value: "*": {NO_PATTERN.format("drivers", "driver")}',
                f'spec.drivers[1]: Invalid value: "-x": {NAME_RULE.format("driver")}',
            ],
            id="a star and a wrong name for drivers",
        ),
        pytest.param(
            {"placement": "Random"},
            [f'spec.placement: Unsupported value: "Random": {PLACEMENTS}'],
            id="an unknown placement",
        ),
    ],
)
async def test_a_bad_policy_is_refused_with_its_field_and_a_remedy(
    kube: Kube, spec: Json, want_causes: list[str]
) -> None:
    with pytest.raises(KubeError) as caught:
        await kube.create(policy(spec))
    causes = [
        f"{cause['field']}: {cause['message']}"
        for cause in caught.value.body["details"]["causes"]
        # Kubernetes' own remark beside mistakes of the schema; it names no field.
        if cause["field"] != "<nil>"
    ]
    assert (caught.value.status, sorted(causes)) == (422, want_causes)
    # What the API server refuses, Berth would not use either.
    if "Duplicate" not in want_causes[0]:
        with pytest.raises(DecodeError):
            decode_allocation_policy(policy(spec))


async def test_a_policy_needs_a_spec(kube: Kube) -> None:
    manifest = policy({})
    del manifest["spec"]
    with pytest.raises(KubeError, match="spec: Required value"):
        await kube.create(manifest)


async def test_an_unknown_field_is_refused(kube: Kube) -> None:
    with pytest.raises(KubeError, match=r'strict decoding error: unknown field "spec.deviceClass"'):
        await kube.create(policy({"deviceClass": ["gpu"]}))


async def test_the_verdict_is_stored_by_the_service_account_and_shown_in_the_table(
    kube: Kube,
) -> None:
    made = await kube.create(policy({"deviceClasses": ["gpu", "nic"]}))
    account = kube.as_token(await kube.token("berth-system", "berth"))
    try:
        rejected = DecodeError(
            "allocationpolicy tested", "spec.namespaceSelector.matchLabels[x]", "is wrong"
        )
        for error in (None, rejected):
            status = encode_policy_status(made, error, "2026-11-24T17:00:00Z")
            body = {"metadata": {"uid": made["metadata"]["uid"]}, "status": status}
            made = await account.patch("allocationpolicies", "tested", body, subresource="status")
            assert made["status"] == status
            assert encode_policy_status(made, error, "2026-11-24T18:00:00Z") is None
        with pytest.raises(KubeError) as caught:
            await account.patch("allocationpolicies", "tested", {"spec": {"placement": "Pack"}})
        assert caught.value.status == 403
        assert await shown(kube) == {
            "Name": "tested",
            "Classes": '["gpu","nic"]',
            "Drivers": None,
            "Placement": "FirstFit",
            "Accepted": "False",
            "Reason": "InvalidSelector",
            "Namespaces": None,
        }
    finally:
        await account.close()
        await kube.delete("allocationpolicies", "tested")


async def shown(kube: Kube) -> Json:
    """Return what ``kubectl get -o wide`` shows of the policy, without its age."""
    url = f"{kube.access.server}/apis/berth.dev/v1alpha1/allocationpolicies/tested"
    accept = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    async with kube._session.get(url, headers=accept) as answer:
        table = await answer.json()
    names = [column["name"] for column in table["columnDefinitions"]]
    (row,) = table["rows"]
    return {name: cell for name, cell in zip(names, row["cells"], strict=True) if name != "Age"}
