# SPDX-License-Identifier: Apache-2.0
"""The work that goes on while faults happen: pods that come, run, finish and go, by seed.

Decides what is created and deleted, and when. More devices are asked for than there are, so that
each one that becomes free is given away at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from tests.faults.checker import TERMINAL, claim_names, is_gated
from tests.support.kube import Kube, KubeError
from tests.support.kube_access import Json
from tests.support.manifests import (
    GATE_LABEL,
    claim,
    device_request,
    devices_of,
    is_running,
    pod,
    template,
)

NAMESPACE = "faults"
TEMPLATES = {"one": 1, "two": 2}
SHARED = 3
"""How many claims there are that several pods use."""
DONE = 10
"""How many pods that have succeeded are kept."""


@dataclass(slots=True)
class Load:
    """Creates and deletes pods; ``devices`` is how many there are for them."""

    kube: Kube
    seed: int
    devices: int
    per_second: float = 10.0
    actions: int = 0
    _number: int = 0
    _alive: dict[str, int] = field(default_factory=dict)
    """Pod to how many devices it asks for on its own."""
    _sharing: set[str] = field(default_factory=set)
    _done: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(f"load {self.seed}")

    async def prepare(self) -> None:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": GATE_LABEL},
        }
        await self.kube.create(namespace)
        for name, count in TEMPLATES.items():
            await self.kube.create(template(name, device_request(count=count)), NAMESPACE)
        for number in range(SHARED):
            await self.kube.create(claim(f"shared-{number}", device_request()), NAMESPACE)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(self._random.expovariate(self.per_second))
            with contextlib.suppress(KubeError):
                await self.act()

    async def act(self) -> None:
        self.actions += 1
        asked = sum(self._alive.values())
        if asked < self.devices * 1.2:
            # In bursts: the more is decided at once, the more there is to go wrong.
            for _ in range(self._random.randint(1, 6)):
                await self._create()
        elif self._random.random() < 0.3:
            await self._finish()
        else:
            for _ in range(self._random.randint(1, 4)):
                await self._delete()

    async def _create(self) -> None:
        self._number += 1
        name = f"p{self._number:05}"
        choices = (("one",), ("one",), ("two",), ("one", "one"))
        templates: tuple[str, ...] = self._random.choice(choices)
        claims: tuple[str, ...] = ()
        if self._random.random() < 0.2:
            claims = (f"shared-{self._random.randrange(SHARED)}",)
            self._sharing.add(name)
            if self._random.random() < 0.5:
                templates = ()
        self._alive[name] = sum(TEMPLATES[each] for each in templates)
        await self.kube.create(pod(name, templates=templates, claims=claims), NAMESPACE)

    async def _delete(self) -> None:
        if self._alive:
            name = self._random.choice(sorted(self._alive))
            del self._alive[name]
            self._sharing.discard(name)
            await self.kube.delete("pods", name, NAMESPACE)

    async def _finish(self) -> None:
        """Let a running pod succeed; not one that shares a claim.

        kube-controller-manager reserves and releases a claim that is still allocated for ever
        between a pod that is done and the others.
        """
        candidates = sorted(self._alive.keys() - self._sharing)
        if not candidates:
            return
        name = self._random.choice(candidates)
        found = await self.kube.find("pods", name, NAMESPACE)
        # Earlier, the simulated kubelet would write Running over it.
        if found is not None and is_running(found):
            body = {"status": {"phase": "Succeeded"}}
            await self.kube.patch("pods", name, body, NAMESPACE, subresource="status")
            del self._alive[name]
            self._done.append(name)
        if len(self._done) > DONE:
            await self.kube.delete("pods", self._done.pop(0), NAMESPACE)

    # --- the end

    async def shrink(self) -> None:
        """Delete pods until half of the devices would do for those that are left.

        Of those that share a claim none stays: it ties them to a node that may be full.
        """
        for name in sorted(self._sharing):
            self._alive.pop(name, None)
            await self.kube.delete("pods", name, NAMESPACE)
        self._sharing.clear()
        while sum(self._alive.values()) + SHARED > self.devices / 2:
            await self._delete()

    async def unserved(self) -> list[str]:
        """Return what still waits: gated pods, and pods with a claim without an allocation."""
        claims = {
            each["metadata"]["name"]: each
            for each in await self.kube.list("resourceclaims", NAMESPACE)
        }
        waiting = []
        for each in await self.kube.list("pods", NAMESPACE):
            name = each["metadata"]["name"]
            if each.get("status", {}).get("phase") in TERMINAL:
                continue
            if is_gated(each):
                waiting.append(f"pod {name} still has the gate")
            elif any(not devices_of(claims.get(used, {})) for _, used in claim_names(each)):
                waiting.append(f"pod {name} has a claim without an allocation")
            elif not each["spec"].get("nodeName"):
                waiting.append(f"pod {name} is not scheduled: {_message(each)}")
        return waiting

    async def remove(self, within: float = 60) -> None:
        await self.kube.delete_all("pods", NAMESPACE)
        await self.kube.wait_all("pods", lambda items: not items, NAMESPACE, within=within)
        await self.kube.delete_all("resourceclaims", NAMESPACE)
        await self.kube.wait_all(
            "resourceclaims", lambda items: not items, NAMESPACE, within=within, what="no claims"
        )


def _message(pod: Json) -> str:
    conditions = pod.get("status", {}).get("conditions") or ()
    return next((str(each.get("message", "")) for each in conditions), "")
