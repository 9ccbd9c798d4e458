# SPDX-License-Identifier: Apache-2.0
"""The facts of a "no" in words, where they have to be named for themselves.

Decides the wording and nothing else.
"""

from __future__ import annotations

from typing import assert_never

from berth.explain.conflict import Conflict
from berth.explain.facts import (
    ConstraintFact,
    Fact,
    HolderFact,
    RequestFact,
    SelectorFact,
    TaintFact,
)
from berth.explain.words import verb


def culprits(conflict: Conflict) -> str:
    """Name the requests and constraints that fail together; empty where nobody has looked."""
    named = [
        fact_words(fact)
        for kind in (RequestFact, ConstraintFact)
        for fact in conflict.facts
        if isinstance(fact, kind)
    ]
    if not named:
        return ""
    return f": {'; '.join(named)} {verb(len(named), 'fails', 'exclude each other')}"


def also_sentence(conflict: Conflict) -> str:
    """Name what the "no" rests on beside all that is told; call it where there is something."""
    return f"also in the way: {'; '.join(fact_words(fact) for fact in conflict.also)}"


def fact_words(fact: Fact) -> str:
    """Return a fact as a noun: ``claim ml/train, request gpu``."""
    match fact:
        case RequestFact(claim, request):
            return f"claim {claim}, request {request}"
        case ConstraintFact(claim, _, constraint, attribute):
            return f"{constraint} {attribute} of claim {claim}"
        case SelectorFact(owner, index, claim, ref):
            of = owner if claim is None else f"claim {claim}, request {ref}"
            return f"selector #{index} of {of}"
        case TaintFact(taint):
            return f"taint {taint}"
        case HolderFact(holder):
            return f"what claim {holder} holds"
    assert_never(fact)
