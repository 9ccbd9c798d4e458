# SPDX-License-Identifier: Apache-2.0
"""Which kubeconfig counts, and that tokens are read anew."""

from __future__ import annotations

import datetime as dt
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from berth.controller.credentials import FRESH_SECONDS, CredentialsError, load_credentials


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def kubeconfig(path: Path, user: dict[str, Any], server: str = "https://127.0.0.1:6443/") -> str:
    contexts = [
        {"name": name, "context": {"cluster": name, "user": "me"}} for name in ("one", "two")
    ]
    clusters = [
        {"name": "one", "cluster": {"server": server}},
        {"name": "two", "cluster": {"server": "http://127.0.0.2:8001"}},
    ]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": contexts,
        "clusters": clusters,
        "users": [{"name": "me", "user": user}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return str(path)


async def test_server_and_token_come_from_the_current_context(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "t1"})
    credentials = await load_credentials(path, None)
    assert credentials.server == "https://127.0.0.1:6443"
    assert await credentials.headers() == {"Authorization": "Bearer t1"}


async def test_a_named_context_counts(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "t1"})
    assert (await load_credentials(path, "two")).server == "http://127.0.0.2:8001"


async def test_kubeconfig_variable_wins_over_the_home_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig(tmp_path / ".kube" / "config", {"token": "home"})
    assert await (await load_credentials(None, None)).headers() == {"Authorization": "Bearer home"}
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "other", {"token": "variable"}))
    assert await (await load_credentials(None, None)).headers() == {
        "Authorization": "Bearer variable"
    }


async def test_a_token_file_is_read_anew_after_a_while_or_after_a_401(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    path = kubeconfig(tmp_path / "config", {"tokenFile": str(token)})
    now = 0.0
    credentials = await load_credentials(path, None)
    credentials._clock = lambda: now
    credentials._read_at = now
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    token.write_text("second\n")
    assert await credentials.headers() == {"Authorization": "Bearer first"}
    now = FRESH_SECONDS
    assert await credentials.headers() == {"Authorization": "Bearer second"}
    token.write_text("third\n")
    credentials.invalidate()
    assert await credentials.headers() == {"Authorization": "Bearer third"}


async def test_a_plugin_is_asked_for_the_token(tmp_path: Path) -> None:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-plugin"},
    }
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!{sys.executable}\nprint('''{json.dumps(answer)}''')\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(plugin),
            "interactiveMode": "Never",
        }
    }
    credentials = await load_credentials(kubeconfig(tmp_path / "config", user), None)
    assert await credentials.headers() == {"Authorization": "Bearer from-plugin"}


async def test_kopf_gets_the_same_access_with_an_expiration(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "t1"})
    info = await (await load_credentials(path, None)).connection_info()
    assert (info.server, info.scheme, info.token, info.insecure) == (
        "https://127.0.0.1:6443",
        "Bearer",
        "t1",
        False,
    )
    assert info.expiration is not None
    left = info.expiration - dt.datetime.now(dt.UTC)
    assert dt.timedelta(minutes=9) < left <= dt.timedelta(minutes=10)


async def test_a_pod_uses_its_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(
        CredentialsError, match=r"^ServiceAccount of this Pod: no credentials for the API server: "
    ):
        await load_credentials(None, None)


@pytest.mark.parametrize(
    ("text", "context", "want"),
    [
        pytest.param("{", None, "while parsing", id="no YAML"),
        pytest.param("{}", None, "current-context|not a usable kubeconfig", id="empty"),
        pytest.param(None, "absent", "absent", id="unknown context"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, context: str | None, want: str
) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "t1"})
    if text is not None:
        Path(path).write_text(text)
    with pytest.raises(CredentialsError, match=want) as caught:
        await load_credentials(path, context)
    assert caught.value.where.startswith(f"kubeconfig {path}")


async def test_missing_files_are_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"kubeconfig /absent/config: .*no such file$"):
        await load_credentials("/absent/config", None)
    with pytest.raises(CredentialsError, match=r"give `--kubeconfig` or set KUBECONFIG$"):
        await load_credentials(None, None)
