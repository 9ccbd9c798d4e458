# SPDX-License-Identifier: Apache-2.0
"""Node selectors, as slices, allocation results and pods carry them.

Never judges whether a selector can be evaluated (``NodeSelector.mistake`` does).

Source: core/v1 NodeSelector.
"""

from __future__ import annotations

from berth.codec.fields import Json, parts, text, texts
from berth.model.nodes import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm


def decode_node_selector(obj: Json) -> NodeSelector:
    """Return the node selector; raises Mistake with a path inside ``obj``."""
    return NodeSelector(parts(obj, "nodeSelectorTerms", _term))


def encode_node_selector(selector: NodeSelector) -> Json:
    """Return the API's form of ``selector``."""
    return {"nodeSelectorTerms": [_encode_term(term) for term in selector.terms]}


def _term(obj: Json) -> NodeSelectorTerm:
    return NodeSelectorTerm(
        match_expressions=parts(obj, "matchExpressions", _requirement),
        match_fields=parts(obj, "matchFields", _requirement),
    )


def _requirement(obj: Json) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(text(obj, "key"), text(obj, "operator"), texts(obj, "values"))


def _encode_term(term: NodeSelectorTerm) -> Json:
    encoded: Json = {}
    if term.match_expressions:
        encoded["matchExpressions"] = [_encode_requirement(r) for r in term.match_expressions]
    if term.match_fields:
        encoded["matchFields"] = [_encode_requirement(r) for r in term.match_fields]
    return encoded


def _encode_requirement(requirement: NodeSelectorRequirement) -> Json:
    encoded: Json = {"key": requirement.key, "operator": requirement.operator}
    if requirement.values:
        encoded["values"] = list(requirement.values)
    return encoded
