# SPDX-License-Identifier: Apache-2.0
"""The fault lane's checker finds each violation in a history made by hand, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import GATE, PROTECTION, check
from tests.faults.history import (
    ADDED,
    DELETED,
    END,
    GAP,
    LISTED,
    MODIFIED,
    Entry,
    History,
    Json,
    Write,
)

NODE = "node-1"


def result(device: str, **fields: Any) -> Json:
    return {
        "request": "gpu",
        "driver": "gpu.example.com",
        "pool": NODE,
        "device": device,
        **fields,
    }


def claim(
    name: str,
    *results: Json,
    uid: str = "",
    by: str = "berth",
    protected: bool = True,
    users: tuple[str, ...] = (),
) -> Json:
    metadata: Json = {"namespace": "ml", "name": name, "uid": uid or f"uid-{name}"}
    if protected:
        metadata["finalizers"] = [PROTECTION]
    status: Json = {}
    if results:
        status["allocation"] = {"devices": {"results": list(results)}}
        fields: Json = {"f:status": {"f:allocation": {}}}
        metadata["managedFields"] = [
            {"manager": by, "subresource": "status", "time": "2026-01-01", "fieldsV1": fields}
        ]
    if users:
        status["reservedFor"] = [{"resource": "pods", "name": u, "uid": f"uid-{u}"} for u in users]
    return {"metadata": metadata, "spec": {}, "status": status}


def pod(
    name: str,
    *claims: str,
    gated: bool = False,
    node: str = "",
    phase: str = "Pending",
    template: str | None = None,
) -> Json:
    spec: Json = {"resourceClaims": [{"name": c, "resourceClaimName": c} for c in claims]}
    status: Json = {"phase": phase}
    if template is not None:
        spec["resourceClaims"].append({"name": "t", "resourceClaimTemplateName": "one"})
        if template:
            status["resourceClaimStatuses"] = [{"name": "t", "resourceClaimName": template}]
    if gated:
        spec["schedulingGates"] = [{"name": GATE}]
    if node:
        spec["nodeName"] = node
    metadata = {"namespace": "ml", "name": name, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": spec, "status": status}


def lease(holder: str) -> Json:
    metadata = {"namespace": "berth-system", "name": "berth", "uid": "uid-lease"}
    return {"metadata": metadata, "spec": {"holderIdentity": holder} if holder else {}}


class Made:
    """A history in the making; each event has the next version, and is a second later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[bytes] = []
        self.version = 10

    def add(self, kind: str, event: str, raw: Json) -> int:
        self.version += 1
        metadata = {**raw["metadata"], "resourceVersion": str(self.version)}
        entry = Entry(kind, event, self.version, float(self.version), {**raw, "metadata": metadata})
        self.lines.append(entry.to_line())
        return self.version

    def claim(self, raw: Json, event: str = MODIFIED) -> int:
        return self.add("resourceclaims", event, raw)

    def pod(self, raw: Json, event: str = MODIFIED) -> int:
        return self.add("pods", event, raw)

    def lease(self, holder: str) -> int:
        return self.add("leases", MODIFIED, lease(holder))

    def mark(self, mark: str, detail: str = "") -> bytes:
        return Entry("", mark, 0, 0.0, {"detail": detail}).to_line()

    def found(self, writes: Iterable[Write] = (), *, end: bool = True) -> list[str]:
        self.path.write_bytes(b"".join(self.lines) + (self.mark(END) if end else b""))
        return [str(each) for each in check(History(self.path), writes).findings]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "history.jsonl")


# --- overlaps


def test_a_device_that_passes_from_one_claim_to_the_next_is_no_overlap(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("a"))
    made.claim(claim("b", result("gpu-0")))
    made.claim(claim("b", result("gpu-0")), DELETED)
    made.claim(claim("c", result("gpu-0"), result("gpu-1")))
    assert made.found() == []


def test_a_device_in_two_claims_is_found_with_both_and_with_who_did_it(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("b", result("gpu-1"), result("gpu-0")))
    assert made.found() == [
        "overlap at version 12: device gpu.example.com/node-1/gpu-0: claim ml/a (by berth, "
        "version 11) and claim ml/b (by berth), 1.000 s later"
    ]


def test_an_overlap_is_found_where_lines_are_not_in_the_order_of_versions(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("a"))
    made.claim(claim("b", result("gpu-0")))
    made.lines.reverse()
    assert made.found() == []


def test_a_later_change_of_a_claim_does_not_report_its_overlap_again(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("b", result("gpu-0")))
    made.claim(claim("b", result("gpu-0"), users=("p",)))
    assert len(made.found()) == 1


def test_an_overlap_that_another_writer_made_is_not_berths(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("b", result("gpu-0"), by="hostile-writer"))
    made.claim(claim("c", result("gpu-1")))
    made.claim(claim("d", result("gpu-1"), by="kube-scheduler"))
    assert [text.split(":")[0] for text in made.found()] == [
        "overlap at version 12 (not by Berth)",
        "overlap at version 14 (not by Berth)",
    ]


@pytest.mark.parametrize(("knew", "whose"), [(10, " (not by Berth)"), (11, "")])
def test_an_overlap_after_another_writer_is_berths_only_if_it_had_been_told(
    made: Made, knew: int, whose: str
) -> None:
    made.lease("r")
    made.version = 10
    made.claim(claim("a", result("gpu-0"), by="hostile-writer"))
    version = made.claim(claim("b", result("gpu-0")))
    (text,) = made.found([Write("r", "status", "/b", version, 0.0, knew)])
    assert text.startswith(f"overlap at version 12{whose}:")


def test_an_overlap_that_nobody_saw_berth_write_is_berths(made: Made) -> None:
    made.claim(claim("a", result("gpu-0"), by="hostile-writer"))
    made.claim(claim("b", result("gpu-0"), by="somebody"))
    (text,) = made.found()
    assert text.startswith("overlap at version 12:")


def test_shares_and_admin_access_do_not_overlap_but_a_whole_device_does(made: Made) -> None:
    made.claim(claim("a", result("gpu-0", shareID="s1")))
    made.claim(claim("b", result("gpu-0", shareID="s2"), result("gpu-0", shareID="s3")))
    made.claim(claim("c", result("gpu-0", adminAccess=True)))
    assert made.found() == []
    made.claim(claim("d", result("gpu-0", shareID="s2")))
    made.claim(claim("e", result("gpu-0")))
    assert [text.split(" and claim ")[1][:4] for text in made.found()] == ["ml/d", *["ml/e"] * 4]


def test_a_claim_of_the_same_name_is_another_claim(made: Made) -> None:
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("a", result("gpu-0")), DELETED)
    made.claim(claim("a", uid="second"), ADDED)
    made.claim(claim("b", result("gpu-0")))
    assert made.found() == []
    made.claim(claim("a", result("gpu-0"), uid="second"))
    assert len(made.found()) == 1


# --- gates


def test_a_pod_may_lose_the_gate_once_all_claims_are_allocated(made: Made) -> None:
    made.pod(pod("p", "a", template="b", gated=True), ADDED)
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("b", result("gpu-1")))
    made.pod(pod("p", "a", template="b"))
    assert made.found() == []


@pytest.mark.parametrize(
    ("template", "want"),
    [
        ("b", "its claim `t` is not allocated (b)"),
        ("gone", "its claim `t` does not exist (gone)"),
        ("", "its claim `t` does not exist (no name)"),
    ],
)
def test_a_gate_that_goes_too_early_is_found(made: Made, template: str, want: str) -> None:
    made.pod(pod("p", "a", template=template, gated=True), ADDED)
    made.claim(claim("a", result("gpu-0")))
    made.claim(claim("b"))
    made.pod(pod("p", "a", template=template))
    assert made.found() == [f"gate at version 14: pod ml/p lost the gate, but {want}"]


# --- in use


def test_an_allocation_may_go_while_nobody_uses_it(made: Made) -> None:
    for name, raw in (
        ("gated", pod("gated", "a", gated=True)),
        ("pending", pod("pending", "a")),
        ("done", pod("done", "a", node=NODE, phase="Succeeded")),
    ):
        made.pod(raw, ADDED)
        made.claim(claim("a", result("gpu-0"), users=(name,)))
        made.claim(claim("a"))
    made.pod(pod("gone", "a", node=NODE), ADDED)
    made.claim(claim("a", result("gpu-0"), users=("gone",)))
    made.pod(pod("gone", "a", node=NODE), DELETED)
    made.claim(claim("a"))
    assert made.found() == []


@pytest.mark.parametrize(
    ("event", "after", "what"),
    [
        (MODIFIED, claim("a"), "given other devices or none"),
        (MODIFIED, claim("a", result("gpu-1"), users=("p",)), "given other devices or none"),
        (DELETED, claim("a", result("gpu-0"), users=("p",)), "deleted"),
    ],
)
def test_an_allocation_that_changes_under_a_bound_pod_is_found(
    made: Made, event: str, after: Json, what: str
) -> None:
    made.pod(pod("p", "a", node=NODE, phase="Running"), LISTED)
    made.claim(claim("a", result("gpu-0"), users=("p",)), LISTED)
    made.claim(after, event)
    assert made.found() == [
        f"in-use at version 13: claim ml/a is {what} while pod p uses it on node node-1"
    ]


# --- finalizers


def test_a_claim_that_berth_allocates_without_protection_is_found(made: Made) -> None:
    made.claim(claim("listed", result("gpu-0"), protected=False), LISTED)
    made.claim(claim("other", result("gpu-1"), protected=False, by="hostile-writer"))
    assert made.found() == []
    made.claim(claim("ours", result("gpu-2"), protected=False))
    assert made.found() == [
        f"finalizer at version 13: claim ml/ours is allocated without {PROTECTION}"
    ]


# --- the Lease


def test_writes_of_the_replica_that_the_lease_names_are_right(made: Made) -> None:
    made.lease("first")
    one = made.claim(claim("a"))
    made.lease("first")
    two = made.claim(claim("a", result("gpu-0")))
    made.lease("second")
    three = made.claim(claim("b", result("gpu-1")))
    writes = [
        Write("second", "status", "/b", three, 0.0),
        Write("first", "finalizer", "/a", one, 0.0),
        Write("first", "status", "/a/status", two, 0.0),
    ]
    assert made.found(writes) == []


@pytest.mark.parametrize(("holder", "named"), [("second", "second"), ("", "nobody")])
def test_a_write_after_the_lease_has_gone_is_found(made: Made, holder: str, named: str) -> None:
    made.lease("first")
    made.lease(holder)
    version = made.claim(claim("a", result("gpu-0")))
    assert made.found([Write("first", "status", "/a/status", version, 0.0)]) == [
        f"fence at version 13: status of /a/status by first, while the Lease named {named}"
    ]


# --- amounts


def published(*devices: Json, generation: int = 1, **spec: Any) -> Json:
    return {
        "metadata": {"name": f"slice-{generation}", "uid": f"uid-{generation}"},
        "spec": {
            "driver": "gpu.example.com",
            "pool": {"name": NODE, "generation": generation, "resourceSliceCount": 1},
            "devices": list(devices),
            **spec,
        },
    }


def test_more_than_the_capacity_of_a_shared_device_is_found(made: Made) -> None:
    device = {
        "name": "gpu-0",
        "allowMultipleAllocations": True,
        "capacity": {"memory": {"value": "80Gi"}},
    }
    made.add("resourceslices", LISTED, published(device))
    for name, amount in (("a", "50Gi"), ("b", "30Gi")):
        made.claim(claim(name, result("gpu-0", shareID=name, consumedCapacity={"memory": amount})))
    assert made.found() == []
    made.claim(claim("c", result("gpu-0", shareID="c", consumedCapacity={"memory": "1Ki"})))
    (text,) = made.found()
    assert text.startswith("amount at version 14: claim ml/c: device gpu.example.com/node-1/gpu-0:")


def test_more_than_a_counter_set_has_is_found(made: Made) -> None:
    def part(name: str) -> Json:
        counters = {"memory": {"value": "40Gi"}}
        return {
            "name": name,
            "consumesCounters": [{"counterSet": "card", "counters": counters}],
        }

    card = {"name": "card", "counters": {"memory": {"value": "80Gi"}}}
    old = published(sharedCounters=[{**card, "counters": {"memory": {"value": "1Gi"}}}])
    new = published(
        *(part(f"part-{number}") for number in range(3)), generation=2, sharedCounters=[card]
    )
    made.add("resourceslices", LISTED, old)
    made.add("resourceslices", ADDED, new)
    made.claim(claim("a", result("part-0"), result("part-1")))
    assert made.found() == []
    made.claim(claim("b", result("part-2")))
    (text,) = made.found()
    assert text.startswith("amount at version 14: claim ml/b: counter memory of card:")


# --- the history itself


def test_a_gap_fails_whatever_else_holds(made: Made) -> None:
    made.lines.append(made.mark(GAP, "pods: too old"))
    assert made.found() == ["gap at version 0: pods: too old"]


def test_a_history_without_its_end_fails(made: Made) -> None:
    made.claim(claim("a"))
    assert made.found(end=False) == ["gap at version 0: the recorder ended before the history did"]


def test_the_end_shows_who_was_not_served(made: Made) -> None:
    made.pod(pod("gated", "a", gated=True), ADDED)
    made.pod(pod("waiting", "a"), ADDED)
    made.pod(pod("done", "a", phase="Succeeded"), ADDED)
    made.pod(pod("gone", "a", gated=True), DELETED)
    made.claim(claim("b", result("gpu-0")))
    made.pod(pod("served", "b"), ADDED)
    settled = made.version
    made.pod(pod("gated", "a", gated=True), DELETED)
    made.found()
    assert [str(each) for each in check(History(made.path), (), settled=settled).findings] == [
        f"unserved at version {settled}: pod ml/gated still has the gate",
        f"unserved at version {settled}: pod ml/waiting has a claim without an allocation",
    ]
