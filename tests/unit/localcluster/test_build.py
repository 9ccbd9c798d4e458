# SPDX-License-Identifier: Apache-2.0
"""Which programs are built, under which key, and what a failed build says.

The builds themselves are of a tiny module of our own, with the real Go.
"""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from berth.localcluster import build, paths, programs, toolchain
from berth.localcluster.errors import BuildError, InvalidClusterSpecError
from berth.localcluster.programs import Program
from berth.localcluster.progress import Silent

GO_MOD = "module example.com/tiny\n\ngo 1.21\n"


class Noted(Silent):
    """Notes what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.finished: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def build_finished(self, name: str, seconds: float) -> None:
        assert seconds > 0
        self.finished.append(name)


def tiny(folder: Path, source: str) -> Program:
    folder.mkdir()
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "main.go").write_text(source)
    return Program("tiny", "v1.0.0", "example.com/tiny", folder, "0" * 64, "-s -w")


def test_the_pinned_programs_are_those_of_the_release() -> None:
    plane = programs.control_plane(paths.tools_root(), "1.37")
    assert [(each.name, each.version) for each in plane] == [
        ("etcd", "v3.7.3"),
        ("kube-apiserver", "v1.37.2"),
        ("kube-controller-manager", "v1.37.2"),
        ("kube-scheduler", "v1.37.2"),
        ("kwok", "v0.8.0"),
    ]
    assert plane[1].ldflags == (
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2"
        " -X k8s.io/component-base/version.gitMajor=1"
        " -X k8s.io/component-base/version.gitMinor=37"
    )
    assert len({each.key for each in plane}) == 5


def test_an_unpinned_release_is_refused_with_the_pinned_ones() -> None:
    with pytest.raises(InvalidClusterSpecError) as refused:
        programs.control_plane(paths.tools_root(), "1.2")
    known = ", ".join(programs.releases(paths.tools_root()))
    assert str(refused.value) == (f"kubernetes 1.2: no such release is pinned: known ones: {known}")


def test_releases_are_sorted_as_numbers(tmp_path: Path) -> None:
    for release in ("1.37", "1.9", "1.36"):
        (tmp_path / f"kubernetes-{release}").mkdir()
    assert programs.releases(tmp_path) == ("1.9", "1.36", "1.37")


def test_another_pinned_byte_is_another_key(tmp_path: Path) -> None:
    module = tmp_path / "helm"
    module.mkdir()
    (module / "go.mod").write_text("require helm.sh/helm/v4 v4.3.1\n")
    (module / "go.sum").write_text("a\n")
    before = programs.helm(tmp_path)
    (module / "go.sum").write_text("b\n")
    assert before.key.startswith("helm-v4.3.1-")
    assert programs.helm(tmp_path).key != before.key


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 linux/arm64", (1, 27)),
        ("", None),
    ],
)
def test_a_toolchain_says_its_version(text: str, want: tuple[int, int] | None) -> None:
    assert toolchain.parse_version(text) == want


def test_a_program_is_built_once_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    program = tiny(tmp_path / "tiny", 'package main\n\nfunc main() { println("hello") }\n')
    cache, noted = tmp_path / "cache", Noted()
    built = build.ensure([program], cache, noted)
    assert built == {"tiny": cache / "bin" / "tiny-v1.0.0-000000000000" / "tiny"}
    assert build.ensure([program], cache, noted) == built
    assert noted.finished == ["tiny"]
    assert [each.name for each in (cache / "bin").iterdir()] == ["tiny-v1.0.0-000000000000"]


def test_a_failed_build_shows_what_the_compiler_said_and_keeps_nothing(tmp_path: Path) -> None:
    program = tiny(tmp_path / "tiny", "package main\n\nfunc main() { nonsense() }\n")
    cache = tmp_path / "cache"
    with pytest.raises(BuildError) as failed:
        build.ensure([program], cache, Silent())
    assert failed.value.program == "tiny"
    assert "main.go:3:15: undefined: nonsense" in failed.value.tail
    assert list((cache / "bin").iterdir()) == []


def test_a_second_process_waits_for_the_first_and_says_so(tmp_path: Path) -> None:
    program = tiny(tmp_path / "tiny", "package main\n\nfunc main() {}\n")
    cache, noted = tmp_path / "cache", Noted()
    cache.mkdir()
    with (cache / "build.lock").open("w") as lock:
        lock.write("12345")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=build.ensure, args=([program], cache, noted))
        second.start()
        while not noted.said:
            assert second.is_alive()
        assert noted.finished == []
    second.join()
    assert noted.said == ["another process (pid 12345) is building: waiting for it"]
    assert noted.finished == ["tiny"]
