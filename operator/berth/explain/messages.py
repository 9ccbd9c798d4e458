# SPDX-License-Identifier: Apache-2.0
"""One-line messages for what stops a pod before a node is ever looked at.

Decides the wording only. Whether a template is missing or a claim is not ours is decided by the
caller; why devices do not fit is ``berth.explain.report``.

Every message follows the grammar ``where: what is wrong: detail`` and fits an Event.
"""

from __future__ import annotations

from collections.abc import Sequence

from berth.cel import compile_selector, guard_for
from berth.errors import BerthError, CelRuntimeError, SelectorRuntimeError
from berth.explain.words import expression_text
from berth.model.claims import ClaimKey
from berth.model.pods import Pod

MAX_MESSAGE_BYTES = 1024
"""``NoteLengthLimit`` of events.k8s.io; the API server refuses a longer note."""
ELLIPSIS = "…"
MAX_NODES = 5
"""Nodes that a message names."""


def fit_event(text: str) -> str:
    """Return ``text`` on one line, cut at the end of a word where an Event could not hold it."""
    line = " ".join(text.split())
    data = line.encode()
    if len(data) <= MAX_MESSAGE_BYTES:
        return line
    # Cutting bytes may split a character; the broken rest of it is dropped.
    kept = data[: MAX_MESSAGE_BYTES - len(ELLIPSIS.encode())].decode(errors="ignore")
    head, space, _ = kept.rpartition(" ")
    return (head if space else kept) + ELLIPSIS


def template_missing(pod: Pod, reference: str, template: str) -> str:
    """Say that the template of a claim reference does not exist."""
    return fit_event(
        f"pod {pod.key}, claim reference {reference}: "
        f"ResourceClaimTemplate {pod.namespace}/{template} does not exist"
    )


def claim_missing(pod: Pod, reference: str, claim: str) -> str:
    """Say that a claim which the pod names itself does not exist."""
    return fit_event(
        f"pod {pod.key}, claim reference {reference}: "
        f"ResourceClaim {pod.namespace}/{claim} does not exist"
    )


def claim_deleting(pod: Pod, claim: ClaimKey) -> str:
    """Say that a claim is on its way out, and must not get devices any more."""
    return fit_event(f"pod {pod.key}, claim {claim}: the claim is being deleted")


def claim_not_owned(pod: Pod, claim: ClaimKey) -> str:
    """Say that a claim has the name of the pod's own claim, but was made for somebody else."""
    return fit_event(
        f"pod {pod.key}, claim {claim}: the claim was not generated for this pod: "
        "another object has the name that the pod's claim should have"
    )


def claim_full(pod: Pod, claim: ClaimKey, limit: int) -> str:
    """Say that a shared claim cannot take one more consumer."""
    return fit_event(
        f"pod {pod.key}, claim {claim}: the claim is reserved for {limit} consumers, "
        "which is the limit"
    )


def not_all_ours(pod: Pod, foreign: Sequence[ClaimKey]) -> str:
    """Say that only a part of the pod's claims is Berth's, so that none of them is allocated."""
    noun = "claim" if len(foreign) == 1 else "claims"
    verb = "is" if len(foreign) == 1 else "are"
    names = ", ".join(str(key) for key in sorted(foreign))
    return fit_event(
        f"pod {pod.key}: {noun} {names} {verb} not covered by any AllocationPolicy "
        "while the pod's other claims are: Berth allocates all claims of a pod or none"
    )


def not_fenced(
    pod: Pod, claim: ClaimKey, request: str, class_name: str, drivers: Sequence[str]
) -> str:
    """Say why Berth leaves the claim of a pod without a gate alone; no ``drivers``: it tolerates.

    kube-scheduler could allocate the claim, and both would give out the same devices.
    """
    where = f"pod {pod.key}, claim {claim}: request {request}"
    if not drivers:
        return fit_event(
            f"{where} tolerates the taint berth.dev/fence, so that kube-scheduler may allocate it: "
            "Berth leaves it alone; hint: tolerate single taints by their keys"
        )
    noun = "driver" if len(drivers) == 1 else "drivers"
    return fit_event(
        f"{where} of class {class_name} also matches devices of {noun} {', '.join(drivers)}, "
        "which are not all fenced, so that kube-scheduler may allocate it: Berth leaves it alone; "
        "hint: fence them, or narrow the class or the request to fenced devices"
    )


def extended_behind_fence(pod: Pod, resource: str, class_name: str, drivers: Sequence[str]) -> str:
    """Say that nobody can serve an extended resource, and what to ask for instead."""
    noun = "driver" if len(drivers) == 1 else "drivers"
    return fit_event(
        f"pod {pod.key}: extended resource {resource} stands for DeviceClass {class_name}, and "
        f"devices of {noun} {', '.join(drivers)} are fenced: only kube-scheduler allocates "
        "extended resources, and only Berth fenced devices; hint: ask for the class in a "
        "ResourceClaim, or take the driver out of the fence"
    )


def refused_by_scheduler(pod: Pod, nodes: Sequence[str], detail: str) -> str:
    """Say that kube-scheduler took back what Berth gave on every node that would do."""
    shown = ", ".join(nodes[:MAX_NODES]) + (", …" if len(nodes) > MAX_NODES else "")
    return fit_event(
        f"pod {pod.key}: kube-scheduler took back what was allocated on {shown}, and no other node "
        f"has the devices: {detail or 'it does not say why'}; Berth tries again in a while"
    )


def taken_back(pod: Pod, node: str, detail: str) -> str:
    """Say that kube-scheduler has taken back an allocation of Berth's."""
    return fit_event(
        f"pod {pod.key}: kube-scheduler took back what was allocated on node {node}: "
        f"{detail or 'it does not say why'}; Berth allocates anew"
    )


def allocated_but_unschedulable(pod: Pod, detail: str) -> str:
    """Say that the claims are allocated, but kube-scheduler does not place the pod."""
    return fit_event(
        f"pod {pod.key}: its claims are allocated, but kube-scheduler cannot place it: {detail}"
    )


def bad_input(error: BerthError) -> str:
    """Return the line for an exception of the engine, which names object and cause itself.

    A selector that fails on a device is told with the part that fails, and its cure.
    """
    if not isinstance(error, SelectorRuntimeError):
        return fit_event(str(error))
    part = "" if error.span is None else error.expression[slice(*error.span)]
    where = f": `{expression_text(part)}`" if part else ""
    failure = CelRuntimeError(error.detail, error.span)
    guard = guard_for(failure, compile_selector(error.expression))
    cure = f"; hint: put `{guard} &&` before the selector" if guard else ""
    return fit_event(f"{error}{where}{cure}")
