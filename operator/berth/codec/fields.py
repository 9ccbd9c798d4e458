# SPDX-License-Identifier: Apache-2.0
"""Typed access to the fields of decoded JSON.

Decides only whether a value has the type that its field must have. ``null`` and an absent field
are the same, as in Go's decoder. Unknown fields are ignored.

The path of a field is put together only when something is wrong with it: a ``Mistake`` starts
with the name of the field, and every level that it passes on its way out puts its own in front.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import orjson

from berth.errors import DecodeError, QuantityError
from berth.quantity import Quantity

T = TypeVar("T")

# `Any` is what a JSON decoder gives; it goes no further than this package.
Json = dict[str, Any]

NO_TEXTS: Mapping[str, str] = MappingProxyType({})
_NOTHING: Json = {}


class Mistake(Exception):  # noqa: N818 - never leaves the package; DecodeError is the error
    """A field that does not have the type it must have, on its way to becoming a DecodeError."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(path, detail)

    def within(self, parent: str) -> Mistake:
        """Return the same mistake, seen from the object that holds ``parent``."""
        separator = "" if not self.path or self.path.startswith("[") else "."
        return Mistake(f"{parent}{separator}{self.path}", self.detail)


def kind_of(value: object) -> str:
    """Return the name that JSON has for the type of ``value``."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def wrong_type(path: str, expected: str, value: object) -> Mistake:
    """Return the mistake of a ``value`` that is not what the field must be."""
    return Mistake(path, f"expected {expected}, found {kind_of(value)}")


def decode_object(kind: str, obj: object, decode: Callable[[Json], T]) -> T:
    """Return ``decode(obj)``, with any mistake turned into a DecodeError.

    Args:
        kind: The kind in lower case, for the error.
        obj: The object as a JSON decoder gives it.
        decode: Reads one object; raises Mistake.

    Raises:
        DecodeError: If the object, or one of its fields, does not have the type it must have.
    """
    if not isinstance(obj, dict):
        raise DecodeError(kind, "", f"expected an object, found {kind_of(obj)}")
    try:
        return decode(obj)
    except Mistake as mistake:
        raise DecodeError(f"{kind} {_name_of(obj)}", mistake.path, mistake.detail) from mistake


def _name_of(obj: Json) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return "(without a name)"
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if isinstance(namespace, str) else metadata["name"]


def text(obj: Json, key: str) -> str:
    """Return a string, interned because most repeat in thousands of objects; "" if absent."""
    value = obj.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise wrong_type(key, "a string", value)
    return sys.intern(value)


def unique_text(obj: Json, key: str) -> str:
    """Return a string that hardly another object has, so that interning it would not pay."""
    value = obj.get(key)
    if value is None:
        return ""
    if type(value) is not str:
        raise wrong_type(key, "a string", value)
    return value


def required_text(obj: Json, key: str) -> str:
    """Return a string that must be there and not be empty."""
    value = text(obj, key)
    if not value:
        raise Mistake(key, "is required")
    return value


def optional_text(obj: Json, key: str) -> str | None:
    """Return a string, or ``None`` if absent; tells "" from absent."""
    return None if obj.get(key) is None else text(obj, key)


def integer(obj: Json, key: str, default: int = 0) -> int:
    """Return a whole number; ``default`` if absent."""
    value = obj.get(key)
    if value is None:
        return default
    if type(value) is not int:
        raise wrong_type(key, "a whole number", value)
    return value


def optional_integer(obj: Json, key: str) -> int | None:
    """Return a whole number, or ``None`` if absent."""
    return None if obj.get(key) is None else integer(obj, key)


def boolean(obj: Json, key: str) -> bool:
    """Return a boolean; false if absent."""
    value = obj.get(key)
    if value is None:
        return False
    if type(value) is not bool:
        raise wrong_type(key, "a boolean", value)
    return value


def optional_boolean(obj: Json, key: str) -> bool | None:
    """Return a boolean, or ``None`` if absent."""
    return None if obj.get(key) is None else boolean(obj, key)


def child(obj: Json, key: str) -> Json:
    """Return an object; an empty one if absent. Mistakes inside it need ``within(key)``."""
    value = obj.get(key)
    if value is None:
        return _NOTHING
    if type(value) is not dict:
        raise wrong_type(key, "an object", value)
    return value


def optional_child(obj: Json, key: str) -> Json | None:
    """Return an object, or ``None`` if absent; tells empty from absent."""
    return None if obj.get(key) is None else child(obj, key)


def part(obj: Json, key: str, decode: Callable[[Json], T]) -> T:
    """Return ``decode`` of the object at ``key``, an empty one if absent."""
    value = child(obj, key)
    try:
        return decode(value)
    except Mistake as mistake:
        raise mistake.within(key) from mistake


class Shared(Generic[T]):
    """Decodes equal JSON into one object: what thousands of objects repeat is read and kept once.

    The last ``size`` different texts are remembered.
    """

    __slots__ = ("_decode", "_known", "_size")

    def __init__(self, decode: Callable[[Json], T], *, size: int) -> None:
        self._decode = decode
        self._known: dict[bytes, T] = {}
        self._size = size

    def __call__(self, obj: Json) -> T:
        """Return ``decode`` of ``obj``; raises Mistake as ``decode`` does."""
        try:
            text_of = orjson.dumps(obj)
        except TypeError:
            return self._decode(obj)  # From YAML: a number that JSON has no form for, or a date.
        known = self._known.get(text_of)
        if known is None:
            known = self._decode(obj)
            if len(self._known) >= self._size:
                # The oldest goes; which one hardly matters.
                del self._known[next(iter(self._known))]
            self._known[text_of] = known
        return known


def optional_part(obj: Json, key: str, decode: Callable[[Json], T]) -> T | None:
    """Return ``decode`` of the object at ``key``, or ``None`` if absent."""
    return None if obj.get(key) is None else part(obj, key, decode)


def parts(obj: Json, key: str, decode: Callable[[Json], T]) -> tuple[T, ...]:
    """Return ``decode`` of each object in the list at ``key``; empty if absent."""
    value = obj.get(key)
    if value is None:
        return ()
    if type(value) is not list:
        raise wrong_type(key, "a list", value)
    decoded = []
    for index, item in enumerate(value):
        if type(item) is not dict:
            raise wrong_type(f"{key}[{index}]", "an object", item)
        try:
            decoded.append(decode(item))
        except Mistake as mistake:
            raise mistake.within(f"{key}[{index}]") from mistake
    return tuple(decoded)


def entries(obj: Json, key: str, decode: Callable[[Json], T]) -> Mapping[str, T]:
    """Return ``decode`` of each object in the map at ``key``; empty if absent."""
    value = child(obj, key)
    decoded = {}
    for name, item in value.items():
        if type(item) is not dict:
            raise wrong_type(f"{key}[{name}]", "an object", item)
        try:
            decoded[sys.intern(name)] = decode(item)
        except Mistake as mistake:
            raise mistake.within(f"{key}[{name}]") from mistake
    return MappingProxyType(decoded)


def texts(obj: Json, key: str) -> tuple[str, ...]:
    """Return a list of strings; empty if absent."""
    value = obj.get(key)
    if value is None:
        return ()
    if type(value) is not list:
        raise wrong_type(key, "a list", value)
    for index, item in enumerate(value):
        if type(item) is not str:
            raise wrong_type(f"{key}[{index}]", "a string", item)
    return tuple([sys.intern(item) for item in value])


def text_map(obj: Json, key: str) -> Mapping[str, str]:
    """Return a map of strings, such as labels; empty if absent."""
    value = child(obj, key)
    if not value:
        return NO_TEXTS
    for name, item in value.items():
        if type(item) is not str:
            raise wrong_type(f"{key}[{name}]", "a string", item)
    return MappingProxyType({sys.intern(name): sys.intern(v) for name, v in value.items()})


def quantity(value: object, path: str) -> Quantity:
    """Return the quantity that ``value`` denotes; numbers are as good as strings, as in the API."""
    if type(value) is str:
        try:
            return _parse(value)
        except QuantityError as error:
            raise Mistake(path, str(error)) from error
    if type(value) is int or type(value) is float:
        # The text of a float is the number that was written; its binary value is not used.
        return quantity(repr(value), path)
    raise wrong_type(path, "a quantity", value)


def required_quantity(obj: Json, key: str) -> Quantity:
    """Return a quantity that must be there."""
    value = obj.get(key)
    if value is None:
        raise Mistake(key, "is required")
    return quantity(value, key)


def optional_quantity(obj: Json, key: str) -> Quantity | None:
    """Return a quantity, or ``None`` if absent."""
    return None if obj.get(key) is None else required_quantity(obj, key)


def quantities(obj: Json, key: str) -> Mapping[str, Quantity]:
    """Return a map of quantities; empty if absent."""
    value = child(obj, key)
    return MappingProxyType(
        {sys.intern(name): quantity(item, f"{key}[{name}]") for name, item in value.items()}
    )


# A fleet has a few hundred distinct amounts in tens of thousands of places.
_parse = lru_cache(maxsize=8192)(Quantity.parse)
