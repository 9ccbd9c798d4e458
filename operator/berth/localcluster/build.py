# SPDX-License-Identifier: Apache-2.0
"""Builds the programs of a control plane, once per computer.

A program lies in the cache under a key made of its name, version and the hash of what pins it. A
build happens beside that place and is renamed into it, so that an interrupted one leaves nothing
half-made; a file lock keeps two processes from building at once. It never starts what it built.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

from berth.localcluster import toolchain
from berth.localcluster.errors import BuildError
from berth.localcluster.processes import tail_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from berth.localcluster.programs import Program
    from berth.localcluster.progress import Progress

LOG_TAIL_LINES = 25
STAGE_FOLDERS = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
"""Of kwok's module: nodes become Ready and stay so, pods become Running."""


def binary_of(program: Program, cache: Path) -> Path:
    """Return where the built program lies, built or not."""
    return cache / "bin" / program.key / program.name


def stages_of(program: Program, cache: Path) -> tuple[Path, ...]:
    """Return kwok's stage files, kept when it was built, in a stable order."""
    return tuple(sorted((cache / "bin" / program.key / "stages").glob("*.yaml")))


def ensure(programs: Sequence[Program], cache: Path, progress: Progress) -> Mapping[str, Path]:
    """Return program name → binary, after building what is missing.

    Raises:
        BuildError: If there is no usable Go, or a build fails; it carries the end of the log.
    """
    if _missing(programs, cache):
        with _lock(cache, progress):
            missing = _missing(programs, cache)
            if missing:
                _build_all(missing, cache, progress)
    return {each.name: binary_of(each, cache) for each in programs}


def _missing(programs: Sequence[Program], cache: Path) -> list[Program]:
    return [each for each in programs if not binary_of(each, cache).is_file()]


def _build_all(missing: Sequence[Program], cache: Path, progress: Progress) -> None:
    for leftover in (cache / "bin").glob(".building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    durations = _durations(cache)
    with progress.building(
        [(each.name, each.version, durations.get(each.name)) for each in missing]
    ):
        go = toolchain.find_go(cache)
        if go is None:
            progress.say("no Go 1.26 or newer in PATH: installing one into the cache")
            go = toolchain.install_go(cache)
        for program in missing:
            began = time.monotonic()
            progress.build_started(program.name)
            _build(program, go, cache, progress)
            took = time.monotonic() - began
            progress.build_finished(program.name, took)
            _remember(cache, program.name, took)


def _build(program: Program, go: Path, cache: Path, progress: Progress) -> None:
    log = cache / "logs" / f"build-{program.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=_made(cache / "bin")) as folder:
        place = os.path.join(folder, program.key)  # noqa: PTH118 - a str, for the command line
        command = [
            *(str(go), "build", "-v", "-p", "2", "-mod=readonly", "-buildvcs=false", "-trimpath"),
            *("-ldflags", program.ldflags, "-o", f"{place}/{program.name}", program.package),
        ]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=program.module,
                env=_environment(go),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Of its own, so that Ctrl-C reaches Go through us, once, and we can wait for it.
                start_new_session=True,
            )
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    progress.build_progressed(program.name, _packages(log))
            except BaseException:
                _stop_group(process)
                raise
        if process.returncode:
            detail = f"`go build` exited with {process.returncode}, log in {log}"
            raise BuildError(program.name, detail, tail_of(log, LOG_TAIL_LINES))
        if program.stages_of:
            _keep_stages(program, go, f"{place}/stages")
        target = binary_of(program, cache).parent
        shutil.rmtree(target, ignore_errors=True)
        os.rename(place, target)  # noqa: PTH104 - a str, see above


def _stop_group(process: subprocess.Popen[bytes]) -> None:
    for sign, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)
            return


def _keep_stages(program: Program, go: Path, place: str) -> None:
    answer = subprocess.run(
        [str(go), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", program.stages_of],
        cwd=program.module,
        env=_environment(go),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        raise BuildError(program.name, f"its module is not found: {answer.stderr.strip()}")
    os.mkdir(place)  # noqa: PTH102 - a str, for the command line
    for folder in STAGE_FOLDERS:
        source = os.path.join(answer.stdout.strip(), "kustomize", "stage", folder)  # noqa: PTH118
        for name in sorted(os.listdir(source)):  # noqa: PTH208
            if name.endswith(".yaml") and name != "kustomization.yaml":
                # Not with the mode: files of the module cache are read-only.
                shutil.copyfile(f"{source}/{name}", f"{place}/{name}")


def _environment(go: Path) -> dict[str, str]:
    return {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "",
        "PATH": f"{go.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


def _packages(log: Path) -> int:
    """Return how many packages were compiled: ``go build -v`` prints one a line."""
    with log.open("rb") as file:
        return sum(1 for line in file if not line.startswith(b"go: "))


@contextlib.contextmanager
def _lock(cache: Path, progress: Progress) -> Iterator[None]:
    path = _made(cache) / "build.lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            progress.say(f"another process (pid {holder}) is building: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _durations(cache: Path) -> dict[str, float]:
    try:
        known = json.loads((cache / "durations.json").read_text())
        return {str(name): float(seconds) for name, seconds in known.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # only a hint for the reader: a build without it is as good


def _remember(cache: Path, name: str, seconds: float) -> None:
    known = {**_durations(cache), name: round(seconds, 1)}
    (cache / "durations.json").write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
