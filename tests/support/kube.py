# SPDX-License-Identifier: Apache-2.0
"""A small asynchronous Kubernetes client for tests: plain JSON in, plain JSON out.

It shares no code with Berth, so that a mistake there cannot hide itself here. It never retries
and never waits without a deadline.

Resources are named by their plural (``"pods"``, ``"resourceclaims"``); ``RESOURCES`` lists those
known, and ``Resource`` describes another one. Use ``async with Kube.from_kubeconfig(path) as
kube``, or the fixture ``kube`` of ``tests/integration/conftest.py``:

- ``get(resource, name, namespace=None)``, ``find(...)`` (``None`` when it is absent),
  ``list(resource, namespace=None, selector="", fields="")`` -> items.
- ``create(manifest, namespace=None, dry_run=False)`` (strict field validation),
  ``create_all(manifests, namespace=None)`` (many at once, 16 in flight), ``load(text)`` ->
  manifests of a YAML text, ``apply(manifest, namespace=None)`` (server-side, forced).
- ``patch(resource, name, body, namespace=None, kind="merge", subresource="")`` with kind
  ``merge``, ``strategic`` or ``json``; ``delete(resource, name, namespace=None,
  missing_ok=True)``; ``delete_all(resource, namespace, selector="")``.
- ``wait_for(resource, name, predicate, namespace=None, within=30, what="")`` -> the object;
  ``wait_all(resource, predicate, namespace=None, selector="", within=30, what="")`` -> the items,
  once ``predicate(items)`` holds; ``wait_gone(resource, name, namespace=None, within=30)``. A
  missed deadline is an ``AssertionError`` that shows what was seen last.
- ``events(namespace, name="", reason="")`` -> events about objects of that name, oldest first.
- ``token(namespace, service_account)`` -> a bearer token; ``as_token(token)`` -> a client that
  uses it; ``write_kubeconfig(path, token="", namespace="")`` writes a kubeconfig file for another
  process.
- ``request(method, path, body=None, params=None, content_type=...)`` is the door to everything
  else.

Every refusal by the API server is a ``KubeError`` with ``status``, ``reason`` and ``body``.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from tests.support.kube_access import (
    RESOURCES,
    Access,
    Json,
    Resource,
    encoded,
    place_of,
    resource_named,
)

PATIENCE = float(os.environ.get("BERTH_TEST_PATIENCE", "1"))
"""By how much waits are longer than usual, on a computer that does other things too."""
PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


class KubeError(Exception):
    """The API server refused a request."""

    def __init__(self, method: str, path: str, status: int, body: Json) -> None:
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.message = str(body.get("message", ""))
        self.body = body
        super().__init__(f"{method} {path}: {status} {self.reason}: {self.message}")


class Kube:
    """One client; see the module's docstring for what it can do."""

    def __init__(self, access: Access) -> None:
        self.access = access
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        tls = access.ssl_context() if access.server.startswith("https") else False
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=tls, limit=64),
            timeout=aiohttp.ClientTimeout(total=60),
        )

    @classmethod
    def from_kubeconfig(cls, path: Path | str) -> Self:
        return cls(Access.from_kubeconfig(Path(path)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        async with self._session.request(
            method,
            self.access.server + path,
            params=params,
            json=body,
            headers={"Content-Type": content_type} if body is not None else None,
        ) as response:
            if response.content_type != "application/json":
                answer: Json = {"message": await response.text()}
            else:
                answer = await response.json()
            if response.status >= 400:
                raise KubeError(method, path, response.status, answer)
            return answer

    async def get(self, resource: str | Resource, name: str, namespace: str | None = None) -> Json:
        return await self.request("GET", resource_named(resource).path(namespace, name))

    async def find(
        self, resource: str | Resource, name: str, namespace: str | None = None
    ) -> Json | None:
        try:
            return await self.get(resource, name, namespace)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def list(
        self,
        resource: str | Resource,
        namespace: str | None = None,
        selector: str = "",
        fields: str = "",
    ) -> list[Json]:
        params = {"labelSelector": selector, "fieldSelector": fields}
        params = {key: value for key, value in params.items() if value}
        answer = await self.request("GET", resource_named(resource).path(namespace), params=params)
        items: list[Json] = answer["items"]
        return items

    @staticmethod
    def load(text: str) -> Sequence[Json]:
        """Return the manifests of a YAML text, in order."""
        return [each for each in yaml.safe_load_all(text) if each]

    async def create(
        self, manifest: Json, namespace: str | None = None, *, dry_run: bool = False
    ) -> Json:
        kind, namespace = place_of(manifest, namespace)
        params = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return await self.request("POST", kind.path(namespace), manifest, params)

    async def create_all(
        self, manifests: Iterable[Json], namespace: str | None = None
    ) -> Sequence[Json]:
        limit = asyncio.Semaphore(16)

        async def one(manifest: Json) -> Json:
            async with limit:
                return await self.create(manifest, namespace)

        return await asyncio.gather(*(one(each) for each in manifests))

    async def apply(
        self, manifest: Json, namespace: str | None = None, manager: str = "tests"
    ) -> Json:
        kind, namespace = place_of(manifest, namespace)
        path = kind.path(namespace, manifest["metadata"]["name"])
        params = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        return await self.request("PATCH", path, manifest, params, "application/apply-patch+yaml")

    async def patch(
        self,
        resource: str | Resource,
        name: str,
        body: object,
        namespace: str | None = None,
        *,
        kind: str = "merge",
        subresource: str = "",
    ) -> Json:
        path = resource_named(resource).path(namespace, name, subresource)
        params = {"fieldValidation": "Strict"}
        return await self.request("PATCH", path, body, params, PATCH_TYPES[kind])

    async def delete(
        self,
        resource: str | Resource,
        name: str,
        namespace: str | None = None,
        *,
        missing_ok: bool = True,
        grace_seconds: int | None = None,
    ) -> None:
        params = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            params["gracePeriodSeconds"] = str(grace_seconds)
        try:
            await self.request(
                "DELETE", resource_named(resource).path(namespace, name), params=params
            )
        except KubeError as error:
            if error.status != 404 or not missing_ok:
                raise

    async def delete_all(
        self, resource: str | Resource, namespace: str | None = None, selector: str = ""
    ) -> None:
        params = {"labelSelector": selector} if selector else {}
        await self.request("DELETE", resource_named(resource).path(namespace), params=params)

    async def wait_for(
        self,
        resource: str | Resource,
        name: str,
        predicate: Callable[[Json], object],
        namespace: str | None = None,
        *,
        within: float = 30,
        what: str = "",
    ) -> Json:
        def holds(item: Json | None) -> bool:
            return item is not None and bool(predicate(item))

        seen: Json | None = await self._poll(
            lambda: self.find(resource, name, namespace), holds, within
        )
        if not holds(seen):
            raise AssertionError(
                f"{resource} {namespace}/{name}: {what or 'not as expected'} not seen within "
                f"{within} s; last seen: {yaml.safe_dump(seen)}"
            )
        assert seen is not None
        return seen

    async def wait_all(
        self,
        resource: str | Resource,
        predicate: Callable[[Sequence[Json]], object],
        namespace: str | None = None,
        *,
        selector: str = "",
        within: float = 30,
        what: str = "",
    ) -> Sequence[Json]:
        async def look() -> Sequence[Json]:
            return await self.list(resource, namespace, selector)

        items: Sequence[Json] = await self._poll(look, lambda found: bool(predicate(found)), within)
        if not predicate(items):
            shown = [(each["metadata"]["name"], each.get("status")) for each in items[:5]]
            raise AssertionError(
                f"{resource} in {namespace}: {what or 'not as expected'} not seen within "
                f"{within} s; last seen: {len(items)}, the first ones: {shown}"
            )
        return items

    async def wait_gone(
        self,
        resource: str | Resource,
        name: str,
        namespace: str | None = None,
        *,
        within: float = 30,
    ) -> None:
        seen = await self._poll(
            lambda: self.find(resource, name, namespace), lambda item: item is None, within
        )
        if seen is not None:
            raise AssertionError(
                f"{resource} {namespace}/{name}: still there after {within} s: "
                f"{yaml.safe_dump(seen)}"
            )

    async def events(self, namespace: str, name: str = "", reason: str = "") -> Sequence[Json]:
        found = [
            each
            for each in await self.list("events", namespace)
            if (not name or each.get("regarding", {}).get("name") == name)
            and (not reason or each.get("reason") == reason)
        ]
        return sorted(found, key=lambda each: int(each["metadata"]["resourceVersion"]))

    async def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        path = RESOURCES["serviceaccounts"].path(namespace, service_account, "token")
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        answer = await self.request("POST", path, body)
        return str(answer["status"]["token"])

    def as_token(self, token: str) -> "Kube":
        access = self.access
        return Kube(
            Access(access.server, access.ca_pem, token=token, insecure=access.insecure),
        )

    def write_kubeconfig(self, path: Path, token: str = "", namespace: str = "") -> Path:
        """Write a kubeconfig file, mode 0600, with ``token`` in place of our own rights."""
        cluster: Json = {"server": self.access.server}
        if self.access.ca_pem:
            cluster["certificate-authority-data"] = encoded(self.access.ca_pem)
        if self.access.insecure:
            cluster["insecure-skip-tls-verify"] = True
        user: Json = {}
        if token or self.access.token:
            user["token"] = token or self.access.token
        elif self.access.client_cert_pem:
            user["client-certificate-data"] = encoded(self.access.client_cert_pem)
            user["client-key-data"] = encoded(self.access.client_key_pem)
        context = {
            "cluster": "test",
            "user": "test",
            **({"namespace": namespace} if namespace else {}),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": context}],
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            yaml.safe_dump(config, file)
        return path

    @staticmethod
    async def _poll(look: Callable[[], Any], good: Callable[[Any], bool], within: float) -> Any:
        clock = asyncio.get_running_loop().time
        deadline = clock() + within * PATIENCE
        while True:
            seen = await look()
            if good(seen) or clock() >= deadline:
                return seen
            await asyncio.sleep(0.05)


@asynccontextmanager
async def emptied_namespace(kube: Kube, labels: Json) -> AsyncIterator[str]:
    """A new namespace; its pods and claims are gone afterwards, and their devices free."""
    made = await kube.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"generateName": "test-", "labels": labels},
        }
    )
    name = made["metadata"]["name"]
    yield name
    # Devices are shared by all tests: the next one must find them free.
    await kube.delete_all("pods", name)
    await kube.wait_all("pods", lambda items: not items, name, within=60)
    await kube.delete_all("resourceclaims", name)
    await kube.wait_all("resourceclaims", lambda items: not items, name, within=60)
    await kube.delete("namespaces", name)
