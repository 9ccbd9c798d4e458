# SPDX-License-Identifier: Apache-2.0
"""What is written: configuration and node selector."""

from __future__ import annotations

from dataclasses import replace

import pytest

from berth.engine.outcomes import Allocated
from berth.errors import InvalidClaimError
from berth.model.claims import ClaimConfig, ResourceClaim
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from berth.model.results import AllocationResult, ConfigResult, DeviceResult
from berth.model.slices import DeviceClass, ResourceSlice
from berth.model.tolerations import DeviceToleration
from tests.support.allocations import a_snapshot, attempt
from tests.support.builders import (
    DRIVER,
    a_body,
    a_claim,
    a_class,
    a_config,
    a_device,
    a_node,
    a_request,
    a_slice,
    devices,
    first_available,
    label_in,
)

FAST, SAFE, MINE = a_config(mode="fast"), a_config(mode="safe"), a_config(mine=True)
GPU = a_class(config=[FAST])
OTHER = a_class("other", config=[SAFE, None])


def result_of(
    claim: ResourceClaim,
    *slices: ResourceSlice,
    classes: tuple[DeviceClass, ...] = (GPU, OTHER),
    **labels: str,
) -> AllocationResult:
    published = slices or (a_slice(devices(8)),)
    outcome = attempt(a_snapshot(published, classes=classes), claim, node=a_node(**labels))
    assert isinstance(outcome, Allocated)
    return outcome.results[0]


def from_class(config: object, *requests: str) -> ConfigResult:
    return ConfigResult("FromClass", requests, config)  # type: ignore[arg-type]  # None is allowed


def from_claim(*requests: str) -> ConfigResult:
    return ConfigResult("FromClaim", requests, MINE)


LIST = first_available("a", a_body(name="big", count=99), a_body(name="small"))


@pytest.mark.parametrize(
    ("claim", "want"),
    [
        pytest.param(a_claim(), [from_class(FAST)], id="one request means all requests"),
        pytest.param(
            a_claim(a_request("a"), a_request("b", device_class="other"), a_request("c")),
            [from_class(FAST, "a", "c"), from_class(SAFE, "b"), from_class(None, "b")],
            id="a class comes once, with all its requests",
        ),
        pytest.param(
            a_claim(a_request("a"), a_request("b")),
            [from_class(FAST)],
            id="a class of all requests names none",
        ),
        pytest.param(
            a_claim(
                a_request("a"),
                a_request("b", device_class="other"),
                config=[ClaimConfig((), MINE), ClaimConfig(("b",), MINE)],
            ),
            [
                from_class(FAST, "a"),
                from_class(SAFE, "b"),
                from_class(None, "b"),
                from_claim(),
                from_claim("b"),
            ],
            id="the claim's own come after those of classes",
        ),
        pytest.param(
            a_claim(a_request("a"), a_request("b"), config=[ClaimConfig(("b", "a"), MINE)]),
            [from_class(FAST), from_claim()],
            id="an entry for every request names none",
        ),
        pytest.param(
            a_claim(LIST, a_request("b"), config=[ClaimConfig(("a/big",), MINE)]),
            [from_class(FAST)],
            id="an entry for an alternative that was not chosen is dropped",
        ),
        pytest.param(
            a_claim(LIST, a_request("b"), config=[ClaimConfig(("a/small", "a/big"), MINE)]),
            [from_class(FAST), from_claim("a/small", "a/big")],
            id="an entry for the chosen one is copied as written",
        ),
        pytest.param(
            a_claim(LIST, a_request("b", device_class="other"), config=[ClaimConfig(("a",), MINE)]),
            [
                from_class(FAST, "a/small"),
                from_class(SAFE, "b"),
                from_class(None, "b"),
                from_claim("a"),
            ],
            id="classes name the alternative, claims may name the request",
        ),
    ],
)
def test_configuration_is_assembled(claim: ResourceClaim, want: list[ConfigResult]) -> None:
    assert list(result_of(claim).config) == want


def named(*fields: NodeSelectorRequirement) -> NodeSelector:
    return NodeSelector((NodeSelectorTerm(match_fields=fields),))


ONLY_HERE = named(NodeSelectorRequirement("metadata.name", "In", ("node-1",)))


def shared(pool: str, selector: NodeSelector) -> ResourceSlice:
    return a_slice([a_device(pool)], pool=pool, node_selector=selector)


ZONE, ZONE_AGAIN, RACK = (
    label_in("zone", "a", "b"),
    label_in("zone", "b", "a"),
    label_in("rack", "1"),
)


@pytest.mark.parametrize(
    ("slices", "want"),
    [
        pytest.param([a_slice(devices(2))], ONLY_HERE, id="a local device ties to the node"),
        pytest.param([a_slice(devices(2), all_nodes=True)], None, id="all nodes"),
        pytest.param([shared("p0", ZONE), shared("p1", ZONE)], ZONE, id="equal terms are one"),
        pytest.param([shared("p0", ZONE), shared("p1", ZONE_AGAIN)], ZONE, id="values are a set"),
        pytest.param(
            [shared("p0", ZONE), shared("p1", RACK)],
            NodeSelector(
                (
                    NodeSelectorTerm(
                        (*ZONE.terms[0].match_expressions, *RACK.terms[0].match_expressions)
                    ),
                )
            ),
            id="different terms are merged",
        ),
        pytest.param(
            [shared("p0", ZONE), a_slice(devices(1), pool="p1", node_name="node-1")],
            ONLY_HERE,
            id="a local device outweighs selectors",
        ),
        pytest.param(
            [
                a_slice(
                    [a_device("d0", node_selector=ZONE), a_device("d1", all_nodes=True)],
                    per_device=True,
                )
            ],
            ZONE,
            id="each device for itself",
        ),
        pytest.param(
            [a_slice([a_device("d0", binds_to_node=True), a_device("d1")], all_nodes=True)],
            ONLY_HERE,
            id="a device that binds to its node",
        ),
    ],
)
def test_the_node_selector_is_that_of_the_devices(
    slices: list[ResourceSlice], want: NodeSelector | None
) -> None:
    result = result_of(a_claim(a_request(count=2)), *slices, zone="a", rack="1")
    assert result.node_selector == want


def test_a_selector_of_several_terms_cannot_be_written() -> None:
    two = NodeSelector((*ZONE.terms, *RACK.terms))
    with pytest.raises(InvalidClaimError) as caught:
        result_of(a_claim(), replace(shared("p0", two), name="s"), zone="a")
    assert caught.value.reason == "InvalidNodeSelector"
    assert str(caught.value) == (
        "claim default/claim: resourceslice s: the node selector of device "
        f"{DRIVER}/p0/p0 has 2 terms, only one is supported"
    )


def test_a_result_names_the_request_the_device_and_the_tolerations() -> None:
    toleration = DeviceToleration(operator="Exists", toleration_seconds=30)
    claim = a_claim(
        a_request("plain", tolerations=[toleration]),
        first_available("list", a_body(name="huge", count=99), a_body(name="one")),
        a_request("monitor", admin_access=True),
    )
    result = replace(result_of(claim), config=(), node_selector=None)
    assert result == AllocationResult(
        devices=(
            DeviceResult("plain", DRIVER, "node-1", "gpu-0", tolerations=(toleration,)),
            DeviceResult("list/one", DRIVER, "node-1", "gpu-1"),
            DeviceResult("monitor", DRIVER, "node-1", "gpu-2", admin_access=True),
        )
    )
