# SPDX-License-Identifier: Apache-2.0
"""The gate as a webhook of the operator's, which every release can use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from berth.localcluster import ClusterSpec, LocalCluster, install, webhook
from tests.integration.releases.conftest import GATE, WITHIN, opted_in, until_gated
from tests.support.helm import SYSTEM, chart_account, install_chart
from tests.support.kube import Kube, KubeError
from tests.support.manifests import claim, device_request, gates_of, is_running, pod
from tests.support.operators import OperatorProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.needs("gate by webhook"),
]

FINALIZER = "resource.kubernetes.io/delete-protection"


async def test_the_operator_gates_pods_and_only_they_depend_on_it(tmp_path: Path) -> None:
    with await asyncio.to_thread(
        LocalCluster.start, ClusterSpec(name=f"webhook-{os.getpid()}", nodes=1)
    ) as cluster:
        port = webhook.free_port()
        values = {"mode": "gated", "operator": {"deploy": False}, **webhook.values(port)}
        await asyncio.to_thread(install_chart, cluster.kubeconfig, SYSTEM, values)
        manifest = install.installed_manifest(cluster.kubeconfig)
        settings = webhook.save(manifest, tmp_path, port)
        kubeconfig = await chart_account(cluster.kubeconfig, tmp_path)
        running = await asyncio.to_thread(
            OperatorProcess.start,
            kubeconfig,
            tmp_path / "operator.log",
            settings=settings,
            within=WITHIN,
        )
        async with Kube.from_kubeconfig(cluster.kubeconfig) as kube:
            try:
                namespace = await opted_in(kube)
                await gates(kube, namespace)
            finally:
                running.kill()
            await refuses(kube, namespace)
            # An upgrade keeps the certificate: the operator need not be told of a new one.
            again = {**values, "generateClaims": True}
            await asyncio.to_thread(install.install, cluster.kubeconfig, again)
            (tmp_path / "again").mkdir()
            manifest = install.installed_manifest(cluster.kubeconfig)
            webhook.save(manifest, tmp_path / "again", port)
            kept = tmp_path / "webhook" / "tls.crt", tmp_path / "again" / "webhook" / "tls.crt"
            assert kept[0].read_bytes() == kept[1].read_bytes()


async def gates(kube: Kube, namespace: str) -> None:
    """With the operator: pods with claims are gated and run, others are left alone."""
    await until_gated(kube, namespace)
    made = await kube.create(claim("one", device_request()), namespace)
    assert made["metadata"]["finalizers"] == [FINALIZER]
    quota = [{"name": "example.com/quota"}]
    both = await kube.create(
        pod("both", claims=("one",), schedulingGates=quota), namespace, dry_run=True
    )
    assert gates_of(both) == ["example.com/quota", GATE]
    bound = pod("bound", claims=("one",), nodeName="node-0")
    assert gates_of(await kube.create(bound, namespace, dry_run=True)) == []
    await kube.create(pod("one", claims=("one",)), namespace)
    await kube.wait_for("pods", "one", is_running, namespace, within=WITHIN, what="running")
    for other in ("kube-system", "default"):
        plain = await kube.create(pod("one", claims=("one",)), other, dry_run=True)
        assert gates_of(plain) == []


async def refuses(kube: Kube, namespace: str) -> None:
    """Without it: pods with claims are refused, with the reason; others never asked about."""
    with pytest.raises(KubeError, match=r'failed calling webhook "gate\.berth\.dev"'):
        await kube.create(pod("late", claims=("one",)), namespace, dry_run=True)
    assert gates_of(await kube.create(pod("plain"), namespace, dry_run=True)) == []
    # The finalizer is no must: Berth would add it before it allocates.
    made = await kube.create(claim("late", device_request()), namespace, dry_run=True)
    assert "finalizers" not in made["metadata"]
