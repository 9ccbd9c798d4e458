# SPDX-License-Identifier: Apache-2.0
"""Where the API server is, and how Berth proves who it is: for its own client and for Kopf's.

Decides which kubeconfig counts, and when credentials are read anew. Never sends a request to the
API server.

Source: kubeconfig files, exec credential plugins, ServiceAccount token files (rotated hourly).
"""

from __future__ import annotations

import datetime as dt
import os
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kopf
import yaml
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.incluster_config import load_incluster_config
from kubernetes_asyncio.config.kube_config import load_kube_config

from berth.errors import BerthError

if TYPE_CHECKING:
    from collections.abc import Awaitable

FRESH_SECONDS = 60.0
"""How long credentials are used before files and plugins are asked again; plugins may cache."""
KOPF_EXPIRATION = dt.timedelta(minutes=10)
"""When Kopf shall log in again; left alone it does so only after a 401."""
DEFAULT_KUBECONFIG = "~/.kube/config"
TOKEN_KEY = "BearerToken"  # noqa: S105 - the name of a setting, not a token


class CredentialsError(BerthError):
    """Credentials that cannot be had; ``where`` names the file or place, ``detail`` the cause."""

    def __init__(self, where: str, detail: str) -> None:
        self.where = where
        self.detail = detail
        super().__init__(f"{where}: no credentials for the API server: {detail}")


class Credentials:
    """Access to one API server, read anew from ``read`` as time goes by.

    ``where`` names the source in messages. Client certificates are taken into the TLS context
    once; a plugin that replaces them needs a new instance, which Kopf's login gets by loading.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Configuration]],
        configuration: Configuration,
        where: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._configuration = configuration
        self._where = where
        self._clock = clock
        self._read_at = clock()
        self._ssl_context = _ssl_context(configuration, where)

    @property
    def server(self) -> str:
        """Base URL of the API server, without a slash at the end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """What to verify of the server, and the client certificate where there is one."""
        return self._ssl_context

    @property
    def proxy(self) -> str | None:
        """URL of the proxy that the kubeconfig names, or ``None``."""
        return self._configuration.proxy or None

    @property
    def tls_server_name(self) -> str | None:
        """Name to check in the server's certificate, where it is not the host of the URL."""
        return self._configuration.tls_server_name or None

    async def headers(self) -> Mapping[str, str]:
        """Return the headers that carry the token; empty with a client certificate.

        Raises:
            CredentialsError: If a token file or plugin fails.
        """
        if self._clock() - self._read_at >= FRESH_SECONDS:
            self._configuration = await self._read()
            self._read_at = self._clock()
        authorization = self._authorization()
        return {"Authorization": authorization} if authorization else {}

    def invalidate(self) -> None:
        """Have the next call of `headers` read the credentials anew, after a 401."""
        self._read_at = self._clock() - FRESH_SECONDS

    async def connection_info(self) -> kopf.ConnectionInfo:
        """Return the same access as Kopf's login handler gives it, with an expiration.

        Raises:
            CredentialsError: If a token file or plugin fails.
        """
        await self.headers()
        scheme, _, token = self._authorization().partition(" ")
        configuration = self._configuration
        return kopf.ConnectionInfo(
            server=self.server,
            ca_path=configuration.ssl_ca_cert or None,
            insecure=not configuration.verify_ssl,
            scheme=scheme or None,
            token=token or None,
            certificate_path=configuration.cert_file or None,
            private_key_path=configuration.key_file or None,
            proxy_url=self.proxy,
            expiration=dt.datetime.now(dt.UTC) + KOPF_EXPIRATION,
        )

    def _authorization(self) -> str:
        # A token file may end with a line break, which no header may contain.
        return str(self._configuration.api_key.get(TOKEN_KEY, "")).strip()


async def load_credentials(kubeconfig: str | None, context: str | None) -> Credentials:
    """Return the access to the API server that the process is meant to use.

    In this order: ``kubeconfig`` (several paths with the system's separator are merged), the
    variable ``KUBECONFIG``, the ServiceAccount of the Pod that Berth runs in, ``~/.kube/config``.

    Args:
        kubeconfig: Path or paths, or ``None``.
        context: Name of a context in it; ``None`` for its current one.

    Raises:
        CredentialsError: If none of them exists, or the one that counts cannot be used.
    """
    in_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if not path and not in_cluster and _existing(DEFAULT_KUBECONFIG):
        path = DEFAULT_KUBECONFIG
    if path:
        found = _existing(path)
        where = f"kubeconfig {path}" + (f", context {context}" if context else "")
        if not found:
            raise CredentialsError(where, "no such file")

        async def read() -> Configuration:
            return await _from_kubeconfig(found, context, where)

    elif in_cluster:
        where = "ServiceAccount of this Pod"

        async def read() -> Configuration:
            return _from_service_account(where)

    else:
        raise CredentialsError(
            DEFAULT_KUBECONFIG,
            "no such file, and not in a cluster: give `--kubeconfig` or set KUBECONFIG",
        )
    return Credentials(read, await read(), where)


def _existing(paths: str) -> str:
    files = [str(Path(path).expanduser()) for path in paths.split(os.pathsep) if path]
    return os.pathsep.join(path for path in files if Path(path).is_file())


async def _from_kubeconfig(paths: str, context: str | None, where: str) -> Configuration:
    configuration = _new_configuration()
    try:
        await load_kube_config(
            config_file=paths,
            context=context,
            client_configuration=configuration,
            persist_config=False,
        )
    except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        raise CredentialsError(where, str(error)) from error
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        # The loader meets a malformed file with whatever its own code stumbles over.
        raise CredentialsError(where, f"not a usable kubeconfig: {error!r}") from error
    return configuration


def _from_service_account(where: str) -> Configuration:
    configuration = _new_configuration()
    try:
        load_incluster_config(  # type: ignore[no-untyped-call] # the library has no types here
            client_configuration=configuration, try_refresh_token=False
        )
    except (ConfigException, OSError) as error:
        raise CredentialsError(where, str(error)) from error
    return configuration


def _new_configuration() -> Configuration:
    # Not Configuration(): its metaclass copies the process-wide default if one was set.
    configuration: Configuration = type.__call__(Configuration)
    return configuration


def _ssl_context(configuration: Any, where: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise CredentialsError(where, f"certificate or key cannot be used: {error}") from error
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
