"""What can go wrong, one class per thing the caller does about it.

OrchestratorError
├── SessionNotFoundError      404: no such session (or not yours)
├── WorkerNotFoundError       404: no such registration; register again
├── RecordingNotFoundError    404: no such recording in the catalog
├── WebhookNotFoundError      404: no such outgoing webhook, or no such dead letter
├── WebhookLimitError         409: there are as many outgoing webhooks as there may be
├── RecordingHeldError        423: under legal hold: nothing of it is deleted
├── QuotaExceededError        507: recordings take what they may: delete some, or raise the quota
├── CustodyError              503: the recording cannot be reached where it lies; worth trying again
├── IllegalTransitionError    409 from HTTP; a late hint is logged and dropped
├── BarredError               403: was removed from the session and is kept out
├── WorkerIdTakenError        422: another service has this worker id; choose another
├── OtherKeysError            a recorder with other keys than ours: give both the same
├── RoomNameTakenError        409: choose another room name, or none
├── KeyReusedError            422: this Idempotency-Key came with another request; take a new one
├── KeyOutlivedError          409: what this Idempotency-Key began is over; take a new one
├── KeyTakenError             another request bound the key first: answer from what it made
├── ServicesTimeoutError      408: `strict` ended the session while the caller waited
├── WebhookRefusedError       401: a webhook that our LiveKit did not sign
├── StaleAttemptError         the worker is no longer the holder: tell it so, commit nothing
├── VersionConflictError      load again and step again
├── FencedError               another instance holds the command: stop, commit nothing
├── StoreError                503: the store refused or did not answer; worth trying again
├── RoomServerError           what LiveKit answered is final for this request
│   └── RoomServerUnavailableError  502: it did not answer; worth trying again
└── SettingsError             exit code 2: a setting, its value and the fix
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """The orchestrator could not do what was asked."""


class SessionNotFoundError(OrchestratorError):
    """There is no session of this id."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session not found: {session_id}")
        self.session_id = session_id


class WorkerNotFoundError(OrchestratorError):
    """There is no registration of this service or worker."""


class RecordingNotFoundError(OrchestratorError):
    """The catalog has no recording of this id."""

    def __init__(self, recording_id: str) -> None:
        super().__init__(f"Recording not found: {recording_id[:64]}")
        self.recording_id = recording_id


class RecordingHeldError(OrchestratorError):
    """A recording is under legal hold; who holds it, why and since when are in ``details``."""

    def __init__(self, recording_id: str, *, by: str, reason: str, since: str) -> None:
        super().__init__(
            f"recording {recording_id} is under legal hold by {by!r} since {since} ({reason});"
            " release it first: DELETE …/legal-hold"
        )
        self.details = {"recording_id": recording_id, "by": by, "reason": reason, "since": since}


class QuotaExceededError(OrchestratorError):
    """All recordings together take more than `[recording] disk_quota`."""


class CustodyError(OrchestratorError):
    """The chunk store or the keys that a recording needs cannot be reached; the sentence names which."""


class WebhookNotFoundError(OrchestratorError):
    """There is no outgoing webhook, or no dead letter, of this id."""


class WebhookLimitError(OrchestratorError):
    """There are as many outgoing webhooks as there may be."""


class IllegalTransitionError(OrchestratorError):
    """The session's state does not allow this."""


class BarredError(OrchestratorError):
    """Somebody was removed from the session and is kept out: no token."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            f"{identity!r} was removed from this session and is kept out; "
            "DELETE …/participants/IDENTITY?bar=false lets them ask again"
        )


class RoomNameTakenError(OrchestratorError):
    """A live session, another deployment or a stranger's room holds this room name."""

    def __init__(self, room_name: str) -> None:
        super().__init__(f"room_name {room_name!r} is in use; choose another one or leave it out")
        self.room_name = room_name


class WorkerIdTakenError(OrchestratorError):
    """A worker of another service is registered under this worker id."""

    def __init__(self, worker_id: str, service_id: str) -> None:
        super().__init__(f"worker_id {worker_id!r} is registered for service {service_id!r}; choose another")


class OtherKeysError(OrchestratorError):
    """A recorder has other keys than the orchestrator: nobody here could read or verify what it records."""


class KeyReusedError(OrchestratorError):
    """The key of this request was bound by another one."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key[:40]!r} came with another request before; send a new key with this one")
        self.key = key


class KeyOutlivedError(OrchestratorError):
    """A repeat came after the end of what its first request made: there is nothing left to answer with.

    ``details`` names it, for programs.
    """

    def __init__(self, sentence: str, details: dict[str, str]) -> None:
        super().__init__(f"{sentence}; send a new Idempotency-Key to begin anew")
        self.details = details


class KeyTakenError(OrchestratorError):
    """Another request with the same key was committed first."""


class ServicesTimeoutError(OrchestratorError):
    """Required services did not come and the policy `strict` ended the session."""

    def __init__(self, session_id: str, missing: tuple[str, ...]) -> None:
        super().__init__(f"Timeout waiting for microservices to join: {', '.join(missing)}")
        self.session_id = session_id
        self.missing = missing


class WebhookRefusedError(OrchestratorError):
    """A webhook is not signed with our key, is too old, or is not the body that was signed."""


class StaleAttemptError(OrchestratorError):
    """A newer attempt of this job exists: what the old one says is refused."""


class VersionConflictError(OrchestratorError):
    """The session changed since it was loaded."""


class FencedError(OrchestratorError):
    """The command was claimed by another instance in the meantime."""


class StoreError(OrchestratorError):
    """The store refused or did not answer; worth trying again."""


class RoomServerError(OrchestratorError):
    """LiveKit refused; the sentence is ours, its own text may hold tokens and is never passed on."""


class RoomServerUnavailableError(RoomServerError):
    """LiveKit did not answer, or not in time; worth trying again, and it may have done what was asked."""


class SettingsError(OrchestratorError):
    """A setting is wrong; the sentence names it, its value and the fix."""
