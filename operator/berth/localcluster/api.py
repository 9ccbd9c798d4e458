# SPDX-License-Identifier: Apache-2.0
"""The few requests that a local cluster makes to its own API server.

Blocking, one connection per thread, certificate verified. It never retries: the caller knows what
may be tried again.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from berth.localcluster.components import HOST
from berth.localcluster.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

IN_FLIGHT = 32
OK = 200
CREATED = 201
CONFLICT = 409

PLURALS: Mapping[str, str] = {
    "Node": "nodes",
    "ResourceSlice": "resourceslices",
    "DeviceClass": "deviceclasses",
}


class Api:
    """A client of one API server; may be used from several threads."""

    def __init__(self, port: int, token: str, certificate: str) -> None:
        """Talk to the loopback address as whoever ``token`` belongs to."""
        self._port = port
        self._token = token
        self._tls = ssl.create_default_context(cadata=certificate)
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Return status and body of the answer.

        Raises:
            OSError: If there is no connection.
            http.client.HTTPException: If the answer is none.
        """
        connection: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPSConnection(
                HOST, self._port, timeout=30, context=self._tls
            )
            self._local.connection = connection
            self._open.append(connection)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={
                    "Authorization": f"Bearer {self._token}",
                    "Content-Type": "application/json",
                },
            )
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            # Closed, it connects anew at the next request.
            connection.close()
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._open:
            connection.close()

    def ready(self) -> bool:
        """Return whether the API server says that it is ready, its bootstrap roles included."""
        try:
            return self.request("GET", "/readyz")[0] == OK
        except (OSError, http.client.HTTPException):
            return False

    def served(self, group: str, versions: Sequence[str]) -> str:
        """Return the first of ``versions`` that is served of ``group``.

        Raises:
            LocalClusterError: If none of them is.
        """
        status, answer = self.request("GET", f"/apis/{group}")
        found = json.loads(answer)["versions"] if status == OK else ()
        offered = {each["version"] for each in found}
        for version in versions:
            if version in offered:
                return version
        raise LocalClusterError(
            f"the API server serves none of {', '.join(versions)} of {group}: "
            "it may need another feature gate or API"
        )

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Create an object, with unknown fields refused; one that exists already is left alone.

        Raises:
            LocalClusterError: If the API server refuses it.
        """
        version = manifest["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        path = f"{root}/{PLURALS[manifest['kind']]}?fieldValidation=Strict"
        status, answer = self.request("POST", path, manifest)
        if status not in (OK, CREATED, CONFLICT):
            name = manifest["metadata"]["name"]
            message = json.loads(answer).get("message", "") if answer.startswith(b"{") else ""
            raise LocalClusterError(
                f"{manifest['kind'].lower()} {name}: the API server refused it: {status}: {message}"
            )

    def create_all(
        self, manifests: Iterable[Mapping[str, Any]], done: Callable[[int], None]
    ) -> None:
        """Create objects, up to 32 at a time, and call ``done`` with how many exist so far."""
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="create") as pool:
            pending = [pool.submit(self.create, each) for each in manifests]
            try:
                for count, each in enumerate(as_completed(pending), start=1):
                    each.result()
                    done(count)
            finally:
                for each in pending:
                    each.cancel()
