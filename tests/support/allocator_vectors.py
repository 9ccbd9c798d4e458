# SPDX-License-Identifier: Apache-2.0
"""Run recorded allocator calls and compare the answers.

A case says everything itself: features, classes, slices, what is allocated, node and claims, and
the recorded outcome. See ``tests/conformance/vectors/README.md``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from berth.codec.claims import decode_claim
from berth.codec.nodes import decode_node
from berth.codec.results import decode_allocation
from berth.codec.slices import decode_class, decode_slice
from berth.engine.allocated import AllocatedState
from berth.engine.allocator import allocate
from berth.engine.inventory import Inventory
from berth.engine.outcomes import Allocated, Undecided
from berth.engine.snapshot import Snapshot
from berth.errors import InvalidClaimError, InvalidSelectorError, SelectorRuntimeError
from berth.model.devices import DeviceID
from berth.model.features import Features
from berth.model.results import AllocationResult
from berth.quantity import Quantity

DIFFERENCES = Path(__file__).parents[2] / "docs" / "reference" / "deliberate-differences.md"
Case = Mapping[str, Any]
FLAGS = {
    "AdminAccess": "admin_access",
    "CompatibilityGroups": "compatibility_groups",
    "ConsumableCapacity": "consumable_capacity",
    "DerivedAttributes": "derived_attributes",
    "DeviceBindingAndStatus": "device_binding_and_status",
    "DeviceTaints": "device_taints",
    "FractionalCapacityRange": "fractional_capacity_range",
    "ListTypeAttributes": "list_type_attributes",
    "OptionalNodeOperations": "optional_node_operations",
    "PartitionableDevices": "partitionable_devices",
    "PrioritizedList": "prioritized_list",
}


@dataclass(frozen=True, slots=True)
class Disagreement:
    case: str
    want: str
    got: str

    def __str__(self) -> str:
        return f"{self.case}\n  want {self.want}\n  got  {self.got}"


@dataclass(slots=True)
class Report:
    """What became of the cases of one file; those which agree are counted by group.

    ``deliberate`` are those which differ and are in the table of deliberate differences.
    """

    agree: Counter[str] = field(default_factory=Counter)
    deliberate: list[Disagreement] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)
    fewer_steps: int = 0

    @property
    def total(self) -> int:
        return self.agree.total() + len(self.deliberate) + len(self.disagreements)

    def __str__(self) -> str:
        rows = [f"{group:<28}{count:>7}" for group, count in sorted(self.agree.items())]
        return "\n".join([*rows, *map(str, self.deliberate), *map(str, self.disagreements)])


def run_allocator_cases(path: Path) -> Report:
    """Run every case of a file."""
    report = Report()
    named = deliberate_differences()
    for case in read_cases(path):
        disagreement, steps = run_case(case)
        if disagreement is None:
            report.agree[case["group"]] += 1
            report.fewer_steps += steps < case["steps"]
        elif disagreement.case in named:
            report.deliberate.append(disagreement)
        else:
            report.disagreements.append(disagreement)
    return report


def deliberate_differences(page: Path = DIFFERENCES) -> frozenset[str]:
    """The names of vectors in the table of deliberate differences: its last column."""
    rows = (
        line.rstrip().strip("|").split("|")[-1]
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    )
    return frozenset(name for row in rows for name in re.findall(r"`([^`]+)`", row))


def read_cases(path: Path) -> Iterator[Case]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def snapshot_of(case: Case) -> Snapshot:
    # Recorded from 1.37.2; by default the engine follows later corrections.
    features = replace(
        Features(**{FLAGS[flag]: on for flag, on in case["features"].items()}),
        as_release_1_37=True,
    )
    classes = [decode_class(each) for each in case["classes"]]
    return Snapshot(
        Inventory.build([decode_slice(each) for each in case["slices"]], (), features),
        {each.name: each for each in classes},
        _allocated(case["allocated"]),
        features,
    )


def _allocated(recorded: Mapping[str, Any]) -> AllocatedState:
    shared: dict[DeviceID, tuple[str, ...]] = {}
    for each in recorded["shared"]:
        shared[_device_id(each)] = (*shared.get(_device_id(each), ()), each["shareID"])
    return AllocatedState(
        holders={_device_id(each): ("someone/else",) for each in recorded["devices"]},
        shared=shared,
        capacity={
            _device_id(each): {k: Quantity.parse(v) for k, v in each["capacity"].items()}
            for each in recorded["capacity"]
        },
    )


def _device_id(obj: Mapping[str, Any]) -> DeviceID:
    return DeviceID(obj["driver"], obj["pool"], obj["device"])


def run_case(case: Case) -> tuple[Disagreement | None, int]:
    """Return how the answer differs, if it does, and how many steps it took."""
    want = case["outcome"]
    if want == "error":
        want = f"error {case['errorScope']}"
    got, results, steps, detail = _answer(case)
    if got != want:
        return Disagreement(case["name"], f"{want} {case.get('error', '')}", f"{got} {detail}"), 0
    recorded = tuple(decode_allocation(each) for each in case.get("results", ()))
    ours, theirs = _comparable(results), _comparable(recorded)
    if ours != theirs:
        return Disagreement(case["name"], repr(theirs), repr(ours)), steps
    if steps > case["steps"]:
        return Disagreement(case["name"], f"{case['steps']} steps", f"{steps} steps"), steps
    return None, steps


def steps_of(case: Case) -> int:
    """How many steps a case takes; 0 where it ends with an error before the search has an end."""
    return _answer(case)[2]


def outcome_of(case: Case) -> tuple[str, list[Any]]:
    """The outcome of a case and its results, to compare with those of another."""
    got, results, _, _ = _answer(case)
    return got, _comparable(results)


def _answer(case: Case) -> tuple[str, tuple[AllocationResult, ...], int, str]:
    snapshot = snapshot_of(case)
    claims = [decode_claim(each) for each in case["claims"]]
    try:
        outcome = allocate(snapshot, decode_node(case["node"]), claims)
    except (InvalidClaimError, InvalidSelectorError, SelectorRuntimeError) as error:
        return "error fatal", (), 0, str(error)
    if isinstance(outcome, Allocated):
        return "allocated", outcome.results, outcome.steps, ""
    if isinstance(outcome, Undecided):
        return "undecided", (), outcome.steps, ""
    if outcome.problems:
        return "error node", (), outcome.steps, str(outcome.problems)
    return "nofit", (), outcome.steps, ""


def _comparable(results: tuple[AllocationResult, ...]) -> list[Any]:
    """Share IDs by order of appearance; everything else as it is."""
    numbers: dict[str, int] = {}
    comparable: list[Any] = []
    for result in results:
        devices = [
            (
                device,
                None
                if device.share_id is None
                else numbers.setdefault(device.share_id, len(numbers)),
            )
            for device in result.devices
        ]
        comparable.append(
            (
                [(_without_share(device), number) for device, number in devices],
                list(result.config),
                result.node_selector,
            )
        )
    return comparable


def _without_share(device: Any) -> tuple[Any, ...]:
    consumed = device.consumed_capacity
    return (
        device.request,
        device.device_id,
        device.admin_access,
        device.tolerations,
        device.binding_conditions,
        device.binding_failure_conditions,
        device.skip_node_operations,
        None if consumed is None else sorted((k, v.nanos) for k, v in consumed.items()),
    )
