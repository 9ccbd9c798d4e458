# SPDX-License-Identifier: Apache-2.0
"""The units in which the work of an expression is counted, and the limit for one evaluation.

Source: cel-go ``common/cost.go``; ``CELSelectorExpressionMaxCost`` of ``resource.k8s.io``.
"""

from __future__ import annotations

from typing import Final

LIMIT: Final = 1_000_000
"""Units that one evaluation may cost."""

LIST, MAP = 10, 30
"""What building a list or map costs."""

TRAVERSAL: Final = 0.1
"""Going through a text, by character."""

PATTERN: Final = 0.25
"""Matching, by character of the pattern; multiplied with the cost of the text."""

CONSTANT_COST_FUNCTIONS: Final = frozenset(
    (
        "add",
        "asApproximateFloat",
        "asInteger",
        "compareTo",
        "family",
        "format.named",
        "getEscapedPath",
        "getHost",
        "getHostname",
        "getPort",
        "getQuery",
        "getScheme",
        "isGlobalUnicast",
        "isGreaterThan",
        "isInteger",
        "isLessThan",
        "isLinkLocalMulticast",
        "isLinkLocalUnicast",
        "isLoopback",
        "isUnspecified",
        "major",
        "masked",
        "minor",
        "patch",
        "prefixLength",
        "sign",
        "sub",
    )
)
"""Functions of the Kubernetes libraries that cost one unit."""

ORDERINGS: Final = frozenset(("_<_", "_<=_", "_>_", "_>=_"))
