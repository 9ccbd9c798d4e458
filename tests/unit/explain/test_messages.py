# SPDX-License-Identifier: Apache-2.0
"""What is said before a node is looked at: exact texts, and the length of an Event."""

from __future__ import annotations

import pytest

from berth.errors import (
    BerthError,
    ClaimSelectorError,
    InvalidClaimError,
    InvalidSelectorError,
    SelectorRuntimeError,
)
from berth.explain import messages
from berth.model.claims import ClaimKey
from berth.model.pods import Pod

POD = Pod(namespace="ml", name="train-0")
KEY = ClaimKey("ml", "train")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            messages.template_missing(POD, "gpu", "one-gpu"),
            "pod ml/train-0, claim reference gpu: ResourceClaimTemplate ml/one-gpu does not exist",
        ),
        (
            messages.claim_missing(POD, "gpu", "train"),
            "pod ml/train-0, claim reference gpu: ResourceClaim ml/train does not exist",
        ),
        (
            messages.claim_deleting(POD, KEY),
            "pod ml/train-0, claim ml/train: the claim is being deleted",
        ),
        (
            messages.claim_not_owned(POD, KEY),
            (
                "pod ml/train-0, claim ml/train: the claim was not generated for this pod: "
                "another object has the name that the pod's claim should have"
            ),
        ),
        (
            messages.claim_full(POD, KEY, 256),
            (
                "pod ml/train-0, claim ml/train: the claim is reserved for 256 consumers, "
                "which is the limit"
            ),
        ),
        (
            messages.not_all_ours(POD, [KEY]),
            (
                "pod ml/train-0: claim ml/train is not covered by any AllocationPolicy while the "
                "pod's other claims are: Berth allocates all claims of a pod or none"
            ),
        ),
        (
            messages.not_all_ours(POD, [KEY, ClaimKey("ml", "net")]),
            (
                "pod ml/train-0: claims ml/net, ml/train are not covered by any AllocationPolicy "
                "while the pod's other claims are: Berth allocates all claims of a pod or none"
            ),
        ),
        (
            messages.allocated_but_unschedulable(POD, "0/3 nodes are available"),
            (
                "pod ml/train-0: its claims are allocated, but kube-scheduler cannot place it: "
                "0/3 nodes are available"
            ),
        ),
    ],
)
def test_a_message_names_object_and_cause(text: str, want: str) -> None:
    assert text == want


@pytest.mark.parametrize(
    ("error", "want"),
    [
        pytest.param(
            InvalidClaimError(
                "ml/train",
                "main",
                "DeviceClass nosuch does not exist",
                reason="MissingDeviceClass",
            ),
            "claim ml/train, request main: DeviceClass nosuch does not exist",
            id="a class that does not exist",
        ),
        pytest.param(
            SelectorRuntimeError(
                claim="ml/train",
                request="main",
                owner="claim ml/train",
                selector=0,
                device="gpu.example.com/n1/gpu-0",
                detail="no such key: model",
                expression='device.attributes["gpu.example.com"].model == "a"',
            ),
            "claim ml/train, request main, selector #0 "
            "on device gpu.example.com/n1/gpu-0: CEL failed: no such key: model",
            id="CEL that fails on a device",
        ),
        pytest.param(
            SelectorRuntimeError(
                claim="ml/train",
                request="main",
                owner="class gpu",
                selector=1,
                device="gpu.example.com/n1/gpu-0",
                detail="no such key: model",
                expression='device.attributes["gpu.example.com"].model == "a"',
                span=(0, 42),
            ),
            "claim ml/train, request main, class gpu, selector #1 "
            "on device gpu.example.com/n1/gpu-0: CEL failed: no such key: model: "
            '`device.attributes["gpu.example.com"].model`; hint: put '
            '`has(device.attributes["gpu.example.com"].model) &&` before the selector',
            id="CEL that fails on a device, at a place that is known",
        ),
        pytest.param(
            ClaimSelectorError(
                InvalidSelectorError("devise", "undeclared reference to `devise`"),
                claim="ml/train",
                request="main",
                owner="class gpu",
                selector=0,
            ),
            "claim ml/train, request main, class gpu, selector #0: CEL does not compile: "
            "undeclared reference to `devise`",
            id="CEL that does not compile",
        ),
    ],
)
def test_an_exception_of_the_engine_becomes_one_line(error: BerthError, want: str) -> None:
    assert messages.bad_input(error) == want


def test_a_message_is_one_line() -> None:
    assert messages.fit_event("a\n  b\tc") == "a b c"


@pytest.mark.parametrize("word", ["a", "ä", "…"])
def test_a_long_message_is_cut_to_what_an_event_holds(word: str) -> None:
    text = messages.fit_event(f"{word * 30} " * 100)

    assert len(text.encode()) <= 1024
    assert text.endswith(f"{word * 30}…")


def test_a_message_without_spaces_is_cut_between_characters() -> None:
    assert messages.fit_event("ä" * 600) == "ä" * 510 + "…"


def test_a_message_of_exactly_the_limit_is_kept() -> None:
    assert messages.fit_event("a" * 1024) == "a" * 1024
