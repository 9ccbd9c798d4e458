# SPDX-License-Identifier: Apache-2.0
"""The rules of the repository hold, and each check finds the mistake that it is for."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import repository

ROOT = Path(__file__).parents[2]
CHECKS: tuple[Callable[[Path], list[str]], ...] = (
    repository.source_root_is_a_package,
    repository.modules_beyond_limit,
    repository.packages_without_init,
    repository.files_without_licence,
    repository.modules_without_docstring,
    repository.leaks,
    repository.dead_links,
    repository.unlisted_pages,
    repository.broken_contracts,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rule_holds(check: Callable[[Path], list[str]]) -> None:
    assert check(ROOT) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the checks look at to a folder where mistakes may be planted."""
    without_caches = shutil.ignore_patterns("__pycache__")
    for folder in ("operator", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=without_caches)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_a_package_marker_in_the_source_root_is_found(copy: Path) -> None:
    (copy / "operator" / "__init__.py").write_text("", encoding="utf-8")

    assert repository.source_root_is_a_package(copy) == [
        "operator/__init__.py: `operator/` is a source root, never a package"
    ]


def test_a_package_marker_in_the_source_root_breaks_python_itself(copy: Path) -> None:
    (copy / "operator" / "__init__.py").write_text("", encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-S", "-c", "import collections"],
        cwd=copy,
        env={"PYTHONPATH": str(copy)},
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode != 0
    assert "operator" in done.stderr


def test_a_module_that_outgrows_the_limit_is_found(copy: Path) -> None:
    module = copy / "operator" / "berth" / "engine" / "outgrown.py"
    module.write_text('"""Grows."""\n' + "GROWN = 1\n" * 400, encoding="utf-8")

    assert repository.modules_beyond_limit(copy) == [
        "operator/berth/engine/outgrown.py: 401 lines, at most 400: split it by concept"
    ]


def test_a_folder_of_modules_without_a_marker_is_found(copy: Path) -> None:
    (copy / "operator" / "berth" / "engine" / "__init__.py").unlink()

    assert repository.packages_without_init(copy) == ["operator/berth/engine: no `__init__.py`"]


def test_a_file_without_the_licence_tag_is_found(copy: Path) -> None:
    module = copy / "operator" / "berth" / "quantity.py"
    module.write_text('"""No licence."""\n', encoding="utf-8")

    assert repository.files_without_licence(copy) == [
        "operator/berth/quantity.py: the first line is not `# SPDX-License-Identifier: Apache-2.0`"
    ]


def test_a_module_that_does_not_say_what_it_decides_is_found(copy: Path) -> None:
    module = copy / "operator" / "berth" / "quantity.py"
    module.write_text("# SPDX-License-Identifier: Apache-2.0\nX = 1\n", encoding="utf-8")

    assert repository.modules_without_docstring(copy) == [
        "operator/berth/quantity.py: no docstring that says what the module decides"
    ]


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("see https://py" + "pi.org/simple", "registry `py" + "pi.org`"),
        ("pip install --index" + "-url x", "registry `--index" + "-url`"),
        ("cd /wo" + "rk/main", "path of one machine `/wo" + "rk/`"),
        ('open("/ro' + 'ot/.kube/config")', "path of one machine `/ro" + "ot/`"),
        ("cp x /ho" + "me/ada/bin", "path of one machine `/ho" + "me/ada/`"),
    ],
)
def test_a_registry_or_a_path_of_one_machine_is_found(tmp_path: Path, line: str, want: str) -> None:
    (tmp_path / "page.md").write_text(f"first\n{line}\n", encoding="utf-8")

    assert repository.leaks(tmp_path) == [f"page.md:2: {want}"]


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# The `whole` page\n[no file](absent.md) [no heading](#absent) [ok](#the-whole-page)\n"
        "[out](https://kubernetes.io/absent)\n```\n[in code](absent.md)\n```\n",
        encoding="utf-8",
    )

    assert repository.dead_links(tmp_path) == [
        "page.md: link `absent.md`: no such file",
        "page.md: link `#absent`: no such heading",
    ]


def test_a_page_that_the_index_forgets_is_found(copy: Path) -> None:
    (copy / "docs" / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")

    assert repository.unlisted_pages(copy) == [
        "docs/forgotten.md: `docs/index.md` does not lead here"
    ]


@pytest.mark.parametrize(
    ("module", "line", "want"),
    [
        ("model/claims.py", "from berth.engine import outcomes", "berth.model is not allowed"),
        ("state/planted.py", "import berth.explain", "berth.state is not allowed to import"),
        ("engine/planted.py", "import time", "berth.engine is not allowed to import time"),
        ("codec/planted.py", "import kopf", "berth.codec is not allowed to import kopf"),
        ("localcluster/planted.py", "import berth.controller", "berth.localcluster is not allowed"),
        ("stray.py", "X = 1", "berth.stray"),
    ],
    ids=[
        "a lower layer imports a higher one",
        "siblings know each other",
        "the core reads the clock",
        "Kopf outside the controller",
        "the local cluster knows the controller",
        "a module without a layer",
    ],
)
def test_a_crossed_layer_is_found(copy: Path, module: str, line: str, want: str) -> None:
    with (copy / "operator" / "berth" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")

    findings = repository.broken_contracts(copy)

    assert want in "".join(findings), findings
