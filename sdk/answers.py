"""From an HTTP answer to a value or to the error that says what the caller does about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from sdk.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    SdkError,
    ServicesMissingError,
    UnavailableError,
    UnexpectedAnswerError,
)
from sdk.wire import ErrorBody

_INVALID: Final = frozenset({400, 405, 406, 411, 413, 414, 415, 422})
_CONFLICT: Final = frozenset({409, 410, 412, 423})
_UNAVAILABLE: Final = frozenset({429, 500, 502, 503, 504})
MAX_MESSAGE: Final = 500


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> SdkError:
    """Make the error for an answer that is no success.

    Args:
        status: HTTP's, 400 and above or one that this call does not know.
        body: the one error body, or what something between here and the orchestrator wrote.
        headers: of the answer; `Retry-After` counts, in seconds.
    """
    try:
        told = msgspec.json.decode(body, type=ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = ErrorBody(
            error="", message=f"HTTP {status} without the orchestrator's error body", timestamp=""
        )
    message = told.message[:MAX_MESSAGE]
    if status == 408 and told.error == "Timeout":
        return ServicesMissingError(message, status=status, error=told.error, details=told.details)
    if status in _UNAVAILABLE or status == 408:
        retry_after_s = _seconds(headers.get("Retry-After", ""))
        return UnavailableError(message, retry_after_s=retry_after_s, status=status)
    for statuses, kind in (
        (frozenset({404}), NotFoundError),
        (frozenset({401, 403}), ForbiddenError),
        (_CONFLICT, ConflictError),
        (_INVALID, InvalidRequestError),
    ):
        if status in statuses:
            return kind(message, status=status, error=told.error, details=told.details)
    return UnexpectedAnswerError(f"HTTP {status} is no answer of the orchestrator's contract")


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
