# SPDX-License-Identifier: Apache-2.0
"""Per-pod claims made by Berth: with kube-controller-manager's own controller off, and on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.events import wait_for_event
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import device_request, devices_of, is_running, pod, template
from tests.support.operators import OperatorProcess

pytestmark = pytest.mark.needs("generated claims")

ANNOTATION = "resource.kubernetes.io/pod-claim-name"
GENERATE = {"BERTH_GENERATE_CLAIMS": "true"}


def statuses(pod: Json) -> dict[str, str]:
    entries = pod.get("status", {}).get("resourceClaimStatuses") or ()
    return {entry["name"]: entry["resourceClaimName"] for entry in entries}


async def check_names_owner_and_status(kube: Kube, namespace: str) -> None:
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "x", ANNOTATION: "overwritten"}}
    await kube.create(template("one", device_request(), metadata=metadata), namespace)
    await kube.create(template("two", device_request(count=2)), namespace)
    await kube.create(pod("worker", templates=("one", "two")), namespace)
    running = await kube.wait_for("pods", "worker", is_running, namespace)
    claims = {
        each["metadata"]["annotations"][ANNOTATION]: each
        for each in await kube.list("resourceclaims", namespace)
    }
    first = claims["t0"]["metadata"]
    assert statuses(running) == {name: each["metadata"]["name"] for name, each in claims.items()}
    assert len(claims) == 2
    assert first["generateName"] == "worker-t0-"
    assert first["name"].startswith("worker-t0-")
    assert first["labels"] == {"team": "a"}
    assert first["annotations"] == {"note": "x", ANNOTATION: "t0"}
    assert first["ownerReferences"] == [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": "worker",
            "uid": running["metadata"]["uid"],
            "controller": True,
        }
    ]
    assert [len(devices_of(claims[name])) for name in ("t0", "t1")] == [1, 2]


async def check_finished_pods_give_back(kube: Kube, namespace: str) -> None:
    await kube.create(template("eight", device_request(count=8)), namespace)
    node = min(each["metadata"]["name"] for each in await kube.list("nodes"))
    here = {"kubernetes.io/hostname": node}
    for name in ("done", "killed", "last"):
        await kube.create(pod(name, templates=("eight",), nodeSelector=here), namespace)
        await kube.wait_for("pods", name, is_running, namespace)
        if name == "done":
            await kube.patch(
                "pods", name, {"status": {"phase": "Succeeded"}}, namespace, subresource="status"
            )
        elif name == "killed":
            await kube.delete("pods", name, namespace)
        else:
            continue
        await kube.wait_all(
            "resourceclaims", lambda items: not items, namespace, what="the claim is deleted"
        )


async def check_long_names(kube: Kube, namespace: str) -> None:
    await kube.create(template("t", device_request()), namespace)
    body = pod("p" * 50, templates=("t",))
    body["spec"]["resourceClaims"][0]["name"] = "verylongclaimnamethatiscut1"
    body["spec"]["containers"][0]["resources"]["claims"][0]["name"] = "verylongclaimnamethatiscut1"
    await kube.create(body, namespace)
    await kube.wait_for("pods", "p" * 50, is_running, namespace)
    (made,) = await kube.list("resourceclaims", namespace)
    # 50 + 27 characters and two hyphens are 79: each part is cut to its share of 57.
    assert made["metadata"]["generateName"] == f"{'p' * 36}-verylongclaimnameth"


async def test_without_kube_controller_managers_controller(
    kube_without_generator: Kube, generating_operator: OperatorProcess, alone: str
) -> None:
    await check_names_owner_and_status(kube_without_generator, alone)


async def test_a_template_that_appears_after_the_pod_makes_its_claim(
    kube_without_generator: Kube, generating_operator: OperatorProcess, alone: str
) -> None:
    kube = kube_without_generator
    await kube.create(pod("early", templates=("late",)), alone)
    event = await wait_for_event(kube, alone, "early", "FailedResourceClaimCreation")
    assert event["note"] == (
        f"pod {alone}/early, claim reference t0: ResourceClaimTemplate {alone}/late does not exist"
    )
    await kube.create(template("late", device_request()), alone)
    await kube.wait_for("pods", "early", is_running, alone)


async def test_finished_pods_give_back_without_it(
    kube_without_generator: Kube, generating_operator: OperatorProcess, alone: str
) -> None:
    await check_finished_pods_give_back(kube_without_generator, alone)


async def test_long_names_are_cut_as_upstream_cuts_them(
    kube_without_generator: Kube, generating_operator: OperatorProcess, alone: str
) -> None:
    await check_long_names(kube_without_generator, alone)


async def test_beside_kube_controller_managers_controller_no_claim_is_doubled(
    kube: Kube, gated: str, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    operator = OperatorProcess.start(
        operator_kubeconfig, tmp_path / "operator.log", settings=GENERATE
    )
    try:
        await kube.create(template("one", device_request()), gated)
        await kube.create_all([pod(f"p{i}", templates=("one",)) for i in range(20)], gated)
        pods = await kube.wait_all(
            "pods",
            lambda items: len(items) == 20 and all(is_running(each) for each in items),
            gated,
            within=60,
        )

        def none_doubled(items: object) -> bool:
            return len(items) == len(pods)  # type: ignore[arg-type]  # a list of claims

        claims = await kube.wait_all("resourceclaims", none_doubled, gated, what="20 claims")
        names = {each["metadata"]["name"] for each in claims}
        assert {name for each in pods for name in statuses(each).values()} == names
        assert len({device for each in claims for device in devices_of(each)}) == 20
    finally:
        assert operator.stop() == 0


async def test_finished_pods_give_back_beside_it(
    kube: Kube, gated: str, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    operator = OperatorProcess.start(
        operator_kubeconfig, tmp_path / "operator.log", settings=GENERATE
    )
    try:
        await check_finished_pods_give_back(kube, gated)
    finally:
        assert operator.stop() == 0
