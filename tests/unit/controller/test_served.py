# SPDX-License-Identifier: Apache-2.0
"""What a cluster serves, from its discovery documents as releases give them."""

from __future__ import annotations

import pytest

from berth.controller.api import ApiClient
from berth.controller.apierrors import ApiError, NotServedError
from berth.controller.served import Served, discover
from tests.support.fault_server import FaultServer, failure, json

CORE = ("deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices")
RULES = ("devicetaintrules",)
POLICIES = ("mutatingadmissionpolicies", "validatingadmissionpolicies")
ADMISSION = "/apis/admissionregistration.k8s.io/v1"


RELEASE = {"major": "1", "minor": "37"}


def serve(server: FaultServer, release: dict[str, str] = RELEASE, **kinds: tuple[str, ...]) -> None:
    """Let the server serve kinds of the group, by version; ``admission`` are those beside it."""
    admission = kinds.pop("admission", ())
    server.answer("GET", ADMISSION, json({"resources": [{"name": each} for each in admission]}))
    server.answer("GET", "/version", json(release))
    if not kinds:
        return
    server.answer(
        "GET", "/apis/resource.k8s.io", json({"versions": [{"version": each} for each in kinds]})
    )
    for version, plurals in kinds.items():
        found = {"resources": [{"name": each} for each in plurals]}
        server.answer("GET", f"/apis/resource.k8s.io/{version}", json(found))


@pytest.mark.parametrize(
    ("kinds", "want"),
    [
        pytest.param({"v1": CORE + RULES, "admission": POLICIES}, Served(), id="1.37"),
        pytest.param(
            {"v1": CORE, "admission": POLICIES}, Served("v1", None, policies=True), id="1.36"
        ),
        pytest.param(
            {"v1beta2": CORE + RULES, "v1": CORE, "admission": POLICIES},
            Served("v1", "v1beta2", policies=True),
            id="1.36 with rules switched on",
        ),
        pytest.param(
            {"v1": CORE, "v1alpha3": RULES, "admission": POLICIES[1:]},
            Served("v1", "v1alpha3", policies=False),
            id="1.35 with rules switched on",
        ),
        pytest.param(
            {"v1beta1": CORE, "v1beta2": CORE},
            Served("v1beta2", None, policies=False),
            id="v1 switched off: the newer beta",
        ),
        pytest.param(
            {"v1beta1": CORE}, Served("v1beta1", None, policies=False), id="v1beta1 alone"
        ),
        pytest.param(
            {"v1": RULES, "v1beta1": CORE},
            Served("v1beta1", "v1", policies=False),
            id="a version without claims does not count",
        ),
    ],
)
async def test_the_newest_version_that_has_everything_is_taken(
    server: FaultServer, api: ApiClient, kinds: dict[str, tuple[str, ...]], want: Served
) -> None:
    serve(server, RELEASE, **kinds)
    assert await discover(api) == want


async def test_a_cluster_without_devices_is_refused_with_a_remedy(
    server: FaultServer, api: ApiClient
) -> None:
    serve(server, v1alpha3=RULES)
    with pytest.raises(NotServedError, match=r"Kubernetes 1\.34 or newer is needed"):
        await discover(api)


async def test_a_refusal_to_tell_is_not_taken_for_an_absence(
    server: FaultServer, api: ApiClient
) -> None:
    server.answer("GET", "/apis/resource.k8s.io", failure(403))
    with pytest.raises(ApiError):
        await discover(api)


@pytest.mark.parametrize(
    ("version", "release", "binds"),
    [
        (RELEASE, (1, 37), True),
        ({"major": "1", "minor": "36+"}, (1, 36), True),
        ({"major": "1", "minor": "34"}, (1, 34), False),
        ({"gitVersion": "own"}, (1, 37), True),
    ],
)
async def test_binding_conditions_are_honoured_from_1_36_on(
    server: FaultServer,
    api: ApiClient,
    version: dict[str, str],
    release: tuple[int, int],
    binds: bool,  # noqa: FBT001 - of a table
) -> None:
    serve(server, version, v1=CORE)
    served = await discover(api)
    assert (served.release, served.features.device_binding_and_status) == (release, binds)


def test_what_is_missing_is_said_with_what_would_bring_it() -> None:
    assert Served().degraded() == ()
    said = Served("v1beta1", None, policies=False, release=(1, 34)).degraded()
    assert [text.split(":")[0] for text in said] == [
        "resource.k8s.io/v1 is not served",
        "DeviceTaintRules are not served",
        "binding conditions are off before Kubernetes 1.36",
        "MutatingAdmissionPolicies are not served in v1",
    ]
    assert "v1beta1 is read and written" in said[0]
    assert "--runtime-config=resource.k8s.io/v1beta2=true (1.36)" in said[1]
    assert "webhook" in said[3]


def test_paths_are_those_of_the_versions() -> None:
    served = Served("v1beta2", "v1alpha3")
    assert served.path_of("resourceslices") == "/apis/resource.k8s.io/v1beta2/resourceslices"
    assert served.path_of("devicetaintrules") == "/apis/resource.k8s.io/v1alpha3/devicetaintrules"
    assert Served(taint_rules=None).path_of("devicetaintrules") is None
