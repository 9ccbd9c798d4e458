# SPDX-License-Identifier: Apache-2.0
"""Local clusters as their users have them: by command line and by the Python API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from berth.localcluster import ClusterSpec, LocalCluster, existing
from berth.localcluster.errors import ClusterExistsError, ComponentDiedError
from tests.support.kube import Kube, KubeError
from tests.support.manifests import claim, device_request, pod, template

pytestmark = pytest.mark.timeout(120)
STARTED = "export KUBECONFIG="


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for clusters that only this test has, empty again at its end."""
    with tempfile.TemporaryDirectory(prefix="berth-") as folder:
        monkeypatch.setenv("BERTH_STATE", folder)
        yield Path(folder)
        assert running_under(Path(folder)) == []
        assert sorted(Path(folder).rglob("*")) in ([], [Path(folder, "clusters")])


def running_under(folder: Path) -> list[str]:
    """The processes that name ``folder`` in their arguments; zombies have none."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


def berth(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "berth", "local", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def berth_json(*arguments: str) -> Any:
    done = berth(*arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Foreground:
    """``berth local up --foreground``, up when it is made."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "berth", "local", "up", "--foreground", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith(STARTED):
            raise AssertionError(self.process.communicate(timeout=60))
        self.kubeconfig = Path(line.strip().removeprefix(STARTED))

    def pid_of(self, component: str) -> int:
        record = json.loads((self.kubeconfig.parent / "cluster.json").read_text())
        return int(record["components"][component]["pid"])

    def end(self) -> tuple[int, str]:
        _, stderr = self.process.communicate(timeout=60)
        return self.process.returncode, stderr


def eventually(holds: Callable[[], object], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.1)


async def test_a_pod_with_a_claim_runs_through_the_stock_scheduler(
    kube: Kube, namespace: str
) -> None:
    await kube.create(template("one", device_request()), namespace)
    await kube.create(pod("user", templates=("one",)), namespace)
    running = await kube.wait_for(
        "pods", "user", lambda each: each["status"]["phase"] == "Running", namespace
    )
    (made,) = await kube.list("resourceclaims", namespace)
    (result,) = made["status"]["allocation"]["devices"]["results"]
    assert (result["driver"], result["pool"]) == ("gpu.example.com", running["spec"]["nodeName"])


async def test_a_service_account_token_opens_exactly_what_its_role_allows(
    kube: Kube, namespace: str
) -> None:
    await kube.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}, namespace
    )
    async with kube.as_token(await kube.token(namespace, "reader")) as reader:
        with pytest.raises(KubeError) as refused:
            await reader.list("pods", namespace)
    assert refused.value.status == 403
    assert f'User "system:serviceaccount:{namespace}:reader" cannot list' in refused.value.message


async def test_two_clusters_live_side_by_side_and_end_one_by_one(state: Path) -> None:
    first = berth_json("up", "--name", "one", "--nodes", "2", "--devices", "3")
    second = berth_json("up", "--name", "two", "--nodes", "1", "--devices", "130")
    assert berth_json("list") == [first, second]
    assert berth_json("status", "--name", "two") == second
    assert second["state"] == "running"
    assert list(second["components"]) == [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
    ]
    path = berth("kubeconfig", "--name", "one").stdout.strip()
    assert Path(path) == state / "clusters" / "one" / "kubeconfig"
    assert os.stat(path).st_mode & 0o777 == 0o600  # noqa: PTH116 - a path in text, in async code
    async with Kube.from_kubeconfig(path) as kube:
        assert [each["metadata"]["name"] for each in await kube.list("nodes")] == [
            "node-0",
            "node-1",
        ]
        slices = await kube.list("resourceslices")
        assert [len(each["spec"]["devices"]) for each in slices] == [3, 3]
    async with Kube.from_kubeconfig(second["kubeconfig"]) as kube:
        sizes = {len(each["spec"]["devices"]) for each in await kube.list("resourceslices")}
        assert sizes == {128, 2}
    again = berth("up", "--name", "one")
    assert again.returncode == 2
    assert again.stderr == (
        "cluster one: exists already: it is running\n\n"
        "hint: `berth local down --name one` removes it\n"
    )
    assert berth("down", "--name", "one").returncode == 0
    gone = berth("status", "--name", "one")
    assert (gone.returncode, gone.stderr) == (
        2,
        "cluster one: no such local cluster: existing ones: two\n",
    )
    assert berth_json("list") == [second]
    assert berth("down", "--all").returncode == 0


@pytest.mark.usefixtures("state")
def test_a_detached_cluster_reports_a_component_that_died_with_the_end_of_its_log() -> None:
    seen = berth_json("up", "--name", "hurt", "--nodes", "1")
    os.kill(seen["components"]["kube-scheduler"]["pid"], signal.SIGKILL)
    eventually(lambda: berth("status", "--name", "hurt").returncode == 1)
    done = berth("status", "--name", "hurt", "-o", "json")
    hurt = json.loads(done.stdout)
    assert done.returncode == 1
    assert hurt["state"] == "broken"
    assert [name for name, each in hurt["components"].items() if not each["running"]] == [
        "kube-scheduler"
    ]
    log = Path(hurt["components"]["kube-scheduler"]["log"]).read_text().splitlines()
    assert hurt["components"]["kube-scheduler"]["log_tail"].splitlines() == log[-20:]
    text = berth("status", "--name", "hurt").stdout
    assert "kube-scheduler: ended on its own" in text
    assert log[-1] in text
    assert berth("logs", "kube-scheduler", "--name", "hurt").stdout.splitlines() == log
    assert berth("down", "--name", "hurt").returncode == 0


def test_a_foreground_cluster_ends_at_once_and_says_which_component_died(state: Path) -> None:
    up = Foreground("--nodes", "1")
    os.kill(up.pid_of("kube-controller-manager"), signal.SIGKILL)
    code, stderr = up.end()
    assert code == 1
    assert (
        "cluster berth, component kube-controller-manager: ended on its own: killed by SIGKILL"
        in stderr
    )
    assert "the end of its log:\n" in stderr
    assert list((state / "clusters").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_foreground_cluster_without_a_trace(
    number: signal.Signals, state: Path
) -> None:
    up = Foreground("--nodes", "1")
    assert len(running_under(state)) == 6  # five components and the guard
    up.process.send_signal(number)
    assert up.end()[0] == 130
    assert running_under(state) == []
    assert list((state / "clusters").iterdir()) == []


def test_a_killed_holder_leaves_nothing_either(state: Path) -> None:
    up = Foreground("--nodes", "1")
    up.process.kill()
    up.end()
    eventually(lambda: running_under(state) == [])
    assert list((state / "clusters").iterdir()) == []


def test_down_ends_a_foreground_cluster_and_its_holder(state: Path) -> None:
    up = Foreground("--nodes", "1")
    assert berth("down").returncode == 0
    assert up.end()[0] == 0
    assert list((state / "clusters").iterdir()) == []


def test_a_start_that_is_killed_half_way_leaves_nothing(state: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "berth", "local", "up", "--nodes", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: any("kube-apiserver" in each for each in running_under(state)))
    process.kill()
    process.wait()
    eventually(lambda: running_under(state) == [])
    assert list((state / "clusters").iterdir()) == []


def test_a_refused_flag_is_reported_with_the_words_of_the_component(state: Path) -> None:
    done = berth("up", "--flag", "kube-apiserver=--no-such-flag=1")
    assert done.returncode == 1
    assert "cluster berth, component kube-apiserver: ended on its own: exit code 1" in done.stderr
    assert "unknown flag: --no-such-flag" in done.stderr
    assert list((state / "clusters").iterdir()) == []


@pytest.mark.usefixtures("state")
async def test_parts_can_be_left_out_and_gates_be_set() -> None:
    spec = ClusterSpec(
        name="bare",
        nodes=2,
        devices=2,
        without=frozenset({"kube-scheduler", "kwok", "resourceclaim-controller"}),
        feature_gates={"DRAPartitionableDevices": False},
        extra_flags={"kube-apiserver": ("--max-requests-inflight=123",)},
    )
    with LocalCluster.start(spec) as cluster:
        assert existing() == ("bare",)
        assert [each.name for each in cluster.components] == [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
        ]
        async with Kube.from_kubeconfig(cluster.kubeconfig) as kube:
            await kube.create(template("one", device_request()), "default")
            await kube.create(pod("user", templates=("one",)), "default")
            await kube.create(claim("direct", device_request()), "default")
            gate = await metric(kube, 'kubernetes_feature_enabled{name="DRAPartitionableDevices"')
            assert gate.endswith(" 0")
            # Nobody generates a claim, nobody binds the pod; waiting proves it no better.
            (waiting,) = await kube.list("pods", "default")
            assert "nodeName" not in waiting["spec"]
            assert [each["metadata"]["name"] for each in await kube.list("resourceclaims")] == [
                "direct"
            ]
            assert [each["spec"].get("taints") for each in await kube.list("nodes")] == [None, None]
        with pytest.raises(ClusterExistsError, match="exists already: it is running"):
            LocalCluster.start(spec)
        cluster.kill("etcd")
        with pytest.raises(ComponentDiedError) as died:
            cluster.check()
        assert (died.value.component, died.value.status) == ("etcd", "killed by SIGKILL")
    assert existing() == ()


async def metric(kube: Kube, start: str) -> str:
    try:
        answer = await kube.request("GET", "/metrics")
    except KubeError as error:
        answer = error.body
    (line,) = (each for each in answer["message"].splitlines() if each.startswith(start))
    return str(line)
