# SPDX-License-Identifier: Apache-2.0
"""Every example is whole: manifests in a namespace of its own, a README, a line in the overview."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/example.yaml"))
SECTIONS = ["## What it needs", "## Commands", "## What happens"]


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name / "example.yaml").read_text(encoding="utf-8")))


def test_every_folder_is_an_example_in_the_overview() -> None:
    overview = (EXAMPLES / "README.md").read_text(encoding="utf-8")

    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == NAMES
    assert [name for name in NAMES if f"| [{name}]({name}/README.md) |" not in overview] == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_lives_in_a_namespace_that_berth_is_for(name: str) -> None:
    first, *others = manifests(name)

    assert first == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": f"example-{name}",
            "labels": {"berth.dev/allocate": "enabled"},
        },
    }
    assert {each["metadata"]["namespace"] for each in others} == {f"example-{name}"}


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_says_what_is_needed_typed_and_seen(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")

    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert f"kubectl apply -f examples/{name}/example.yaml" in text
    assert f"kubectl delete -f examples/{name}/example.yaml" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_pod_refers_only_to_claims_and_templates_of_its_example(name: str) -> None:
    objects = manifests(name)
    there = {(each["kind"], each["metadata"]["name"]) for each in objects}
    specs = [each["spec"] for each in objects if each["kind"] == "Pod"]
    specs += [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]

    assert specs
    for spec in specs:
        references = {
            reference["name"]: (
                ("ResourceClaim", reference["resourceClaimName"])
                if "resourceClaimName" in reference
                else ("ResourceClaimTemplate", reference["resourceClaimTemplateName"])
            )
            for reference in spec["resourceClaims"]
        }
        used = {
            claim["name"]
            for container in spec["containers"]
            for claim in container["resources"]["claims"]
        }
        assert used == set(references)
        assert set(references.values()) <= there
