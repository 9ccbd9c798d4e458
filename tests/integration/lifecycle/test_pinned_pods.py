# SPDX-License-Identifier: Apache-2.0
"""Pods that were let go and pinned, and whose node is gone before they start."""

from __future__ import annotations

from tests.support.lifecycle import PATIENCE, Rig
from tests.support.manifests import gates_of


async def test_a_pod_pinned_to_a_node_that_is_gone_is_told_that_it_must_be_deleted(
    rig: Rig,
) -> None:
    name = f"{rig.namespace}-node"
    like = await rig.kube.get("nodes", rig.nodes[0])
    await rig.kube.create(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        }
    )
    status = {key: like["status"][key] for key in ("allocatable", "capacity", "conditions")}
    await rig.kube.patch("nodes", name, {"status": status}, subresource="status")
    await rig.kube.wait_for(
        "nodes", name, lambda node: not node["spec"].get("taints"), within=PATIENCE
    )
    await rig.publish(name, ("only",))
    try:
        # kube-scheduler does not know this name, so the pod stays where Berth has left it.
        await rig.claim("c", selectors=[f'device.driver == "{rig.driver}"'], count=1)
        await rig.held_pod(
            "p", "c", schedulerName="nobody", nodeSelector={"kubernetes.io/hostname": name}
        )
        await rig.let_berth("p")
        await rig.kube.wait_for(
            "pods", "p", lambda each: not gates_of(each), rig.namespace, within=PATIENCE
        )
        assert await rig.devices("c") == [f"{name}/only"]
        await rig.kube.delete("nodes", name)
        assert await rig.event("p", "AllocatedPodUnschedulable") == (
            f"pod {rig.namespace}/p: it is pinned to node {name}, which is gone, and the pin of a "
            "pod without a scheduling gate cannot be changed: delete the pod, so that a new one "
            "is decided anew"
        )
        # The claim is the pod's until it is deleted.
        assert await rig.devices("c") == [f"{name}/only"]
    finally:
        await rig.kube.delete("nodes", name)
