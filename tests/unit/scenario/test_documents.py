# SPDX-License-Identifier: Apache-2.0
"""Texts to API objects."""

from __future__ import annotations

import pytest

from berth.errors import DecodeError
from berth.scenario.documents import ApiObject, ScenarioText, read_documents

NODE = b'{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}'


def kinds(text: bytes) -> list[str]:
    return [each.kind for each in read_documents("f", text) if isinstance(each, ApiObject)]


def test_one_json_object_is_read() -> None:
    (found,) = read_documents("f", NODE)

    assert found == ApiObject("f", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})


def test_a_list_of_kubectl_is_taken_apart() -> None:
    assert kinds(b'{"kind": "List", "items": [' + NODE + b", " + NODE + b"]}") == ["Node", "Node"]


def test_items_of_a_typed_list_have_its_kind() -> None:
    text = b'{"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}]}'

    (found,) = read_documents("f", text)

    assert found == ApiObject("f", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})


def test_yaml_documents_and_nested_lists_are_read_in_order() -> None:
    text = b"kind: Node\n---\n---\nkind: List\nitems:\n- kind: Pod\n- {kind: List, items: []}\n"

    assert kinds(text) == ["Node", "Pod"]


def test_yaml_that_begins_like_json_is_read() -> None:
    assert kinds(b"{kind: Node}") == ["Node"]


def test_a_document_with_the_keys_of_a_scenario_is_one() -> None:
    (found,) = read_documents("f", b"pods: []\n")

    assert found == ScenarioText("f", {"pods": []})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"kind": "Node"', "f: not valid JSON: "),
        (b"a: [", "f: not valid YAML: "),
        (b"\xff\xfe\xff", "f: not valid YAML: "),
        (b"just text", "f: expected an API object, or a list of them"),
        (b"kind: Node\n---\n5", "f, document 2: expected an API object, or a list of them"),
        (b"[1]", "f, item 0: expected an API object, or a list of them"),
        (
            b"metadata: {}",
            "f: kind: is required: expected an API object, a list, or a scenario",
        ),
        (
            b'{"kind": "List", "items": [{"metadata": {}}]}',
            "f, items[0]: kind: is required: expected an API object, a list, or a scenario",
        ),
    ],
)
def test_what_is_no_object_is_named(text: bytes, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_documents("f", text)

    assert str(caught.value).startswith(message)
