# SPDX-License-Identifier: Apache-2.0
"""Stages of a claim's life, set up by hand on a real API server.

``Rig`` is a gated namespace with a driver, a DeviceClass and ResourceSlices of its own, so that
tests can withdraw devices without disturbing each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.helm import chart_account
from tests.support.kube import Kube
from tests.support.kube_access import Json
from tests.support.manifests import GATE_LABEL, claim, device_request, devices_of, pod

VALUES: dict[str, Any] = {
    "mode": "gated",
    "operator": {"deploy": False},
    "defaultPolicy": {"create": False},
}
POLICY_LABEL = "tests.berth.dev/policy"
FINALIZER = "resource.kubernetes.io/delete-protection"
HOLD = "tests.berth.dev/hold"
PATIENCE = 90.0


async def give_rights(kubeconfig: Path, folder: Path) -> Path:
    """Create a policy for every class, and return a kubeconfig of the chart's ServiceAccount."""
    async with Kube.from_kubeconfig(kubeconfig) as kube:
        await kube.create(
            {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "AllocationPolicy",
                "metadata": {"name": "everything"},
                "spec": {"namespaceSelector": {"matchLabels": {POLICY_LABEL: "everything"}}},
            }
        )
        # The API server takes about a second to put a new admission policy into force.
        await asyncio.sleep(2)
    return await chart_account(kubeconfig, folder)


@dataclass(slots=True)
class Rig:
    """One test's namespace, driver and nodes; the class is named after the driver."""

    kube: Kube
    namespace: str
    driver: str
    nodes: tuple[str, ...]
    published: list[str] = field(default_factory=list)

    # --- devices

    async def publish(
        self,
        pool: str,
        devices: Sequence[str | Json],
        *,
        generation: int = 1,
        slices: int = 1,
        **spec: Any,
    ) -> None:
        """Publish a pool in one slice, or replace it; it is the node's of that name."""
        name = f"{self.driver}-{pool}"
        body = {
            "driver": self.driver,
            "pool": {"name": pool, "generation": generation, "resourceSliceCount": slices},
            "devices": [each if isinstance(each, dict) else {"name": each} for each in devices],
            **(spec or {"nodeName": pool}),
        }
        if name in self.published:
            await self.kube.patch("resourceslices", name, {"spec": body})
            return
        self.published.append(name)
        await self.kube.create(
            {
                "apiVersion": "resource.k8s.io/v1",
                "kind": "ResourceSlice",
                "metadata": {"name": name},
                "spec": body,
            }
        )

    async def withdraw(self, pool: str) -> None:
        name = f"{self.driver}-{pool}"
        self.published.remove(name)
        await self.kube.delete("resourceslices", name)

    # --- claims and pods

    async def claim(self, name: str, **exactly: Any) -> Json:
        request = device_request("gpu", self.driver, **exactly)
        return await self.kube.create(claim(name, request), self.namespace)

    async def held_pod(self, name: str, *claims: str, **more: Any) -> Json:
        """Create a pod that a second gate keeps Berth from deciding."""
        gates = [{"name": HOLD}]
        manifest = pod(name, claims=claims, schedulingGates=gates, **more)
        return await self.kube.create(manifest, self.namespace)

    async def let_berth(self, name: str) -> None:
        """Take the second gate off."""
        body = {"spec": {"schedulingGates": [{"name": HOLD, "$patch": "delete"}]}}
        await self.kube.patch("pods", name, body, self.namespace, kind="strategic")

    async def allocated(
        self,
        name: str,
        node: str,
        *devices: str,
        pods: Sequence[Json] = (),
        pool: str = "",
        **allocation: Any,
    ) -> Json:
        """Give a claim these devices as Berth would, reserved for ``pods``; returns the claim."""
        protect = {"metadata": {"finalizers": [FINALIZER]}}
        await self.kube.patch("resourceclaims", name, protect, self.namespace)
        results = [
            {"request": "gpu", "driver": self.driver, "pool": pool or node, "device": each}
            for each in devices
        ]
        only = {"key": "metadata.name", "operator": "In", "values": [node]}
        status = {
            "allocation": {
                "devices": {"results": results},
                "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [only]}]},
                "allocationTimestamp": "2026-01-01T00:00:00Z",
                **allocation,
            },
            "reservedFor": [
                {
                    "resource": "pods",
                    "name": each["metadata"]["name"],
                    "uid": each["metadata"]["uid"],
                }
                for each in pods
            ],
        }
        return await self.kube.patch(
            "resourceclaims", name, {"status": status}, self.namespace, subresource="status"
        )

    async def devices(self, name: str) -> list[str]:
        """Return ``pool/device`` of a claim."""
        found = devices_of(await self.kube.get("resourceclaims", name, self.namespace))
        return [each.partition("/")[2] for each in found]

    async def at_rest(self, resource: str, name: str, seconds: float = 1.0) -> Json:
        """Return the object once it has not changed for ``seconds``."""
        clock = asyncio.get_running_loop().time
        began = since = clock()
        seen = await self.kube.get(resource, name, self.namespace)
        while clock() - since < seconds:
            if clock() - began > PATIENCE:
                raise AssertionError(f"{resource} {name} does not come to rest: {seen}")
            await asyncio.sleep(0.1)
            now = await self.kube.get(resource, name, self.namespace)
            if now != seen:
                seen, since = now, clock()
        return seen

    async def running(self, name: str) -> Json:
        return await self.kube.wait_for(
            "pods",
            name,
            lambda each: each.get("status", {}).get("phase") == "Running",
            self.namespace,
            within=PATIENCE,
            what="running",
        )

    async def event(self, name: str, reason: str) -> str:
        """Return the note of the event about the object; waits for it."""
        found = await self.kube.wait_all(
            "events",
            lambda items: any(_is_about(each, name, reason) for each in items),
            self.namespace,
            within=PATIENCE,
            what=f"event {reason} about {name}",
        )
        return next(str(each["note"]) for each in found if _is_about(each, name, reason))


def _is_about(event: Mapping[str, Any], name: str, reason: str) -> bool:
    return bool(event["reason"] == reason and event["regarding"]["name"] == name)


@asynccontextmanager
async def rig_in(kube: Kube) -> AsyncIterator[Rig]:
    """Set up a rig with devices ``a`` and ``b`` on the cluster's first two nodes."""
    labels = {**GATE_LABEL, POLICY_LABEL: "everything"}
    made = await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"generateName": "life-", "labels": labels},
        }
    )
    name = made["metadata"]["name"]
    nodes = sorted(each["metadata"]["name"] for each in await kube.list("nodes"))
    rig = Rig(kube, name, f"{name}.example.com", tuple(nodes[:2]))
    selector = {"cel": {"expression": f'device.driver == "{rig.driver}"'}}
    await kube.create(
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "DeviceClass",
            "metadata": {"name": rig.driver},
            "spec": {"selectors": [selector]},
        }
    )
    for node in rig.nodes:
        await rig.publish(node, ("a", "b"))
    yield rig
    await kube.delete_all("pods", name)
    await kube.wait_all("pods", lambda items: not items, name, within=PATIENCE)
    await kube.delete_all("resourceclaims", name)
    await kube.wait_all("resourceclaims", lambda items: not items, name, within=PATIENCE)
    for each in list(rig.published):
        await kube.delete("resourceslices", each)
    await kube.delete("deviceclasses", rig.driver)
    await kube.delete("namespaces", name)
