# SPDX-License-Identifier: Apache-2.0
"""Questions about one pod or claim."""

from __future__ import annotations

import pytest
import yaml

from berth.model.claims import ClaimKey
from berth.model.pods import PodKey
from berth.scenario.documents import ScenarioText
from berth.scenario.load import Loaded
from berth.scenario.parse import parse_scenario
from berth.simulate.answer import Answer
from berth.simulate.ask import ask_claim, ask_pod
from berth.simulate.run import Wanted, open_scenario, simulate

CLUSTER = """
cluster:
  fleets:
  - {nodes: 2, devices: [{count: 2}]}
claims:
- {name: one, template: true, requests: [{name: g, exactly: {deviceClassName: gpu.example.com}}]}
- {name: pair, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 2}}]}
- {name: many, requests: [{name: g, exactly: {deviceClassName: gpu.example.com, count: 5}}]}
"""


def opened(text: str) -> tuple[Loaded, Wanted]:
    return open_scenario(parse_scenario(ScenarioText("s.yaml", yaml.safe_load(text))))


def ask(text: str, name: str) -> Answer:
    cluster = opened(CLUSTER + text)[0].cluster
    return ask_pod(cluster, cluster.pods[PodKey("default", name)])


def test_a_claim_that_is_not_generated_yet_is_taken_from_its_template() -> None:
    found = ask("pods: [{name: p, templates: [one]}]", "p")

    assert (found.fits, found.is_now, found.node) == (True, False, "node-0")
    assert [(str(each.claim), each.devices, each.is_now) for each in found.held] == [
        ("default/p-one", ("gpu.example.com/node-0/gpu-0",), False)
    ]
    assert found.notes == ("claim default/p-one is not generated yet: taken from its template",)


def test_all_claims_of_a_pod_are_asked_about_together() -> None:
    found = ask("pods: [{name: p, claims: [pair], templates: [one]}]", "p")

    assert not found.fits
    assert found.conflict is not None
    assert [str(each) for each in found.conflict.claims] == ["default/pair", "default/p-one"]


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "claims: [gone]",
            "pod default/p, claim reference gone: ResourceClaim default/gone does not exist",
        ),
        (
            "templates: [gone]",
            "pod default/p, claim reference gone: "
            "ResourceClaimTemplate default/gone does not exist",
        ),
    ],
)
def test_what_is_missing_is_named(reference: str, message: str) -> None:
    found = ask(f"pods: [{{name: p, {reference}}}]", "p")

    assert (found.fits, found.message, found.reason) == (False, message, message)


def test_a_pod_that_is_bound_is_where_it_is() -> None:
    found = ask("pods: [{name: p, nodeName: node-1}]", "p")

    assert (found.fits, found.is_now, found.node, found.held) == (True, True, "node-1", ())
    assert found.notes == ("the pod has no resource claims",)


def test_other_gates_are_told() -> None:
    found = ask("pods: [{name: p, claims: [pair], schedulingGates: [{name: queue}]}]", "p")

    assert found.fits
    assert found.notes == ("the pod is held by scheduling gates: queue",)


def test_a_claim_is_asked_about_with_the_pod_that_waits_for_it() -> None:
    cluster = opened(CLUSTER + "pods: [{name: p, claims: [pair, many]}]")[0].cluster

    found = ask_claim(cluster, cluster.claims[ClaimKey("default", "pair")])

    assert (found.kind, found.name, found.fits) == ("claim", "default/pair", False)
    assert found.notes == ("pod default/p waits for this claim: asked with all claims of the pod",)


def test_an_allocated_claim_says_what_it_holds() -> None:
    loaded, wanted = opened(CLUSTER + "pods: [{name: p, claims: [pair]}]")
    simulate(loaded.cluster, wanted)

    found = ask_claim(loaded.cluster, loaded.cluster.claims[ClaimKey("default", "pair")])

    assert (found.fits, found.is_now) == (True, True)
    assert found.held[0].devices == (
        "gpu.example.com/node-0/gpu-0",
        "gpu.example.com/node-0/gpu-1",
    )
    assert found.notes == ("reserved for pods/p",)


def test_hints_are_given_only_to_who_asks_fully() -> None:
    cluster = opened(CLUSTER + "pods: [{name: p, claims: [many]}]")[0].cluster
    pod = cluster.pods[PodKey("default", "p")]

    brief, full = ask_pod(cluster, pod), ask_pod(cluster, pod, fully=True)

    assert brief.conflict is not None
    assert full.conflict is not None
    assert brief.conflict.hints == ()
    assert full.conflict.hints != ()
    assert full.reason.startswith(f"{brief.reason}; hint: ")


def test_no_field_of_the_json_is_ever_left_out() -> None:
    keys = {
        "version",
        "kind",
        "name",
        "fits",
        "isNow",
        "undecided",
        "node",
        "claims",
        "message",
        "conflict",
        "notes",
    }

    assert set(Answer("pod", "a/b", fits=True).as_json()) == keys
    assert set(ask("pods: [{name: p, claims: [many]}]", "p").as_json()) == keys


@pytest.mark.parametrize(
    ("labels", "notes"),
    [
        (
            "{}",
            (
                "claim default/watched asks for admin access: the API server refuses it unless "
                "namespace default has label resource.kubernetes.io/admin-access=true",
            ),
        ),
        ('{resource.kubernetes.io/admin-access: "true"}', ()),
        (None, ()),
    ],
    ids=["without", "with", "unknown"],
)
def test_admin_access_needs_a_label_of_a_namespace_that_is_known(
    labels: str | None, notes: tuple[str, ...]
) -> None:
    namespace = (
        f"{{apiVersion: v1, kind: Namespace, metadata: {{name: default, labels: {labels}}}}}"
    )
    text = f"""
cluster:
  fleets: [{{devices: [{{count: 2}}]}}]
  objects: [{"" if labels is None else namespace}]
claims:
- name: watched
  requests:
  - name: gpus
    exactly: {{deviceClassName: gpu.example.com, allocationMode: All, adminAccess: true}}
pods:
- {{name: monitor, claims: [watched]}}
"""

    cluster = opened(text)[0].cluster

    answer = ask_pod(cluster, cluster.pods[PodKey("default", "monitor")])

    assert (answer.fits, answer.notes) == (True, notes)
