# SPDX-License-Identifier: Apache-2.0
"""``berth audit`` on files: exit codes, forms of output, what files cannot tell, bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from berth.cli import app

FINALIZER = "resource.kubernetes.io/delete-protection"
AT = "2026-11-24T12:00:00Z"


def audit(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], input=stdin)


def a_claim(name: str, *devices: str, namespace: str = "ml", **metadata: Any) -> dict[str, Any]:
    results = [
        {"request": "gpu", "driver": "gpu.example.com", "pool": "node-1", "device": device}
        for device in devices
    ]
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{name}",
            "finalizers": [FINALIZER],
            **metadata,
        },
        "spec": {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu"}}]}},
        "status": {
            "allocation": {
                "devices": {"results": results},
                "allocationTimestamp": "2026-11-24T10:00:00Z",
            },
            "reservedFor": [{"resource": "pods", "name": "p", "uid": "uid-of-p"}],
        },
    }


def the_rest() -> list[dict[str, Any]]:
    return [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ml"}},
        {
            "apiVersion": "berth.dev/v1alpha1",
            "kind": "AllocationPolicy",
            "metadata": {"name": "all"},
            "spec": {},
        },
        {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "node-1"},
            "spec": {
                "driver": "gpu.example.com",
                "nodeName": "node-1",
                "pool": {"name": "node-1", "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "gpu-0"}, {"name": "gpu-1"}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p", "namespace": "ml", "uid": "uid-of-p"},
            "spec": {"containers": [], "nodeName": "node-1"},
            "status": {"phase": "Running"},
        },
    ]


def dump(*objects: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def test_a_sound_dump_ends_with_0() -> None:
    result = audit("-", "--at", AT, stdin=dump(*the_rest(), a_claim("a", "gpu-0")))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "nothing is wrong: 1 of 1 claims are allocated\n"


def test_what_is_wrong_is_told_by_severity_with_objects_evidence_and_remedy() -> None:
    wrong = [a_claim("a", "gpu-0"), a_claim("b", "gpu-0", finalizers=[])]

    result = audit("-", "--at", AT, stdin=dump(*the_rest(), *wrong))

    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == (
        "1 error\n"
        "  DeviceHeldTwice device gpu.example.com/node-1/gpu-0: held by 2 claims: ml/a, ml/b\n"
        "    claim ml/a (uid uid-of-a)\n"
        "    claim ml/b (uid uid-of-b)\n"
        "    remedy: delete the pods of all but one of the claims, best of those that do not run "
        "yet, so that their claims are freed and allocated anew\n"
        "1 warning\n"
        "  FinalizerMissing claim ml/b: allocated without finalizer "
        "resource.kubernetes.io/delete-protection: kube-controller-manager does not free it, and "
        "a deletion does not wait for its pods\n"
        "    claim ml/b (uid uid-of-b)\n"
        "    remedy: add the finalizer; `berth audit --repair` does\n"
        "    --repair: add finalizer resource.kubernetes.io/delete-protection to claim ml/b\n"
        "2 of 2 claims are allocated\n"
    )


def test_json_and_yaml_say_the_same() -> None:
    text = dump(*the_rest(), a_claim("a", "gpu-0", "gpu-9"))

    as_json = audit("-", "-o", "json", stdin=text)
    as_yaml = audit("-", "-o", "yaml", stdin=text)

    assert (as_json.exit_code, as_yaml.exit_code) == (1, 1)
    data = json.loads(as_json.stdout)
    assert data == yaml.safe_load(as_yaml.stdout)
    assert {key: data[key] for key in ("version", "source", "notJudged", "repairs")} == {
        "version": "berth.dev/audit/v1",
        "source": "standard input",
        "notJudged": [],
        "repairs": [],
    }
    (finding,) = data["findings"]
    assert sorted(finding) == ["evidence", "kind", "objects", "remedy", "repair", "severity"]
    assert finding["kind"] == "DeviceNotPublished"


def test_what_a_partial_dump_cannot_tell_is_said() -> None:
    claim = a_claim("a", "gpu-0")

    partial = audit("-", stdin=dump(claim))
    complete = audit("-", "--complete", "-o", "json", stdin=dump(claim))

    assert partial.exit_code == 0
    assert (
        "note: standard input: no Pod: not judged: consumers and finished pods; `--complete` says "
        "that there are none\n"
    ) in partial.stderr
    assert (complete.exit_code, complete.stderr) == (1, "")
    assert [each["kind"] for each in json.loads(complete.stdout)["findings"]] == [
        "DeviceNotPublished",
        "StaleConsumer",
    ]


def test_only_the_namespace_that_was_asked_for_counts() -> None:
    text = dump(*the_rest(), a_claim("a", "gpu-0", finalizers=[]))

    assert audit("-", "-n", "ml", stdin=text).exit_code == 1
    assert audit("-", "-n", "web", stdin=text).exit_code == 0


def test_ages_count_up_to_the_time_of_the_dump() -> None:
    claim = a_claim("a", "gpu-0")
    claim["status"]["reservedFor"] = []
    text = dump(*the_rest(), claim)

    assert audit("-", "--at", "2026-11-24T10:09:59Z", stdin=text).exit_code == 0
    late = audit("-", "--at", "2026-11-24T10:10:00Z", stdin=text)
    assert late.exit_code == 1
    assert "UnusedAllocation claim ml/a: allocated without a consumer for 10 minutes" in late.stdout


def test_who_wrote_an_allocation_is_read_from_the_managed_fields() -> None:
    def entry(manager: str, *fields: str) -> dict[str, Any]:
        return {
            "manager": manager,
            "operation": "Update",
            "subresource": "status",
            "fieldsV1": {"f:status": {f"f:{name}": {} for name in fields}},
        }

    strange = [entry("slurm-bridge", "allocation"), entry("kube-scheduler", "reservedFor")]
    known = [entry("slurm-bridge", "reservedFor"), entry("berth", "allocation")]

    found = audit("-", stdin=dump(*the_rest(), a_claim("a", "gpu-0", managedFields=strange)))
    sound = audit("-", stdin=dump(*the_rest(), a_claim("a", "gpu-0", managedFields=known)))

    assert (found.exit_code, sound.exit_code) == (1, 0)
    assert "ForeignWriter claim ml/a" in found.stdout
    assert "field manager `slurm-bridge`" in found.stdout


def test_names_from_a_dump_cannot_write_to_the_terminal() -> None:
    claim = a_claim("a", "gpu-0")
    claim["status"]["reservedFor"] = [
        {"resource": "pods", "name": "\x1b]0;owned\x07\u202e", "uid": "\x1b[2J"}
    ]

    result = audit("-", stdin=dump(*the_rest(), claim))

    assert result.exit_code == 1
    assert r"\x1b]0;owned\x07\u202e" in result.stdout
    assert all(line.isprintable() for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("FILE", "--repair"), "berth audit: `--repair` works on the live cluster only"),
        (("FILE", "--yes"), "berth audit: `--yes` needs `--repair`"),
        (("FILE", "--at", "noon"), "berth audit: `--at noon`: expected a time like 2026-11-24T"),
        (("absent.json",), "absent.json: cannot be read: No such file or directory"),
    ],
)
def test_bad_input_ends_with_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    file = tmp_path / "dump.json"
    file.write_text(dump(a_claim("a", "gpu-0")))

    result = audit(*(str(file) if each == "FILE" else each for each in arguments))

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
