# SPDX-License-Identifier: Apache-2.0
"""URLs: absolute ones, or absolute paths, taken apart as Go takes them apart.

Source: ``k8s.io/apiserver/pkg/cel/library/urls.go``; Go ``net/url`` (``ParseRequestURI``).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_plus

from berth.cel.equality import Opaque
from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, STRING, URL, list_of, map_of
from berth.cel.values import register_type
from berth.errors import CelRuntimeError

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_PORT = re.compile(r"(?::[0-9]*)?")
_USER = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%@-]*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"-]|[^\x00-\x7f]|%25|%[89a-fA-F][0-9a-fA-F])*"
)
_VALID_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/\[\]-]|%)*")


class UrlValue(Opaque):
    """A URL in parts."""

    __slots__ = ("host", "path", "query", "scheme", "text")

    def __init__(self, text: str, scheme: str, host: str, path: str, query: str) -> None:
        self.text = text
        self.scheme = scheme
        self.host = host
        self.path = path
        self.query = query

    def same(self, other: UrlValue) -> bool:
        """Tell whether the URLs are the same text, but for the case of the scheme."""
        mine = (self.scheme, self.text[len(self.scheme) :])
        return mine == (other.scheme, other.text[len(other.scheme) :])


register_type(UrlValue, "kubernetes.URL")


def parse_url(text: str) -> UrlValue:
    """Return the parts of ``text``.

    Raises:
        ValueError: If it is neither an absolute URL nor an absolute path.
    """
    if not text or any(character < " " or character == "\x7f" for character in text):
        raise ValueError("the URL is empty or has control characters")
    if text == "*":
        return UrlValue(text, "", "", "*", "")
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    if text[0] == ":":
        raise ValueError("the URL lacks its scheme")
    rest, _, query = (text[match.end() :] if match else text).partition("?")
    if not rest.startswith("/"):
        if not scheme:
            raise ValueError("the URL is neither absolute nor an absolute path")
        return UrlValue(text, scheme, "", "", query)
    host = ""
    if scheme and rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        user, at, host = authority.rpartition("@")
        if at and (_USER.fullmatch(user) is None or _BAD_ESCAPE.search(user)):
            raise ValueError("the URL has invalid user information")
        host = _host(host)
        rest = slash + path
    if _BAD_ESCAPE.search(rest):
        raise ValueError("the path of the URL has an invalid escape")
    return UrlValue(text, scheme, host, rest, query)


def _host(host: str) -> str:
    if host.startswith("["):
        end = host.rfind("]")
        if end < 0:
            raise ValueError("the host of the URL lacks a closing bracket")
        port = host[end + 1 :]
    else:
        colon = host.rfind(":")
        port = host[colon:] if colon >= 0 else ""
    if _PORT.fullmatch(port) is None or _HOST.fullmatch(host) is None:
        raise ValueError("the host of the URL is invalid")
    return unquote_host(host)


def unquote_host(host: str) -> str:
    """Decode the escapes of a host; only those of characters outside ASCII are allowed there."""
    return unquote_plus(host.replace("+", "%2B"), errors="replace")


def _url(text: str) -> UrlValue:
    try:
        return parse_url(text)
    except ValueError as error:
        raise CelRuntimeError(f"URL parse error: {error}") from None


def _is_url(text: str) -> bool:
    try:
        parse_url(text)
    except ValueError:
        return False
    return True


def _split(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or not (port == "" or (port.isascii() and port.isdigit())):
        name, port = host, ""
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name, port


def _escaped_path(url: UrlValue) -> str:
    if _VALID_PATH.fullmatch(url.path):
        return url.path
    return quote(unquote_plus(url.path.replace("+", "%2B")), safe="/$&+,:;=@~!'()*")


def _query(url: UrlValue) -> dict[str, tuple[str, ...]]:
    result: dict[str, tuple[str, ...]] = {}
    for pair in url.query.split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE.search(pair):
            continue
        key, _, value = pair.partition("=")
        name = unquote_plus(key)
        result[name] = (*result.get(name, ()), unquote_plus(value))
    return result


OVERLOADS: tuple[Overload, ...] = (
    function("url", (STRING,), URL, _url),
    function("isURL", (STRING,), BOOL, _is_url),
    member("getScheme", (URL,), STRING, lambda url: url.scheme),
    member("getHost", (URL,), STRING, lambda url: url.host),
    member("getHostname", (URL,), STRING, lambda url: _split(url.host)[0]),
    member("getPort", (URL,), STRING, lambda url: _split(url.host)[1]),
    member("getEscapedPath", (URL,), STRING, _escaped_path),
    member("getQuery", (URL,), map_of(STRING, list_of(STRING)), _query),
)
