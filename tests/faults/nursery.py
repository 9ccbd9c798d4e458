# SPDX-License-Identifier: Apache-2.0
"""Starts replicas quickly: a process that has imported everything, and forks.

Each child is a process of its own that runs ``python -m MODULE ARGUMENTS`` with its own
environment and log; only the seconds that imports take are saved. Commands come as lines of JSON
on stdin, answers and exits go out as lines of JSON. When stdin ends, every child is killed.
"""

from __future__ import annotations

import gc
import os
import runpy
import selectors
import signal
import sys
import traceback
from typing import Any

import orjson


def _child(command: dict[str, Any]) -> None:
    log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 256)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.environ.clear()
    os.environ.update(command["environment"])
    sys.argv = [command["module"], *command["arguments"]]
    code = 0
    try:
        runpy.run_module(command["module"], run_name="__main__", alter_sys=True)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(bool(leaving.code))
    except BaseException:  # noqa: BLE001 - whatever ended it belongs into its log
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(**answer: object) -> None:
    os.write(1, orjson.dumps(answer) + b"\n")


def _reap(children: set[int]) -> None:
    while children:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)
        _say(exited=pid, code=os.waitstatus_to_exitcode(status))


def main() -> None:
    """Serve until stdin ends."""
    import uvloop  # noqa: F401 - the same

    import berth.controller.app  # noqa: F401 - what takes seconds

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: set[int] = set()
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(reader, selectors.EVENT_READ)
    gc.freeze()
    _say(ready=True)
    rest = b""
    while True:
        for key, _ in selector.select():
            data = os.read(key.fd, 65536)
            if key.fd == reader:
                continue
            if not data:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                command = orjson.loads(line)
                pid = os.fork()
                if pid == 0:
                    _child(command)
                children.add(pid)
                _say(started=pid)
        _reap(children)


if __name__ == "__main__":
    main()
