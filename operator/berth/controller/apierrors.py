# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between Berth and the API server, as exceptions with fields.

Decides how an answer that is not a success is read. Never decides what to do about it.

Source: ``meta/v1`` Status.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from berth.errors import BerthError

MAX_TEXT = 500
"""Characters of an answer that is no Status object, as far as they go into a message."""


class Cause(NamedTuple):
    """One entry of ``details.causes`` of a Status: which field, and what is wrong with it."""

    reason: str
    field: str
    message: str


class ApiError(BerthError):
    """An answer of the API server that is not a success.

    ``where`` is method and path; ``status`` the HTTP code, or the code of an ERROR event of a
    watch; ``reason`` the machine-readable word (``Conflict``), empty where there is none;
    ``retry_after`` in seconds, ``None`` where the server named none.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a Status
        self,
        where: str,
        status: int,
        reason: str = "",
        message: str = "",
        causes: tuple[Cause, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        self.where = where
        self.status = int(status)
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after
        named = f"{self.status} {reason}".strip()
        super().__init__(": ".join(part for part in (where, named, message) if part))

    @property
    def may_pass(self) -> bool:
        """Tell whether the same read may succeed later: overload and trouble of the server."""
        return self.status == HTTPStatus.TOO_MANY_REQUESTS or self.status >= 500  # noqa: PLR2004 - 5xx


class Unreachable(BerthError):  # noqa: N818 - says what is so, like its subclass
    """No answer came, and the request had no effect; ``where`` is method and path."""

    def __init__(self, where: str, detail: str) -> None:
        self.where = where
        self.detail = detail
        super().__init__(f"{where}: no answer from the API server: {detail}")


class InDoubt(Unreachable):
    """No answer came to a write that may have been carried out, or may yet be."""


class NotServedError(BerthError):
    """A kind that this API server does not serve, although Berth cannot work without it."""

    def __init__(self, group_version: str, plural: str) -> None:
        self.group_version = group_version
        self.plural = plural
        if group_version == "resource.k8s.io/v1":
            remedy = "Kubernetes 1.34 or newer is needed, or one that serves v1beta2 or v1beta1"
        elif group_version.startswith("berth.dev/"):
            remedy = "install the CustomResourceDefinitions of the chart's `crds` folder"
        else:
            remedy = f"`{plural}` of that group and version are needed"
        super().__init__(f"this cluster does not serve {group_version}: {remedy}")


def error_from_answer(where: str, status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """Return the error that an answer stands for; the body need not be a Status."""
    try:
        decoded = orjson.loads(body)
    except orjson.JSONDecodeError:
        decoded = None
    retry_after = _seconds(headers.get("Retry-After"))
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return error_from_status(where, decoded, status, retry_after)
    text = body[: MAX_TEXT * 4].decode(errors="replace").strip()[:MAX_TEXT]
    return ApiError(where, status, message=text, retry_after=retry_after)


def error_from_status(
    where: str, status: Mapping[str, Any], code: int | None = None, retry_after: float | None = None
) -> ApiError:
    """Return the error that a Status object stands for, of an answer or of a watch's ERROR event.

    ``code`` and ``retry_after`` are those of the answer; the Status is asked where they are unset.
    """
    details = status.get("details") or {}
    causes = tuple(
        Cause(cause.get("reason", ""), cause.get("field", ""), cause.get("message", ""))
        for cause in details.get("causes") or ()
    )
    if retry_after is None:
        retry_after = _seconds(details.get("retryAfterSeconds"))
    if code is None:
        code = int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
    reason, message = status.get("reason") or "", status.get("message") or ""
    return ApiError(where, code, reason, message, causes, retry_after)


def _seconds(value: object) -> float | None:
    # The header's other form, a date, is not used by API servers; it counts as absent.
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None
