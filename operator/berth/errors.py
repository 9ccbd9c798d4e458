# SPDX-License-Identifier: Apache-2.0
"""The exceptions that Berth raises, and the fields that each carries.

An exception means: the input cannot be honoured as it is written. "Cannot be allocated" is no
exception but a result (``berth.engine.outcomes``); a broken invariant is an ``AssertionError``
with its numbers, and is never caught.

```
BerthError
├─ QuantityError            text is not a Kubernetes quantity
├─ DecodeError              an API object or file is not as its schema says
├─ ScenarioError            a scenario file is wrong
├─ InvalidClaimError        a claim cannot be honoured as written
├─ InvalidSelectorError     a CEL expression does not compile, or costs too much
│  └─ ClaimSelectorError    the same, with the claim, request and owner of the selector
├─ CelRuntimeError          a CEL expression failed on one device
└─ SelectorRuntimeError     the same, with the claim, request, selector and device around it
```
"""

from __future__ import annotations


class BerthError(Exception):
    """Base of every exception that Berth raises on purpose."""


class QuantityError(BerthError, ValueError):
    """Text that is not a Kubernetes quantity.

    ``text`` is the input, ``detail`` what is wrong with it.
    """

    def __init__(self, text: str, detail: str) -> None:
        self.text = text
        self.detail = detail
        super().__init__(f"quantity `{text}`: {detail}")


class DecodeError(BerthError):
    """An API object, or a file, that is not as its schema says.

    ``where`` names the object (``resourceslice node-1-gpu``), ``field`` the path inside it
    (``spec.devices[3].attributes[model]``; empty for the object as a whole), ``detail`` the cause.
    """

    def __init__(self, where: str, field: str, detail: str) -> None:
        self.where = where
        self.field = field
        self.detail = detail
        super().__init__(": ".join(part for part in (where, field, detail) if part))


class ScenarioError(BerthError):
    """A scenario file that cannot be used; ``path`` and ``detail`` say where and why."""

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        self.detail = detail
        super().__init__(f"{path}: {detail}")


class InvalidClaimError(BerthError):
    """A claim that no allocator can honour as it is written; upstream calls these fatal.

    ``claim`` is ``namespace/name``; ``request`` the request concerned, as ``main`` or
    ``main/sub``, or empty where the claim as a whole is wrong; ``detail`` the cause; ``reason`` a
    stable PascalCase word for machines, one of ``MissingDeviceClass``, ``UnsupportedMode``,
    ``UnsupportedSelector``, ``UnsupportedConstraint``, ``FeatureDisabled``, ``TooManyDevices``,
    ``AllConstraintConflict``, ``InvalidNodeSelector``, ``CapacityOutOfRange``, ``BadPool``,
    ``DerivedAttributeFailed``, ``InvalidMapping``, ``SharedMapping``.
    """

    def __init__(self, claim: str, request: str, detail: str, *, reason: str) -> None:
        self.claim = claim
        self.request = request
        self.detail = detail
        self.reason = reason
        where = f"claim {claim}, request {request}" if request else f"claim {claim}"
        super().__init__(f"{where}: {detail}")


class InvalidSelectorError(BerthError):
    """A CEL expression that does not compile, is not supported, or costs too much.

    ``span`` is ``(start, end)`` in characters of ``expression``, or ``None`` where the mistake
    has no place. ``unsupported`` is true where the expression may be valid CEL, but uses a
    construct that Berth does not implement.
    """

    def __init__(
        self,
        expression: str,
        detail: str,
        span: tuple[int, int] | None = None,
        *,
        unsupported: bool = False,
    ) -> None:
        self.expression = expression
        self.detail = detail
        self.span = span
        self.unsupported = unsupported
        super().__init__(f"CEL does not compile: {detail}")

    def with_caret(self) -> str:
        """Return the message, the line of the expression that is wrong, and a caret below it."""
        if self.span is None:
            return f"{self}\n  {self.expression}"
        start, end = self.span
        line_start = self.expression.rfind("\n", 0, start) + 1
        line_end = self.expression.find("\n", start)
        line_end = len(self.expression) if line_end < 0 else line_end
        width = max(1, min(end, line_end) - start)
        line = self.expression[line_start:line_end]
        return f"{self}\n  {line}\n  {' ' * (start - line_start)}{'^' * width}"


class ClaimSelectorError(InvalidSelectorError):
    """A selector of a claim or class that does not compile; fatal for the pod, as upstream.

    ``owner`` is ``class NAME`` or ``claim NS/NAME``, ``selector`` the index in its selectors.
    """

    def __init__(
        self, error: InvalidSelectorError, *, claim: str, request: str, owner: str, selector: int
    ) -> None:
        super().__init__(error.expression, error.detail, error.span, unsupported=error.unsupported)
        self.claim = claim
        self.request = request
        self.owner = owner
        self.selector = selector
        where = _selector_place(claim, request, owner, selector)
        self.args = (f"{where}: CEL does not compile: {error.detail}",)


def _selector_place(claim: str, request: str, owner: str, selector: int) -> str:
    place = f"claim {claim}, request {request}"
    of_class = "" if owner == f"claim {claim}" else f", {owner}"
    return f"{place}{of_class}, selector #{selector}"


class CelRuntimeError(BerthError):
    """A CEL expression that failed while it was evaluated on one device.

    ``span`` is the part of the expression that failed, or ``None`` where it is not known.
    """

    def __init__(self, detail: str, span: tuple[int, int] | None = None) -> None:
        self.detail = detail
        self.span = span
        super().__init__(detail)


class SelectorRuntimeError(BerthError):
    """A selector of a claim or class that failed on one device; fatal for the pod, as upstream.

    ``selector`` is the index in the list of selectors, ``owner`` either ``class NAME`` or
    ``claim NS/NAME``; ``device`` is ``driver/pool/device``.
    """

    def __init__(  # noqa: PLR0913 - these are the coordinates of one evaluation
        self,
        *,
        claim: str,
        request: str,
        owner: str,
        selector: int,
        device: str,
        detail: str,
        expression: str,
        span: tuple[int, int] | None = None,
    ) -> None:
        self.claim = claim
        self.request = request
        self.owner = owner
        self.selector = selector
        self.device = device
        self.detail = detail
        self.expression = expression
        self.span = span
        where = _selector_place(claim, request, owner, selector)
        super().__init__(f"{where} on device {device}: CEL failed: {detail}")
