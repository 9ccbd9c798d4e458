# SPDX-License-Identifier: Apache-2.0
"""Semantic versions: the values of version attributes, and the semver library.

Build metadata takes no part in comparisons.

Source: semver.org 2.0.0; ``k8s.io/apiserver/pkg/cel/library/semverlib.go`` with its normalisation.
"""

from __future__ import annotations

import re

from berth.cel.equality import Opaque
from berth.cel.overloads import Overload, function, member
from berth.cel.types import BOOL, INT, SEMVER, STRING
from berth.cel.values import MAX_UINT, register_type
from berth.errors import CelRuntimeError

_NUMBER = r"(0|[1-9][0-9]*)"
_SYNTAX = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?"
)
_LOOSE_NUMBERS = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?")


class Semver(Opaque):
    """A version; ``key`` orders versions as the standard does."""

    __slots__ = ("key", "major", "minor", "patch")

    def __init__(
        self, major: int, minor: int, patch: int, prerelease: tuple[tuple[int, int, str], ...]
    ) -> None:
        self.major = major
        self.minor = minor
        self.patch = patch
        # A release sorts after all its pre-releases.
        self.key = (major, minor, patch, not prerelease, prerelease)

    def same(self, other: Semver) -> bool:
        """Tell whether the versions have the same rank."""
        return self.key == other.key


register_type(Semver, "kubernetes.Semver")


def parse_semver(text: str, *, normalize: bool = False) -> Semver:
    """Return the version that ``text`` denotes.

    Args:
        text: A version such as ``1.2.3-beta.1+build``.
        normalize: Accept a leading ``v``, missing minor and patch numbers, and leading zeros.

    Raises:
        ValueError: If ``text`` is no version.
    """
    match = _SYNTAX.fullmatch(_normalize(text) if normalize else text)
    if match is None:
        raise ValueError(f"`{text[:64]}` is no semantic version")
    major, minor, patch = (
        int(part) if len(part) <= 20 else MAX_UINT + 1 for part in match.group(1, 2, 3)
    )
    if max(major, minor, patch) > MAX_UINT:
        raise ValueError(f"`{text[:64]}` has a number that is too large")
    if match[5] is not None and "" in match[5].split("."):
        raise ValueError(f"`{text[:64]}` has an empty build identifier")
    parts = tuple(_identifier(part, text) for part in match[4].split(".")) if match[4] else ()
    return Semver(major, minor, patch, parts)


def _identifier(part: str, text: str) -> tuple[int, int, str]:
    if not part:
        raise ValueError(f"`{text[:64]}` has an empty pre-release identifier")
    if not part.isdigit():
        return (1, 0, part)
    if len(part) > 1 and part[0] == "0":
        raise ValueError(f"`{text[:64]}` has a pre-release number with a leading zero")
    if len(part) > 20 or int(part) > MAX_UINT:
        raise ValueError(f"`{text[:64]}` has a number that is too large")
    return (0, int(part), "")


def _normalize(text: str) -> str:
    match = _LOOSE_NUMBERS.match(text)
    if match is None:
        return text
    rest = text[match.end() :]
    if rest and match[3] is None:
        # Only a version with all three numbers may have a pre-release or build part.
        return text
    return ".".join((part or "0").lstrip("0") or "0" for part in match.groups()) + rest


def _semver(text: str, normalize: bool = False) -> Semver:  # noqa: FBT001, FBT002 - CEL's signature
    try:
        return parse_semver(text, normalize=normalize)
    except ValueError as error:
        raise CelRuntimeError(str(error)) from None


def _is_semver(text: str, normalize: bool = False) -> bool:  # noqa: FBT001, FBT002 - CEL's signature
    try:
        parse_semver(text, normalize=normalize)
    except ValueError:
        return False
    return True


def _greater(left: Semver, right: Semver) -> bool:
    return left.key > right.key


def _less(left: Semver, right: Semver) -> bool:
    return left.key < right.key


def _compare(left: Semver, right: Semver) -> int:
    return (left.key > right.key) - (left.key < right.key)


OVERLOADS: tuple[Overload, ...] = (
    function("semver", (STRING,), SEMVER, _semver),
    function("semver", (STRING, BOOL), SEMVER, _semver),
    function("isSemver", (STRING,), BOOL, _is_semver),
    function("isSemver", (STRING, BOOL), BOOL, _is_semver),
    member("isGreaterThan", (SEMVER, SEMVER), BOOL, _greater),
    member("isLessThan", (SEMVER, SEMVER), BOOL, _less),
    member("compareTo", (SEMVER, SEMVER), INT, _compare),
    member("major", (SEMVER,), INT, lambda value: value.major),
    member("minor", (SEMVER,), INT, lambda value: value.minor),
    member("patch", (SEMVER,), INT, lambda value: value.patch),
)
