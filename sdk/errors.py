"""What can go wrong, one class per thing that the author of a worker or client does about it.

SdkError
├── UnavailableError        try again later; nothing is wrong with the call
├── InvalidRequestError     correct the call
├── ForbiddenError          call with other credentials
├── NotFoundError           forget the thing; it does not exist (any more)
├── ConflictError           look at the thing as it stands now, then decide again
├── ServicesMissingError    the session ended before it began; create another one
├── UnexpectedAnswerError   the other side does not speak this protocol; check the URL
├── WorkerRefusedError      correct the worker's settings; trying again does not help
├── JobEndedError           the job is over; say no more about it
│   └── JobStaleError       another attempt holds the job; stop at once
└── RoomJoinError           the room was not joined; `refused` says whether a fresh token may help

`ValueError` is the caller's mistake and is raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SdkError(Exception):
    """Base of everything that the SDK raises about the world."""


class UnavailableError(SdkError):
    """The orchestrator did not answer, or said that it cannot serve right now; ``status`` 0: no answer."""

    def __init__(self, message: str, *, retry_after_s: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status


class _AnswerError(SdkError):
    """An answer with the one error body; ``status`` is HTTP's, ``error`` the body's word."""

    def __init__(
        self, message: str, *, status: int, error: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.details: Mapping[str, Any] = details or {}


class InvalidRequestError(_AnswerError):
    """The orchestrator could not read the request or found a value in it that is not allowed."""


class ForbiddenError(_AnswerError):
    """The orchestrator does not allow this caller to do this."""


class NotFoundError(_AnswerError):
    """What the call names does not exist for this caller."""


class ConflictError(_AnswerError):
    """The call does not fit the state that the thing is in."""


class ServicesMissingError(_AnswerError):
    """Required services did not come in time and the policy `strict` ended the session."""

    @property
    def session_id(self) -> str:
        """The session that was ended, "" when the answer does not name it."""
        value = self.details.get("session_id", "")
        return value if isinstance(value, str) else ""


class UnexpectedAnswerError(SdkError):
    """The answer is not one that the orchestrator's contract knows."""


class WorkerRefusedError(SdkError):
    """The orchestrator does not take this worker, and will not take it with the same settings."""


class JobEndedError(SdkError):
    """The job is over."""


class JobStaleError(JobEndedError):
    """Another attempt holds the job now; nothing that this one writes is part of it."""


class RoomJoinError(SdkError):
    """The room was not joined. The message never carries the token or the server's words.

    Attributes:
        refused: the server did not accept the token; a fresh one may help, the same one will not.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
