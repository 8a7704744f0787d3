"""Each kind of refusal becomes the error that says what to do."""

from __future__ import annotations

import json

import pytest

from sdk.answers import error_of
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


def body(error: str = "X", message: str = "because", **more: object) -> bytes:
    return json.dumps({"error": error, "message": message, "timestamp": "t"} | more).encode()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, InvalidRequestError),
        (409, ConflictError),
        (410, ConflictError),
        (412, ConflictError),
        (413, InvalidRequestError),
        (415, InvalidRequestError),
        (422, InvalidRequestError),
        (423, ConflictError),
        (429, UnavailableError),
        (500, UnavailableError),
        (502, UnavailableError),
        (503, UnavailableError),
        (302, UnexpectedAnswerError),
        (418, UnexpectedAnswerError),
    ],
)
def test_each_status_has_its_error(status: int, kind: type[SdkError]) -> None:
    error = error_of(status, body(), {})
    assert type(error) is kind
    if kind is not UnexpectedAnswerError:
        assert str(error) == "because"


def test_the_body_is_carried() -> None:
    error = error_of(422, body("InvalidRequest", details={"fields": ["user_identity"]}), {})
    assert isinstance(error, InvalidRequestError)
    assert (error.status, error.error, error.details) == (
        422,
        "InvalidRequest",
        {"fields": ["user_identity"]},
    )


def test_a_timeout_of_strict_names_its_session() -> None:
    error = error_of(408, body("Timeout", details={"session_id": "s1"}), {})
    assert isinstance(error, ServicesMissingError)
    assert error.session_id == "s1"


def test_a_slow_body_is_no_missing_service() -> None:
    assert isinstance(error_of(408, body("SlowBody"), {}), UnavailableError)


@pytest.mark.parametrize(("header", "seconds"), [("2", 2.0), ("soon", None), ("", None)])
def test_retry_after(header: str, seconds: float | None) -> None:
    error = error_of(503, body(), {"Retry-After": header})
    assert isinstance(error, UnavailableError)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize("text", [b"<html>secret</html>", b"\xff", b"{}", b""])
def test_what_a_proxy_wrote_is_not_repeated(text: bytes) -> None:
    error = error_of(502, text, {})
    assert str(error) == "HTTP 502 without the orchestrator's error body"


def test_a_long_message_is_cut() -> None:
    assert len(str(error_of(404, body(message="x" * 9000), {}))) == 500
