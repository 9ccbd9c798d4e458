# SPDX-License-Identifier: Apache-2.0
"""Named formats: ``format.dns1123Label().validate(x)`` and its kind.

``validate`` gives nothing where the text is valid, else the complaints.

Source: ``k8s.io/apiserver/pkg/cel/library/format.go``; ``k8s.io/apimachinery/pkg/util/validation``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from berth.cel.equality import Opaque
from berth.cel.library_time import is_date
from berth.cel.library_url import parse_url
from berth.cel.overloads import Overload, function, member
from berth.cel.types import FORMAT, STRING, list_of, optional_of
from berth.cel.values import NONE, Optional, register_type
from berth.errors import CelRuntimeError

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_LABEL_1035 = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
_NAME = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_UUID = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE
)
_BASE64 = re.compile(
    r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"
)
_LABEL_LENGTH = 63
_SUBDOMAIN_LENGTH = 253
UNSUPPORTED_FORMAT = "datetime"

Test = Callable[[str], bool]


class FormatValue(Opaque):
    """A named format."""

    __slots__ = ("name", "test")

    def __init__(self, name: str, test: Test) -> None:
        self.name = name
        self.test = test

    def same(self, other: FormatValue) -> bool:
        """Tell whether both are the same format."""
        return self.name == other.name


register_type(FormatValue, "kubernetes.NamedFormat")


def _like(pattern: re.Pattern[str], length: int, *, prefix: bool = False) -> Test:
    def test(text: str) -> bool:
        if prefix and len(text) > 1 and text.endswith("-"):
            # A prefix may end in a dash, since something is to follow.
            text = f"{text[:-2]}a"
        return len(text) <= length and pattern.fullmatch(text) is not None

    return test


def _is_qualified_name(text: str) -> bool:
    prefix, slash, name = text.rpartition("/")
    if slash and not _like(_SUBDOMAIN, _SUBDOMAIN_LENGTH)(prefix):
        return False
    return _like(_NAME, _LABEL_LENGTH)(name)


def _is_label_value(text: str) -> bool:
    return not text or _like(_NAME, _LABEL_LENGTH)(text)


def _is_uri(text: str) -> bool:
    try:
        parse_url(text)
    except ValueError:
        return False
    return True


_FORMATS = {
    value.name: value
    for value in (
        FormatValue("dns1123Label", _like(_LABEL, _LABEL_LENGTH)),
        FormatValue("dns1123Subdomain", _like(_SUBDOMAIN, _SUBDOMAIN_LENGTH)),
        FormatValue("dns1035Label", _like(_LABEL_1035, _LABEL_LENGTH)),
        FormatValue("dns1123LabelPrefix", _like(_LABEL, _LABEL_LENGTH, prefix=True)),
        FormatValue("dns1123SubdomainPrefix", _like(_SUBDOMAIN, _SUBDOMAIN_LENGTH, prefix=True)),
        FormatValue("dns1035LabelPrefix", _like(_LABEL_1035, _LABEL_LENGTH, prefix=True)),
        FormatValue("qualifiedName", _is_qualified_name),
        FormatValue("labelValue", _is_label_value),
        FormatValue("uri", _is_uri),
        FormatValue("uuid", lambda text: _UUID.fullmatch(text) is not None),
        FormatValue("byte", lambda text: _BASE64.fullmatch(text) is not None),
        FormatValue("date", is_date),
    )
}


def _named(name: str) -> Optional:
    if name == UNSUPPORTED_FORMAT:
        raise CelRuntimeError(f"the format `{name}` is not supported")
    return Optional(present=True, value=_FORMATS[name]) if name in _FORMATS else NONE


def _validate(value: FormatValue, text: str) -> Optional:
    if value.test(text):
        return NONE
    return Optional(present=True, value=(f"`{text[:64]}` is not of the format {value.name}",))


def _constructor(name: str) -> Overload:
    return function(f"format.{name}", (), FORMAT, lambda: _FORMATS[name])


OVERLOADS: tuple[Overload, ...] = (
    *(_constructor(name) for name in _FORMATS),
    function("format.named", (STRING,), optional_of(FORMAT), _named),
    member("validate", (FORMAT, STRING), optional_of(list_of(STRING)), _validate),
)
