# SPDX-License-Identifier: Apache-2.0
"""Checks of the repository as a whole; each takes a root folder and returns what is wrong there.

A check never stops at the first finding, and an empty list means that the rule holds. They take the
root as an argument so that tests can prove, on a copy with a planted mistake, that each can fail.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MODULE_LIMIT = 400
SPDX = "# SPDX-License-Identifier: Apache-2.0"
IGNORED_FOLDERS = {
    ".git",
    ".hypothesis",
    ".import_linter_cache",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".run",
    ".venv",
    "__pycache__",
    "build",
    "dist",
}
# In pieces, so that this file is not its own finding.
PACKAGE_HOSTS = (
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "proxy.golang" + ".org",
    "sum.golang" + ".org",
    "npmjs" + ".org",
    "--index" + "-url",
    "--extra-index" + "-url",
)
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:work|root|home/\w+)/")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def files_below(root: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the files below ``root`` with one of ``suffixes`` (all without any), in stable order.

    Inside a git repository only files that git tracks, or would, count.
    """
    for path in sorted(_candidates(root)):
        if path.is_file() and (not suffixes or path.suffix in suffixes):
            yield path


def _candidates(root: Path) -> Iterable[Path]:
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            check=True,
            capture_output=True,
        ).stdout
        return {root / os.fsdecode(name) for name in listed.split(b"\0") if name}
    return (
        path
        for path in root.rglob("*")
        if not IGNORED_FOLDERS.intersection(path.relative_to(root).parts)
    )


def source_root_is_a_package(root: Path) -> list[str]:
    """Find an ``__init__.py`` in ``operator/``: it would hide Python's own ``operator`` module."""
    return [
        f"{path.relative_to(root)}: `operator/` is a source root, never a package"
        for path in sorted((root / "operator").glob("__init__.py*"))
    ]


def modules_beyond_limit(root: Path, limit: int = MODULE_LIMIT) -> list[str]:
    """Find modules of berth with more than ``limit`` lines."""
    findings = []
    for path in files_below(root, ".py"):
        if path.is_relative_to(root / "operator"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > limit:
                findings.append(
                    f"{path.relative_to(root)}: {lines} lines, at most {limit}: split it by concept"
                )
    return findings


def packages_without_init(root: Path) -> list[str]:
    """Find folders of berth that hold modules but no ``__init__.py``: a wheel would miss them."""
    folders = {
        path.parent
        for path in files_below(root, ".py")
        if path.is_relative_to(root / "operator" / "berth")
    }
    return [
        f"{folder.relative_to(root)}: no `__init__.py`"
        for folder in sorted(folders)
        if not (folder / "__init__.py").exists()
    ]


def files_without_licence(root: Path) -> list[str]:
    """Find Python files whose first line is not the SPDX tag."""
    return [
        f"{path.relative_to(root)}: the first line is not `{SPDX}`"
        for path in files_below(root, ".py")
        if not path.read_text(encoding="utf-8").startswith(SPDX + "\n")
    ]


def modules_without_docstring(root: Path) -> list[str]:
    """Find modules of berth that do not say what they decide."""
    return [
        f"{path.relative_to(root)}: no docstring that says what the module decides"
        for path in files_below(root, ".py")
        if path.is_relative_to(root / "operator")
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]


def leaks(root: Path) -> list[str]:
    """Find package registries and paths of one machine in any text file."""
    findings = []
    for path in files_below(root):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # binary data has no lines to leak by
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{path.relative_to(root)}:{number}"
            findings += [f"{where}: registry `{host}`" for host in PACKAGE_HOSTS if host in line]
            if match := MACHINE_PATH.search(line):
                findings.append(f"{where}: path of one machine `{match.group()}`")
    return findings


def anchor(heading: str) -> str:
    """Return the anchor that a Markdown ``heading`` gets, as the usual renderers make it."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def dead_links(root: Path) -> list[str]:
    """Find links between Markdown files of the repository that lead nowhere."""
    findings = []
    for page in files_below(root, ".md"):
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, fragment = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            where = f"{page.relative_to(root)}: link `{target}`"
            if not path.exists():
                findings.append(f"{where}: no such file")
            elif fragment and path.suffix == ".md":
                headings = HEADING.findall(FENCE.sub("", path.read_text(encoding="utf-8")))
                if fragment not in map(anchor, headings):
                    findings.append(f"{where}: no such heading")
    return findings


def unlisted_pages(root: Path) -> list[str]:
    """Find pages of ``docs/`` that ``docs/index.md`` does not link to."""
    index = root / "docs" / "index.md"
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for target in LINK.findall(index.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target)
    }
    return [
        f"{page.relative_to(root)}: `docs/index.md` does not lead here"
        for page in files_below(root, ".md")
        if page.is_relative_to(root / "docs") and page != index and page.resolve() not in linked
    ]


def broken_contracts(root: Path) -> list[str]:
    """Run the import contracts of ``root``'s own ``pyproject.toml`` over ``root``'s own modules.

    Returns:
        The report of import-linter as one finding, nothing where every contract is kept.
    """
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "operator")},
        check=False,
        capture_output=True,
        text=True,
    )
    return [] if done.returncode == 0 else [done.stdout + done.stderr]
