# SPDX-License-Identifier: Apache-2.0
"""Texts to API objects: JSON and YAML, one object, many, or lists of them.

Decides how a text is split, and that each part is an object with a kind. Never looks at what an
object says (``berth.scenario.load``).

Source: output of ``kubectl get -o json`` and ``-o yaml``, manifests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import yaml

from berth.errors import DecodeError

Json = dict[str, Any]

# The C loader is about ten times as fast; PyYAML has it wherever it was built with libyaml.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCENARIO_KEYS = frozenset({"cluster", "pods", "claims", "expect"})


@dataclass(frozen=True, slots=True)
class ApiObject:
    """One API object as JSON; ``source`` names the file, or other place, that it is from."""

    source: str
    obj: Json

    @property
    def kind(self) -> str:
        """The kind that the object names."""
        return str(self.obj["kind"])


@dataclass(frozen=True, slots=True)
class ScenarioText:
    """One document that is a scenario file and no API object."""

    source: str
    data: Json


Document = ApiObject | ScenarioText


def read_documents(source: str, text: bytes) -> tuple[Document, ...]:
    """Return the objects of a text in their order, lists taken apart.

    Args:
        source: The name of the file, for errors.
        text: JSON or YAML; YAML may have several documents.

    Raises:
        DecodeError: If the text is neither, or something in it is no API object.
    """
    found: list[Document] = []
    for number, document in enumerate(_parse(source, text), start=1):
        where = source if number == 1 else f"{source}, document {number}"
        if isinstance(document, dict) and "kind" not in document and _SCENARIO_KEYS & set(document):
            found.append(ScenarioText(source, document))
        else:
            found += objects_in(where, source, document)
    return tuple(found)


def objects_in(where: str, source: str, document: object) -> Iterator[ApiObject]:
    """Yield the API object that ``document`` is, or the objects of the list that it is.

    Raises:
        DecodeError: If it is neither; ``where`` names it.
    """
    if isinstance(document, list):
        for index, item in enumerate(document):
            yield from objects_in(f"{where}, item {index}", source, item)
        return
    if not isinstance(document, dict):
        raise DecodeError(where, "", "expected an API object, or a list of them")
    kind = document.get("kind")
    items = document.get("items")
    if isinstance(items, list) and (kind is None or str(kind).endswith("List")):
        item_kind = str(kind or "List").removesuffix("List")
        for index, item in enumerate(items):
            # Items of a typed list, as an API server gives it, do not repeat their kind.
            if isinstance(item, dict) and "kind" not in item and item_kind:
                item = {"apiVersion": document.get("apiVersion"), "kind": item_kind, **item}  # noqa: PLW2901 - the completed item
            yield from objects_in(f"{where}, items[{index}]", source, item)
        return
    if not isinstance(kind, str) or not kind:
        raise DecodeError(
            where, "kind", "is required: expected an API object, a list, or a scenario"
        )
    yield ApiObject(source, document)


def _parse(source: str, text: bytes) -> Iterator[object]:
    if text.lstrip()[:1] in {b"{", b"["}:
        try:
            yield orjson.loads(text)
        except orjson.JSONDecodeError as error:
            # YAML's flow style begins alike; its parser has the better message for neither.
            json_error = error
        else:
            return
        try:
            yield from _yaml(source, text)
        except DecodeError:
            raise DecodeError(source, "", f"not valid JSON: {json_error}") from json_error
        return
    yield from _yaml(source, text)


def _yaml(source: str, text: bytes) -> Iterator[object]:
    try:
        # All at once: a mistake at the end must not leave half of the objects applied.
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DecodeError(source, "", f"not valid YAML: {_one_line(error)}") from error
    yield from (each for each in documents if each is not None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
