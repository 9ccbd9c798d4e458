# SPDX-License-Identifier: Apache-2.0
"""The facts that a "no" may rest on: who asks for something, and what stands in the way.

Decides nothing; which of them matter is found in ``berth.explain.shrink``.
"""

from __future__ import annotations

from dataclasses import dataclass

from berth.model.claims import ClaimKey, RequestRef
from berth.model.devices import DeviceTaint


@dataclass(frozen=True, slots=True)
class RequestFact:
    """A request wants its devices, with all of its alternatives."""

    claim: ClaimKey
    request: str


@dataclass(frozen=True, slots=True)
class ConstraintFact:
    """A constraint of a claim; ``number`` counts from zero in its list."""

    claim: ClaimKey
    number: int
    constraint: str
    attribute: str


@dataclass(frozen=True, slots=True)
class SelectorFact:
    """A selector of a class, or of a request; ``index`` counts from zero in its list.

    ``owner`` is ``class NAME``, or ``request`` with ``claim`` and ``request`` set.
    """

    owner: str
    index: int
    claim: ClaimKey | None = None
    request: RequestRef | None = None


@dataclass(frozen=True, slots=True)
class TaintFact:
    """A taint that devices have, and no toleration covers."""

    taint: DeviceTaint


@dataclass(frozen=True, slots=True)
class HolderFact:
    """A claim that holds devices, as ``namespace/name``."""

    claim: str


Fact = RequestFact | ConstraintFact | SelectorFact | TaintFact | HolderFact
"""One of the things without which the claims might fit."""
