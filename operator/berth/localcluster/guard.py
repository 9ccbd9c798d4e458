# SPDX-License-Identifier: Apache-2.0
"""The process that outlives whoever holds a cluster, and ends the cluster when that one is gone.

It waits on a pipe whose other end only the holder has: the end of the file means that the holder
is gone, however it died. One byte before that means that nothing is left to do. Run as ``python
-m berth.localcluster.guard FOLDER``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from berth.localcluster.stop import stop

DONE = b"d"


class Guard:
    """The holder's side."""

    def __init__(self, folder: Path) -> None:
        """Start the process that guards the cluster of ``folder``."""
        with (folder / "guard.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "berth.localcluster.guard", str(folder)],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """End the guard and leave the cluster alone; once is enough, more does no harm."""
        if self._process.returncode is not None:
            return
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        try:
            pipe.write(DONE)
            pipe.close()
        except BrokenPipeError:
            pass  # somebody killed it: then it guards nothing
        self._process.wait()


def main(arguments: list[str]) -> int:
    """Guard one cluster until its holder is gone or says that it is done."""
    # The holder's terminal and session end with the holder; the guard must not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() != DONE:
        stop(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
