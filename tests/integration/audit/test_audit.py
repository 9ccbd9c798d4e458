# SPDX-License-Identifier: Apache-2.0
"""One cluster with things that are wrong, made by hand: what is found, said, and repaired."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import LocalCluster
from tests.integration.audit.conftest import FINALIZER, Maker
from tests.support.kube import Kube
from tests.support.manifests import devices_of, gates_of, pod
from tests.support.operators import OperatorProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
GOLDEN = Path(__file__).parents[2] / "golden" / "audit" / "live.txt"
GATE = [{"name": "berth.dev/dra"}]
UID = re.compile(r"uid [0-9a-f-]{36}")


async def audit(cluster: LocalCluster, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and messages of ``berth audit``."""
    command = (sys.executable, "-m", "berth", "audit", *arguments)
    done = await asyncio.to_thread(
        subprocess.run,
        (*command, "--kubeconfig", str(cluster.kubeconfig)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
async def policy(kube: Kube, maker: Maker) -> AsyncIterator[None]:
    """What is in the namespace with the claims is Berth's."""
    selector = {"matchLabels": {"kubernetes.io/metadata.name": f"{maker.namespace}-covered"}}
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"{maker.namespace}-covered"},
        }
    )
    await kube.create(
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "AllocationPolicy",
            "metadata": {"name": "covered"},
            "spec": {"namespaceSelector": selector},
        }
    )
    yield
    await kube.delete("allocationpolicies", "covered")
    await kube.delete("namespaces", f"{maker.namespace}-covered")


async def make_everything_wrong(maker: Maker) -> None:
    """One object for each kind of finding that a client of the API server can bring about."""
    uid = await maker.pod(pod("p", nodeName="node-0"))
    p = {"p": uid}
    await maker.claim("a-first", "gpu-0", pods=p)
    await maker.claim("a-second", "gpu-0", pods=p)
    await maker.claim("b-unprotected", "gpu-1", pods=p, protected=False)
    await maker.claim(
        "c-ghost", "gpu-2", pods={**p, "ghost": "00000000-0000-4000-8000-000000000000"}
    )
    await maker.claim("d-trapped", "gpu-3", at=None)
    await maker.claim("e-unpublished", "gpu-99", pods=p)
    await maker.claim("f-elsewhere", "gpu-0", node="node-99", pods=p)
    await maker.claim("g-unused", "gpu-4", at="2026-01-01T00:00:00Z")
    await maker.claim("h-for-gated", "gpu-5")
    gated = await maker.pod(pod("gated", claims=("h-for-gated",), schedulingGates=GATE))
    await maker.kube.patch(
        "resourceclaims",
        "h-for-gated",
        {"status": {"reservedFor": [{"resource": "pods", "name": "gated", "uid": gated}]}},
        maker.namespace,
        subresource="status",
    )
    await maker.claim("i-idle")
    await maker.pod(pod("uncovered", claims=("i-idle",), schedulingGates=GATE))
    covered = Maker(maker.kube, f"{maker.namespace}-covered")
    uid = await covered.pod(pod("p", nodeName="node-0"))
    await covered.claim("ours", "gpu-6", pods={"p": uid})
    await covered.claim("ours-idle")
    await covered.pod(pod("waiting", claims=("ours-idle",), schedulingGates=GATE))


def told(text: str, namespace: str) -> str:
    """Return output without what differs from run to run."""
    text = UID.sub("uid U", text).replace(namespace, "NS")
    text = re.sub(r"for \d+ days", "for N days", text)
    return re.sub(r"manager `[^`]+`", "manager `MANAGER`", text)


@pytest.mark.needs("binding conditions")
async def test_everything_is_found_and_exactly_the_safe_repairs_are_made(
    unrepaired: LocalCluster, kube: Kube, maker: Maker, policy: None
) -> None:
    assert await audit(unrepaired) == (0, "nothing is wrong: 0 of 0 claims are allocated\n", "")
    await make_everything_wrong(maker)
    before = {
        each["metadata"]["name"]: each
        for each in await kube.list("resourceclaims", maker.namespace)
    }

    code, text, messages = await audit(unrepaired)
    assert (code, messages) == (1, "")
    shown = told(text, maker.namespace)
    if os.environ.get("BERTH_GOLDEN") == "write":
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == GOLDEN.read_text(encoding="utf-8")

    code, text, _ = await audit(unrepaired, "-o", "json")
    data = json.loads(text)
    kinds = sorted(each["kind"] for each in data["findings"])
    assert (code, data["notJudged"], data["repairs"]) == (1, [], [])
    assert kinds == sorted(re.findall(r"^  (\w+) ", shown, re.MULTILINE))

    # Asked and answered with no: nothing is done.
    declined = await audit(unrepaired, "--repair")
    assert declined[0] == 1
    assert await versions(kube, maker.namespace) == {
        name: each["metadata"]["resourceVersion"] for name, each in before.items()
    }

    code, text, messages = await audit(unrepaired, "--repair", "--yes", "-o", "json")
    repaired = json.loads(text)["repairs"]
    assert code == 1
    assert [(each["action"], each["object"]["name"], each["done"]) for each in repaired] == [
        ("AddFinalizer", "b-unprotected", True),
        ("DropConsumers", "c-ghost", True),
        ("RemoveGate", "gated", True),
        ("RemoveGate", "uncovered", True),
    ]
    assert messages.count("done: ") == 4
    await check_repaired(kube, maker, before)

    code, text, _ = await audit(unrepaired, "-o", "json")
    assert sorted(each["kind"] for each in json.loads(text)["findings"]) == sorted(
        set(kinds) - {"FinalizerMissing", "StaleConsumer"}
    )
    # What is left has no safe repair, so a second time nothing is asked and nothing is done.
    assert (await audit(unrepaired, "--repair"))[0] == 1


async def versions(kube: Kube, namespace: str) -> dict[str, str]:
    return {
        each["metadata"]["name"]: each["metadata"]["resourceVersion"]
        for each in await kube.list("resourceclaims", namespace)
    }


async def check_repaired(kube: Kube, maker: Maker, before: dict[str, Any]) -> None:
    after = {
        each["metadata"]["name"]: each
        for each in await kube.list("resourceclaims", maker.namespace)
    }
    changed = {
        name
        for name, each in after.items()
        if each["metadata"]["resourceVersion"] != before[name]["metadata"]["resourceVersion"]
    }
    assert changed == {"b-unprotected", "c-ghost"}
    assert after["b-unprotected"]["metadata"]["finalizers"] == [FINALIZER]
    ghost = after["c-ghost"]
    assert [each["name"] for each in ghost["status"]["reservedFor"]] == ["p"]
    assert devices_of(ghost) == ["gpu.example.com/node-0/gpu-2"]
    gated = await kube.get("pods", "gated", maker.namespace)
    uncovered = await kube.get("pods", "uncovered", maker.namespace)
    waiting = await kube.get("pods", "waiting", f"{maker.namespace}-covered")
    assert (gates_of(gated), gates_of(uncovered)) == ([], [])
    assert gates_of(waiting) == ["berth.dev/dra"]
    (term,) = gated["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]["nodeSelectorTerms"]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]
    assert "affinity" not in uncovered["spec"]


def metric(operator: OperatorProcess, kind: str) -> float:
    """Return what the operator's gauge of findings shows."""
    (port,) = {line["port"] for line in operator.lines() if line.get("event") == "ready"}
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf'^berth_audit_findings{{kind="{kind}"}} (\S+)$', text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


async def wait_for_metric(operator: OperatorProcess, kind: str, want: float, within: float) -> None:
    deadline = time.monotonic() + within
    while (seen := await asyncio.to_thread(metric, operator, kind)) != want:
        if time.monotonic() > deadline:
            raise AssertionError(f"{kind} is {seen}, not {want}, after {within} s")
        await asyncio.sleep(0.1)


async def test_an_observer_reports_an_overlap_within_two_seconds_and_writes_nothing(
    kube: Kube, maker: Maker, observer: OperatorProcess
) -> None:
    uid = await maker.pod(pod("p", nodeName="node-1"))
    await maker.claim("first", "gpu-0", node="node-1", pods={"p": uid})
    assert await asyncio.to_thread(metric, observer, "DeviceHeldTwice") == 0

    await maker.claim("second", "gpu-0", node="node-1", pods={"p": uid})
    written = dt.datetime.now(dt.UTC)

    await wait_for_metric(observer, "DeviceHeldTwice", 1, within=20)
    (line,) = [each for each in observer.lines() if each.get("event") == "audit found a fault"]
    assert line["reason"] == "DeviceHeldTwice"
    assert line["claim"] == f"{maker.namespace}/first, {maker.namespace}/second"
    found = dt.datetime.fromisoformat(str(line["timestamp"]))
    assert (found - written).total_seconds() < 2

    # A lasting fault that is no overlap is found by the sweeps.
    await maker.claim("third", "gpu-1", node="node-1", pods={"p": uid}, protected=False)
    await wait_for_metric(observer, "FinalizerMissing", 1, within=90)

    await kube.delete("resourceclaims", "third", maker.namespace)
    free = {"status": {"allocation": None, "reservedFor": None}}
    await kube.patch("resourceclaims", "second", free, maker.namespace, subresource="status")
    await wait_for_metric(observer, "DeviceHeldTwice", 0, within=20)
    await wait_for_metric(observer, "FinalizerMissing", 0, within=90)
    assert await kube.events(maker.namespace, reason="DeviceHeldTwice") == []
