# SPDX-License-Identifier: Apache-2.0
"""Helm, built from its pinned Go module like the control plane, and run with a throw-away home.

Nothing of the user's own Helm or kubectl is read or written; above all not kubectl's cache of what
an API server serves, because another cluster may have had the same address.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from berth.localcluster.build import ensure
from berth.localcluster.errors import LocalClusterError
from berth.localcluster.paths import cache_root, tools_root
from berth.localcluster.programs import helm
from berth.localcluster.progress import Progress, Silent

HELM_SECONDS = 180


class HelmError(LocalClusterError):
    """Helm failed; ``output`` is all that it printed."""

    def __init__(self, command: str, output: str) -> None:
        self.output = output
        super().__init__(f"helm {command}: failed: {output.strip()}")


def run_helm(
    *arguments: str,
    kubeconfig: Path | None = None,
    stdin: str = "",
    progress: Progress | None = None,
) -> str:
    """Run Helm and return what it printed to stdout.

    Args:
        arguments: The command and its options.
        kubeconfig: Whose rights to use; without it Helm can reach no cluster.
        stdin: What Helm reads from its input.
        progress: Where it is told that Helm is being built, if it is.

    Raises:
        HelmError: If Helm refuses; with its text.
        BuildError: If Helm cannot be built.
    """
    binary = ensure([helm(tools_root())], cache_root(), progress or Silent())["helm"]
    with tempfile.TemporaryDirectory(prefix="berth-helm-") as home:
        done = subprocess.run(
            [binary, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "KUBECACHEDIR": home,
                "KUBECONFIG": str(kubeconfig or Path(home) / "none"),
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=HELM_SECONDS,
            check=False,
        )
    if done.returncode:
        raise HelmError(arguments[0], done.stdout + done.stderr)
    return done.stdout
