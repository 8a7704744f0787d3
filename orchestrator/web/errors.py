"""The one error body: every refusal and failure of the HTTP edge, the framework's own included.

EdgeError
├── BadJsonError        400: the body is no JSON
├── FieldsError         422: fields are missing, mistyped or meaningless; all of them are named
├── BodyTypeError       415: the body is not said to be JSON
├── BodyTooLargeError   413
├── SlowBodyError       408: the body did not come in time
├── NotAcceptableError  406: this route answers in another form
├── ForbiddenError      403: a page of a foreign origin
├── MisdirectedError    421: called by a name that is not ours
├── NotReadyError       503: something that we depend on does not answer
└── DrainingError       503: this instance is stopping, or full; try another or again
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from aiohttp import web
from msgspec import json as json_codec

from orchestrator.core.errors import (
    BarredError,
    CustodyError,
    IllegalTransitionError,
    KeyOutlivedError,
    KeyReusedError,
    OrchestratorError,
    QuotaExceededError,
    RecordingHeldError,
    RecordingNotFoundError,
    RoomNameTakenError,
    RoomServerError,
    ServicesTimeoutError,
    SessionNotFoundError,
    StaleAttemptError,
    StoreError,
    VersionConflictError,
    WebhookLimitError,
    WebhookNotFoundError,
    WebhookRefusedError,
    WorkerIdTakenError,
    WorkerNotFoundError,
)
from sdk.wire import ErrorBody

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
RETRY_AFTER_S: Final = "1"

_encoder: Final = json_codec.Encoder()


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One wrong field of a request and what to do about it."""

    field: str
    message: str


class EdgeError(Exception):
    """The request cannot be served."""

    status: ClassVar[int] = 400
    error: ClassVar[str] = "InvalidRequest"

    @property
    def details(self) -> dict[str, Any]:
        """What a program needs to know beyond the sentence."""
        return {}


class BadJsonError(EdgeError):
    """The body is not valid JSON."""


class FieldsError(EdgeError):
    """Fields of the request are missing, mistyped or out of range."""

    status = 422

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems))
        self.problems = tuple(problems)

    @property
    def details(self) -> dict[str, Any]:
        return {"fields": [{"field": p.field, "message": p.message} for p in self.problems]}


class BodyTypeError(EdgeError):
    """The body is not declared as JSON."""

    status = 415
    error = "UnsupportedMediaType"


class BodyTooLargeError(EdgeError):
    """The body is larger than the limit."""

    status = 413
    error = "PayloadTooLarge"


class SlowBodyError(EdgeError):
    """The body did not arrive in time."""

    status = 408
    error = "Timeout"


class NotAcceptableError(EdgeError):
    """The route answers in another form than the one asked for."""

    status = 406
    error = "NotAcceptable"


class ForbiddenError(EdgeError):
    """The caller may not do this."""

    status = 403
    error = "Forbidden"


class MisdirectedError(EdgeError):
    """The caller meant another server: a browser may have been led here."""

    status = 421
    error = "MisdirectedRequest"


class DrainingError(EdgeError):
    """This instance takes nothing new now."""

    status = 503
    error = "Unavailable"


class NotReadyError(EdgeError):
    """Something that this instance depends on does not answer."""

    status = 503
    error = "NotReady"

    def __init__(self, found: Mapping[str, str]) -> None:
        failing = [f"{name} ({word})" for name, word in found.items() if word != "ok"]
        super().__init__(f"not ready: {', '.join(failing)}")
        self.found = found

    @property
    def details(self) -> dict[str, Any]:
        return dict(self.found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as it goes out."""

    status: int
    error: str
    message: str
    details: Mapping[str, Any]
    headers: Mapping[str, str]


def problem_of(error: Exception) -> Problem | None:
    """Translate an error that has an answer; None for one that is our own fault (500)."""
    if isinstance(error, EdgeError):
        prefix = "Invalid request: " if error.error == "InvalidRequest" else ""
        headers = {"Retry-After": RETRY_AFTER_S} if error.status == 503 else {}
        return _problem(error.status, error.error, f"{prefix}{error}", error.details, headers)
    if isinstance(error, web.HTTPException):
        return _framework_problem(error)
    if isinstance(error, OrchestratorError):
        return _service_problem(error)
    return None


def _service_problem(error: OrchestratorError) -> Problem | None:
    match error:
        case SessionNotFoundError():
            return _problem(404, "SessionNotFound", str(error), {"session_id": error.session_id})
        case RecordingNotFoundError():
            return _problem(404, "RecordingNotFound", str(error), {"recording_id": error.recording_id})
        case RecordingHeldError():
            return _problem(423, "LegalHold", str(error), error.details)
        case QuotaExceededError():
            return _problem(507, "QuotaExceeded", str(error))
        case CustodyError():
            return _problem(503, "ChunkStoreUnavailable", str(error), headers={"Retry-After": RETRY_AFTER_S})
        case WorkerNotFoundError():
            return _problem(404, "MicroserviceNotFound", str(error))
        case WebhookNotFoundError():
            return _problem(404, "WebhookNotFound", str(error))
        case WebhookLimitError():
            return _problem(409, "WebhookLimit", str(error))
        case BarredError():
            return _problem(403, "Forbidden", str(error))
        case WorkerIdTakenError():
            fields = [{"field": "worker_id", "message": str(error)}]
            return _problem(422, "InvalidRequest", f"Invalid request: {error}", {"fields": fields})
        case RoomNameTakenError():
            return _problem(409, "RoomNameTaken", str(error), {"room_name": error.room_name})
        case IllegalTransitionError():
            return _problem(409, "IllegalTransition", str(error))
        case StaleAttemptError():
            return _problem(409, "StaleAttempt", str(error))
        case KeyReusedError():
            return problem_of(FieldsError([FieldProblem("Idempotency-Key", str(error))]))
        case KeyOutlivedError():
            return _problem(409, "KeyOutlived", str(error), error.details)
        case WebhookRefusedError():
            return _problem(401, "Unauthorized", str(error))
        case ServicesTimeoutError():
            details = {"session_id": error.session_id, "missing_services": list(error.missing)}
            return _problem(408, "Timeout", str(error), details)
        case RoomServerError():
            # The service notes the session that it ended because of this.
            notes: list[str] = getattr(error, "__notes__", [])
            sentence = "LiveKit is not available; check that it runs at livekit.server_url and takes our key"
            return _problem(502, "LiveKitUnavailable", sentence, {"session_id": notes[0]} if notes else {})
        case StoreError() | VersionConflictError():
            sentence = "the store did not take it in time; try again"
            return _problem(503, "StoreUnavailable", sentence, headers={"Retry-After": RETRY_AFTER_S})
        case _:
            return None


_FRAMEWORK: Final = {
    400: ("InvalidRequest", "Invalid request: not HTTP as this server understands it"),
    404: ("NotFound", "there is nothing at this path; docs/ROUTES.md lists what there is"),
    405: ("MethodNotAllowed", "this path does not take this method; the Allow header lists those it takes"),
    413: ("PayloadTooLarge", f"the body is over the limit of {MAX_BODY_BYTES} bytes"),
    417: ("ExpectationFailed", "this server only knows the expectation 100-continue"),
}


def _framework_problem(error: web.HTTPException) -> Problem | None:
    if error.status >= 500:
        return None
    name, sentence = _FRAMEWORK.get(error.status, ("InvalidRequest", "Invalid request"))
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return _problem(error.status, name, sentence, headers=headers)


def expectation_problem(
    expect: str, content_length: int | None, *, max_body_bytes: int = MAX_BODY_BYTES
) -> Problem | None:
    """Say why a body that was announced by `Expect` is not wanted; None when it is."""
    if expect.lower() != "100-continue":
        return _problem(417, *_FRAMEWORK[417])
    if (content_length or 0) <= max_body_bytes:
        return None
    return _problem(413, "PayloadTooLarge", f"the body is over the limit of {max_body_bytes} bytes")


def bad_http_problem(status: int) -> Problem:
    """Give the answer to bytes that are no request."""
    return _problem(status, *_FRAMEWORK.get(status, _FRAMEWORK[400]))


def internal_problem() -> Problem:
    """Give the answer to our own fault: no text of it leaves this process, the log has it."""
    return _problem(500, "InternalError", "Internal error; the log has more under this request_id")


def _problem(
    status: int,
    error: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Problem:
    return Problem(status=status, error=error, message=message, details=details or {}, headers=headers or {})


def error_bytes(problem: Problem, request_id: str) -> bytes:
    """Encode the error body."""
    return _encoder.encode(
        ErrorBody(
            error=problem.error,
            message=problem.message,
            timestamp=rfc3339(datetime.now(UTC)),
            code=problem.status,
            request_id=request_id,
            details=dict(problem.details),
        )
    )


def error_response(problem: Problem, request_id: str) -> web.Response:
    """Make the answer that carries an error."""
    return web.Response(
        status=problem.status,
        body=error_bytes(problem, request_id),
        content_type="application/json",
        headers=dict(problem.headers),
    )


def rfc3339(at: datetime) -> str:
    """Write a moment as clients see it: UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
