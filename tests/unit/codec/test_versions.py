# SPDX-License-Identifier: Apache-2.0
"""Objects of older versions of ``resource.k8s.io`` read as those of v1 do.

The objects are written by hand after the API's types and conversions; objects that API servers
returned in each version are read by ``tests/integration/releases``.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from berth.codec.claims import decode_claim, decode_template
from berth.codec.slices import decode_slice
from berth.codec.versions import claim_to_v1, from_v1, slice_to_v1, spec_from_v1, template_to_v1
from berth.errors import DecodeError

Json = dict[str, Any]

GROUP = "resource.k8s.io"
SELECTORS = [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}]
ALTERNATIVES = [
    {"name": "two", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2},
    {"name": "all", "deviceClassName": "gpu", "allocationMode": "All"},
]
EXACT: Json = {
    "deviceClassName": "gpu",
    "selectors": SELECTORS,
    "allocationMode": "ExactCount",
    "count": 2,
    "adminAccess": False,
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "capacity": {"requests": {"memory": "40Gi"}},
}
SPEC_V1: Json = {
    "devices": {
        "requests": [
            {"name": "exact", "exactly": EXACT},
            {"name": "either", "firstAvailable": ALTERNATIVES},
        ],
        "constraints": [{"requests": ["exact"], "matchAttribute": "gpu.example.com/numa"}],
        "config": [{"opaque": {"driver": "gpu.example.com", "parameters": {"basic": 1}}}],
    }
}
SPEC_FLAT: Json = {
    "devices": {
        **SPEC_V1["devices"],
        "requests": [
            {"name": "exact", **EXACT},
            # As v1beta1 returns it: the field is not optional there.
            {"name": "either", "deviceClassName": "", "firstAvailable": ALTERNATIVES},
        ],
    }
}
STATUS: Json = {
    "allocation": {
        "devices": {
            "results": [
                {
                    "request": "exact",
                    "driver": "gpu.example.com",
                    "pool": "node-0",
                    "device": "gpu-0",
                    "adminAccess": False,
                }
            ]
        },
        "nodeSelector": {
            "nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-0"]}]}
            ]
        },
    },
    "reservedFor": [{"resource": "pods", "name": "p", "uid": "u-2"}],
}
DEVICE: Json = {
    "attributes": {"numa": {"int": 0}, "model": {"string": "a100"}},
    "capacity": {"memory": {"value": "80Gi"}},
    "consumesCounters": [{"counterSet": "c", "counters": {"m": {"value": "1"}}}],
    "taints": [{"key": "k", "effect": "NoSchedule", "timeAdded": "2026-11-24T17:00:00Z"}],
    "nodeName": "node-0",
    "bindsToNode": True,
    "bindingConditions": ["ready"],
    "allowMultipleAllocations": True,
}
SLICE_SPEC: Json = {
    "driver": "gpu.example.com",
    "pool": {"name": "node-0", "generation": 1, "resourceSliceCount": 1},
    "perDeviceNodeSelection": True,
}


def named(kind: str, version: str | None, **fields: Any) -> Json:
    metadata = {"name": "one", "namespace": "ml", "uid": "u-1", "resourceVersion": "7"}
    of_item = {} if version is None else {"apiVersion": f"{GROUP}/{version}", "kind": kind}
    return {**of_item, "metadata": metadata, **fields}


def claim(version: str | None, spec: Json) -> Json:
    return named("ResourceClaim", version, spec=spec, status=STATUS)


def template(version: str | None, spec: Json) -> Json:
    inner = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    return named("ResourceClaimTemplate", version, spec=inner)


def slice_of(version: str | None, device: Json) -> Json:
    return named("ResourceSlice", version, spec={**SLICE_SPEC, "devices": [device]})


FLAT_DEVICE = {"name": "gpu-0", "basic": DEVICE}
V1_DEVICE = {"name": "gpu-0", **DEVICE}


@pytest.mark.parametrize(
    ("version", "spec", "device"),
    [
        pytest.param("v1beta1", SPEC_FLAT, FLAT_DEVICE, id="v1beta1"),
        pytest.param("v1beta2", SPEC_V1, V1_DEVICE, id="v1beta2"),
        pytest.param(None, SPEC_FLAT, FLAT_DEVICE, id="an item of a list of v1beta1"),
        pytest.param(None, SPEC_V1, V1_DEVICE, id="an item of a list of v1"),
    ],
)
def test_every_version_reads_as_v1(version: str | None, spec: Json, device: Json) -> None:
    assert decode_claim(claim(version, spec)) == decode_claim(claim("v1", SPEC_V1))
    assert decode_template(template(version, spec)) == decode_template(template("v1", SPEC_V1))
    assert decode_template(template(version, spec)).spec_json == SPEC_V1
    assert decode_slice(slice_of(version, device)) == decode_slice(slice_of("v1", V1_DEVICE))


def test_what_is_read_is_not_changed() -> None:
    given = claim("v1beta1", SPEC_FLAT), slice_of("v1beta1", FLAT_DEVICE)
    before = copy.deepcopy(given)
    assert claim_to_v1(given[0])["spec"] == SPEC_V1
    assert slice_to_v1(given[1])["spec"]["devices"] == [V1_DEVICE]
    assert given == before


def test_objects_of_v1_are_not_copied() -> None:
    for version in ("v1", None):
        given = claim(version, SPEC_V1)
        assert claim_to_v1(given) is given
        made = template(version, SPEC_V1)
        assert template_to_v1(made) is made
        published = slice_of(version, V1_DEVICE)
        assert slice_to_v1(published) is published


def test_a_mistake_in_an_object_of_v1_is_not_mended() -> None:
    """The API server of v1 drops such fields; the request then asks for nothing."""
    read = decode_claim(claim("v1", {"devices": {"requests": [{"name": "exact", **EXACT}]}}))
    assert (read.spec.requests[0].exactly, read.spec.requests[0].first_available) == (None, ())


@pytest.mark.parametrize("spec", [{"devices": {"requests": "x"}}, {"devices": []}])
def test_what_has_no_shape_at_all_is_refused_as_in_v1(spec: Json) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_claim(claim("v1beta1", spec))
    with pytest.raises(DecodeError) as wanted:
        decode_claim(claim("v1", spec))
    assert str(caught.value) == str(wanted.value)


@pytest.mark.parametrize("version", ["v1", "v1beta2", "v1beta1"])
def test_what_is_written_in_a_version_reads_the_same_from_it(version: str) -> None:
    for made, to_v1 in (
        (claim("v1", SPEC_V1), claim_to_v1),
        (template("v1", SPEC_V1), template_to_v1),
        (slice_of("v1", V1_DEVICE), slice_to_v1),
    ):
        written = from_v1(made, version)
        assert written["apiVersion"] == f"{GROUP}/{version}"
        assert to_v1(written) == {**made, "apiVersion": f"{GROUP}/{version}"}
    node = {"apiVersion": "v1", "kind": "Node"}
    assert from_v1(node, version) == node


def test_a_spec_is_written_in_the_version_that_is_served() -> None:
    flat = copy.deepcopy(SPEC_FLAT)
    del flat["devices"]["requests"][1]["deviceClassName"]
    assert spec_from_v1(SPEC_V1, "v1beta1") == flat
    assert spec_from_v1(SPEC_V1, "v1beta2") == SPEC_V1
    assert spec_from_v1(SPEC_V1, "v1") == SPEC_V1
    assert spec_from_v1({}, "v1beta1") == {}
